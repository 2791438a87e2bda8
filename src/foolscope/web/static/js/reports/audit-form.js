// @ts-check
/** What an audit shall look at. */
import { told } from "../api.js";
import { html, useSignal } from "../base.js";
import { networkName } from "../format.js";
import { start } from "../jobs/store.js";
import * as s from "../lab/state.js";
import { Action, Problem } from "../shell.js";

/** The set of the gallery that a network was trained for. @param {string | null | undefined} trained */
export const ownData = (trained) => {
  const has = (/** @type {string} */ set) => s.sets.value.some((one) => one.set === set);
  if (trained === "imagenet") return s.sets.value.find((one) => one.set.startsWith("photos-"))?.set ?? "photos";
  if (trained && has(trained)) return trained;
  return trained === "mnist" ? "digits" : "photos";
};

/** The networks that can be used now, as options. */
export const readyNetworks = () =>
  s.networks.value
    .filter((one) => one.state === "ready" || one.state === "loading")
    .map((one) => html`<option key=${one.model} value=${one.model}>${networkName(one.model).filter(Boolean).join(", ")}</option>`);

/** @param {{onStarted: () => void}} props */
export function AuditForm({ onStarted }) {
  const model = useSignal(s.network.value?.state === "ready" ? s.modelName.value : "lenet");
  const data = useSignal(ownData(s.networks.value.find((one) => one.model === model.value)?.trained_on));
  const chosen = useSignal(["fgsm", "pgd"]);
  const squeezers = useSignal(/** @type {string[]} */ (["jpeg"]));
  const eps = useSignal("");
  const limit = useSignal("200");
  const problem = useSignal("");
  const isBusy = useSignal(false);
  const known = s.attacks.value.filter((one) => !["filter", "agv"].includes(one.name));
  const begin = async () => {
    isBusy.value = true;
    problem.value = "";
    try {
      await start({
        kind: "audit", model: model.value, data: data.value, attacks: chosen.value, defenses: squeezers.value,
        eps: eps.value.trim() ? [eps.value.trim()] : [], limit: Number(limit.value),
      });
      onStarted();
    } catch (error) {
      problem.value = told(error);
    }
    isBusy.value = false;
  };
  return html`
    <form class="card" aria-label="New audit" onSubmit=${(/** @type {Event} */ event) => event.preventDefault()}>
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
      <label class="field"><span>how many</span><input
        type="number" min="1" value=${limit.value} onInput=${(/** @type {any} */ event) => (limit.value = event.currentTarget.value)}
      /></label>
      <${Checks} title="attacks" kinds=${known} chosen=${chosen} />
      <${Checks} title="defenses" kinds=${s.defenses.value} chosen=${squeezers} />
      <label class="field"><span>radii</span><input
        type="text" placeholder="the usual ones" value=${eps.value} aria-describedby="eps-help"
        onInput=${(/** @type {any} */ event) => (eps.value = event.currentTarget.value)}
      /><small id="eps-help">such as 2/255,4/255,8/255</small></label>
      <${Action}
        id="start-audit" class="primary wide" busy=${isBusy.value && "Starting …"} onClick=${begin}
        why=${chosen.value.length === 0 ? "Choose an attack." : Number(limit.value) >= 1 ? "" : "Say how many images."}
      >Start the audit<//>
      <${Problem} text=${problem.value} />
    </form>
  `;
}

/** @param {{title: string, kinds: {name: string, summary: string}[], chosen: {value: string[]}}} props */
function Checks({ title, kinds, chosen }) {
  return html`
    <fieldset class="checks">
      <legend>${title}</legend>
      ${kinds.map((one) => html`
        <label key=${one.name} title=${one.summary}>
          <input
            type="checkbox" checked=${chosen.value.includes(one.name)}
            onChange=${(/** @type {any} */ event) => {
              const others = chosen.value.filter((name) => name !== one.name);
              chosen.value = event.currentTarget.checked ? [...others, one.name] : others;
            }}
          />${one.name}
        </label>`)}
    </fieldset>
  `;
}
