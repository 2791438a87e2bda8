// @ts-check
/** What an audit shall look at. */
import { html, useSignal } from "../base.js";
import { PairFields, useJob } from "../jobs/setup.js";
import { whyNotMeasured } from "../lab/fitting.js";
import * as s from "../lab/state.js";
import { Action, Problem } from "../shell.js";

/** @param {{onStarted: () => void}} props */
export function AuditForm({ onStarted }) {
  const job = useJob(onStarted);
  const chosen = useSignal(["fgsm", "pgd"]);
  const squeezers = useSignal(/** @type {string[]} */ (["jpeg"]));
  const eps = useSignal("");
  const limit = useSignal("200");
  const known = s.attacks.value.filter((one) => !["filter", "agv"].includes(one.name));
  const begin = () =>
    job.begin({
      kind: "audit", attacks: chosen.value, defenses: squeezers.value,
      eps: eps.value.trim() ? [eps.value.trim()] : [], limit: Number(limit.value),
    });
  return html`
    <form class="card" aria-label="New audit" onSubmit=${(/** @type {Event} */ event) => event.preventDefault()}>
      <${PairFields} job=${job} />
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
        id="start-audit" class="primary wide" busy=${job.isBusy.value && "Starting …"} onClick=${begin}
        why=${whyNotMeasured(job.model.value, job.data.value) || (chosen.value.length === 0 ? "Choose an attack." : /^[1-9]\d*$/.test(limit.value) ? "" : "Say how many images.")}
      >Start the audit<//>
      <${Problem} text=${job.problem.value} />
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
