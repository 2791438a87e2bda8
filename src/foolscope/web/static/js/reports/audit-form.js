// @ts-check
/** What an audit shall look at. */
import { told } from "../api.js";
import { html, useSignal } from "../base.js";
import { networkName } from "../format.js";
import { start } from "../jobs/store.js";
import { measurable, usualPair, whyNotMeasured } from "../lab/fitting.js";
import * as s from "../lab/state.js";
import { Action, Problem } from "../shell.js";

/** The networks that can be used now, as options. */
export const readyNetworks = () =>
  s.networks.value
    .filter((one) => one.state === "ready" || one.state === "loading")
    .map((one) => html`<option key=${one.model} value=${one.model}>${networkName(one.model).filter(Boolean).join(", ")}</option>`);

/** The sets that a network can be measured on, as options. @param {string} model */
export const dataOptions = (model) =>
  measurable(s.networks.value.find((one) => one.model === model)).map((one) => html`
    <option key=${one.set} value=${one.set}>${one.title}</option>`);

/** @param {{onStarted: () => void}} props */
export function AuditForm({ onStarted }) {
  const usual = usualPair();
  const model = useSignal(usual.model);
  const data = useSignal(usual.data);
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
          data.value = measurable(s.networks.value.find((one) => one.model === model.value))[0]?.set ?? "";
        }}
      >${readyNetworks()}</select></label>
      <label class="field"><span>images</span><select value=${data.value} onChange=${(/** @type {any} */ event) => (data.value = event.currentTarget.value)}>
        ${dataOptions(model.value)}
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
        why=${whyNotMeasured(model.value, data.value) || (chosen.value.length === 0 ? "Choose an attack." : /^[1-9]\d*$/.test(limit.value) ? "" : "Say how many images.")}
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
