// @ts-check
/** The Pareto front of a search: attack success against detection, or against the change of the image. */
import { html, useSignal } from "../base.js";
import { counted, percent } from "../format.js";
import { filteredUrl, titleOf } from "../jobs/store.js";
import { Repeat } from "../repeat.js";
import { parseChain } from "../spec.js";
import { Chart, stairs } from "./chart.js";
import { openInLab, pictureFor } from "./open.js";

/** @typedef {{chain: string, asr: number, detection?: number | null, linf?: number | null}} Point */

/** @param {{job: import("../jobs/store.js").Job}} props */
export function Front({ job }) {
  const shown = useSignal("");
  const [name, about] = titleOf(job);
  /** @type {Point[]} */
  const front = [...(job.progress?.front ?? [])].sort((one, other) => cost(one) - cost(other) || one.asr - other.asr);
  const isDetection = front.every((one) => one.detection !== null && one.detection !== undefined);
  const axis = isDetection ? "detected by the detector" : "largest change of a pixel (ℓ∞)";
  const point = front.find((one) => one.chain === shown.value);
  const places = grouped(front).map((here) => ({
    x: cost(here[0]), y: here[0].asr, isChosen: here.some((one) => one === point), chain: here[0].chain,
    label: here.length === 1 ? `${spoken(here[0])}. Open in Lab` : `${counted(here.length, "chain")}: ${placed(here[0])}. Show the first`,
    onShow: () => here.some((one) => one === point) || (shown.value = here[0].chain),
    onOpen: () => (here.length === 1 ? void openInLab(here[0].chain, job) : (shown.value = here[0].chain)),
    count: here.length,
  }));
  return html`
    <div class="front">
      <h2>${name}</h2>
      <p class="note">${about}</p>
      ${job.page && html`<p><a class="button small" href=${job.page} target="_blank" rel="noopener">Read the report</a></p>`}
      ${front.length === 0 && html`<p class="note">The front is empty until the first chains are measured.</p>`}
      <${Chart} places=${places} label=${`Pareto front of ${counted(front.length, "chain")}: attack success against ${axis}`} axis=${axis} inPercent=${isDetection} />
      ${front.length > 0 && html`<p class="note">${measuredOn(job)}${isDetection && stairs(places).length < places.length ? " Chains below the line change the image less." : ""}</p>`}
      <div class="peek" aria-live="polite">
        ${point
          ? html`
            <img src=${filteredUrl(pictureFor(job), job.asked.model, point.chain)} alt="The image in hand with this chain" width="128" height="128" />
            <div>
              <p><b>${percent(point.asr)}</b> fooled, ${told(point)}</p>
              <ol class="note">
                ${parseChain(point.chain).map((step) => html`<li><b>${step.filter}</b> strength ${step.strength.toFixed(2)}, intensity ${step.intensity.toFixed(2)}</li>`)}
              </ol>
              <button type="button" class="button small" onClick=${() => openInLab(point.chain, job)}>Open in Lab</button>
            </div>`
          : front.length > 0 && html`<p class="note">Choose a chain to see it.</p>`}
      </div>
      ${front.length > 0 && html`
        <ol class="chains" aria-label="Chains of the front">
          ${front.map((one) => html`
            <li key=${one.chain}>
              <button
                type="button" class="link" aria-pressed=${one === point ? "true" : "false"} aria-label=${`Show ${spoken(one)}`}
                onMouseEnter=${() => (shown.value = one.chain)} onClick=${() => (shown.value = one.chain)}
              >${names(one)}</button>
              <span class="note">${reached(one)}</span>
            </li>`)}
        </ol>`}
      <${Repeat} reproduce=${job.reproduce} title="Repeat this search" />
    </div>
  `;
}

/** @param {Point} one */
const names = (one) => parseChain(one.chain).map((step) => step.filter).join(" → ");

/** @param {Point} one @returns {number} in [0, 1] */
const cost = (one) => one.detection ?? one.linf ?? 0;

/** @param {Point} one */
const told = ({ detection = null, linf = null }) =>
  [detection === null ? "" : `${percent(detection)} detected`, linf === null ? "" : `ℓ∞ ${linf.toFixed(3)}`].filter(Boolean).join(", ");

/** Where it lies in the chart. @param {Point} one */
const placed = (one) => `${percent(one.asr)} success, ${told((one.detection ?? null) === null ? one : { ...one, linf: null })}`;

/** @param {Point} one */
const reached = (one) => `${percent(one.asr)} success, ${told(one)}`;

/** @param {Point} one */
const spoken = (one) => `${names(one)}: ${reached(one)}`;

/** The chains by place: those that say the same numbers cannot be told apart in the chart. @param {Point[]} front */
function grouped(front) {
  /** @type {Map<string, Point[]>} */
  const places = new Map();
  for (const one of front) places.set(placed(one), [...(places.get(placed(one)) ?? []), one]);
  return [...places.values()];
}

/** What the numbers were measured on. @param {import("../jobs/store.js").Job} job */
function measuredOn({ asked, page }) {
  const searched = `Measured on the ${counted(asked.images, "image")} that the search looks at`;
  return page
    ? `${searched}; the report has the numbers on ${asked.held_out.toLocaleString("en")} others, which count.`
    : `${searched}, so too high; at its end the front is judged on ${asked.held_out.toLocaleString("en")} others.`;
}
