// @ts-check
/** What a search shall look for. */
import { html, useSignal } from "../base.js";
import { PairFields, useJob } from "../jobs/setup.js";
import { whyNotMeasured } from "../lab/fitting.js";
import { Action, Problem } from "../shell.js";

/** The numbers of a search: name, field, usual value, highest. @type {[string, string, number, number][]} */
const NUMBERS = [
  ["filters in a chain", "filters", 5, 10],
  ["chains at a time", "population", 10, 100],
  ["epochs", "epochs", 3, 100],
  ["images to search on", "images", 100, 10_000],
  ["images to judge on", "held_out", 200, 10_000],
  ["seed", "seed", 0, 2 ** 31],
];
/** The lowest value where it is not one. @type {Record<string, number>} */
const LOWEST = { seed: 0, population: 2 };

/** @param {{onStarted: (id: string) => void}} props */
export function EvolveForm({ onStarted }) {
  const job = useJob(onStarted);
  const isHidden = useSignal(true);
  const numbers = useSignal(Object.fromEntries(NUMBERS.map(([, key, value]) => [key, String(value)])));
  const begin = () => {
    const values = Object.fromEntries(Object.entries(numbers.value).map(([key, text]) => [key, Number(text)]));
    return job.begin({ kind: "evolve", detector: isHidden.value ? "fs" : null, ...values });
  };
  return html`
    <form class="card" aria-label="New search" onSubmit=${(/** @type {Event} */ event) => event.preventDefault()}>
      <${PairFields} job=${job} />
      <label class="field check">
        <input type="checkbox" checked=${isHidden.value} onChange=${(/** @type {any} */ event) => (isHidden.value = event.currentTarget.checked)} />
        <span>hide from the detector</span><small>otherwise the smallest change is sought</small>
      </label>
      ${NUMBERS.map(([title, key, , high]) => html`
        <label class="field" key=${key}><span>${title}</span><input
          type="number" min=${LOWEST[key] ?? 1} max=${high} value=${numbers.value[key]}
          onInput=${(/** @type {any} */ event) => (numbers.value = { ...numbers.value, [key]: event.currentTarget.value })}
        /></label>`)}
      <${Action}
        id="start-search" class="primary wide" busy=${job.isBusy.value && "Starting …"} onClick=${begin}
        why=${whyNotMeasured(job.model.value, job.data.value) || whyNotNumbers(numbers.value)}
      >Start the search<//>
      <${Problem} text=${job.problem.value} />
    </form>
  `;
}

/** @param {Record<string, string>} numbers */
function whyNotNumbers(numbers) {
  const bad = NUMBERS.find(([, key, , high]) => {
    const value = Number(numbers[key]);
    return !/^\d+$/.test(numbers[key]) || value > high || value < (LOWEST[key] ?? 1);
  });
  return bad ? `${bad[0]}: a whole number, ${LOWEST[bad[1]] ?? 1} to ${bad[3].toLocaleString("en")}.` : "";
}
