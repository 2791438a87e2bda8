// @ts-check
/** What a search shall look for. */
import { told } from "../api.js";
import { html, useSignal } from "../base.js";
import { start } from "../jobs/store.js";
import * as s from "../lab/state.js";
import { ownData, readyNetworks } from "../reports/audit-form.js";
import { Action, Problem } from "../shell.js";

/** The numbers of a search: name, field, usual value, highest. @type {[string, string, number, number][]} */
const NUMBERS = [
  ["filters in a chain", "filters", 5, 10],
  ["chains at a time", "population", 10, 100],
  ["generations", "epochs", 3, 100],
  ["images to search on", "images", 100, 10_000],
  ["images to judge on", "held_out", 200, 10_000],
  ["seed", "seed", 0, 2 ** 31],
];

/** @param {{onStarted: (id: string) => void}} props */
export function EvolveForm({ onStarted }) {
  const model = useSignal(s.network.value?.state === "ready" && !s.isGray.value ? s.modelName.value : "resnet20");
  const data = useSignal(ownData(s.networks.value.find((one) => one.model === model.value)?.trained_on));
  const isHidden = useSignal(true);
  const numbers = useSignal(Object.fromEntries(NUMBERS.map(([, key, usual]) => [key, String(usual)])));
  const problem = useSignal("");
  const isBusy = useSignal(false);
  const begin = async () => {
    isBusy.value = true;
    problem.value = "";
    try {
      const values = Object.fromEntries(Object.entries(numbers.value).map(([key, text]) => [key, Number(text)]));
      const job = await start({ kind: "evolve", model: model.value, data: data.value, detector: isHidden.value ? "fs" : null, ...values });
      onStarted(job.id);
    } catch (error) {
      problem.value = told(error);
    }
    isBusy.value = false;
  };
  const bad = NUMBERS.find(([, key, , high]) => !/^\d+$/.test(numbers.value[key]) || Number(numbers.value[key]) > high);
  return html`
    <form class="card" aria-label="New search" onSubmit=${(/** @type {Event} */ event) => event.preventDefault()}>
      <label class="field"><span>network</span><select
        value=${model.value}
        onChange=${(/** @type {any} */ event) => {
          model.value = event.currentTarget.value;
          data.value = ownData(s.networks.value.find((one) => one.model === model.value)?.trained_on);
        }}
      >${readyNetworks()}</select></label>
      <label class="field"><span>images</span><select value=${data.value} onChange=${(/** @type {any} */ event) => (data.value = event.currentTarget.value)}>
        ${s.sets.value.map((one) => html`<option key=${one.set} value=${one.set}>${one.title}</option>`)}
      </select></label>
      <label class="field check">
        <input type="checkbox" checked=${isHidden.value} onChange=${(/** @type {any} */ event) => (isHidden.value = event.currentTarget.checked)} />
        <span>hide from the detector</span><small>otherwise the smallest change is sought</small>
      </label>
      ${NUMBERS.map(([title, key, , high]) => html`
        <label class="field" key=${key}><span>${title}</span><input
          type="number" min=${key === "seed" ? 0 : 1} max=${high} value=${numbers.value[key]}
          onInput=${(/** @type {any} */ event) => (numbers.value = { ...numbers.value, [key]: event.currentTarget.value })}
        /></label>`)}
      <${Action}
        id="start-search" class="primary wide" busy=${isBusy.value && "Starting …"} onClick=${begin}
        why=${bad ? `${bad[0]}: a whole number, at most ${bad[3].toLocaleString("en")}.` : ""}
      >Start the search<//>
      <${Problem} text=${problem.value} />
    </form>
  `;
}
