// @ts-check
/** The Pareto front of a search: attack success against detection, or against the change of the image. */
import { html, useSignal } from "../base.js";
import { percent } from "../format.js";
import { filteredUrl } from "../jobs/store.js";
import { choosePicture, chooseNetwork } from "../lab/actions.js";
import { edit } from "../lab/chains.js";
import * as s from "../lab/state.js";
import { goTo } from "../route.js";
import { parseChain } from "../spec.js";

/** @typedef {{chain: string, asr: number, detection?: number | null, linf?: number | null}} Point */

const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT] = [640, 380, 56, 48, 16, 28];
const TICKS = [0, 0.25, 0.5, 0.75, 1];
const x = (/** @type {number} */ share) => LEFT + share * (WIDTH - LEFT - RIGHT);
const y = (/** @type {number} */ share) => HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP);

/** @param {{job: import("../jobs/store.js").Job}} props */
export function Front({ job }) {
  const shown = useSignal(-1);
  /** @type {Point[]} */
  const front = [...(job.progress?.front ?? [])].sort((one, other) => cost(one) - cost(other));
  const isDetection = front.every((one) => one.detection !== null && one.detection !== undefined);
  const axis = isDetection ? "detected by the detector" : "largest change of a pixel (ℓ∞)";
  const point = front[shown.value];
  const image = s.picture.value?.id ?? "photos-0";
  return html`
    <div class="front">
      <h2>${job.title}</h2>
      ${job.page && html`<p><a class="button small" href=${job.page} target="_blank" rel="noopener">Read the report</a></p>`}
      ${front.length === 0 && html`<p class="note">The front is empty until the first chains are measured.</p>`}
      <svg class="chart" viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} role="group" aria-label=${`Pareto front of ${front.length} chains: attack success against ${axis}`}>
        ${TICKS.map((tick) => html`
          <path key=${tick} class="grid" d=${`M${x(0)} ${y(tick)}H${x(1)}`} />
          <text class="tick" x=${LEFT - 8} y=${y(tick) + 4} text-anchor="end">${100 * tick} %</text>
          <text class="tick" x=${x(tick)} y=${HEIGHT - BOTTOM + 20} text-anchor="middle">${isDetection ? `${100 * tick} %` : tick}</text>`)}
        <text class="axis" x=${x(0.5)} y=${HEIGHT - 8} text-anchor="middle">${axis}</text>
        <text class="axis" transform=${`translate(14 ${y(0.5)}) rotate(-90)`} text-anchor="middle">attack success</text>
        <path class="line" d=${stairs(front)} />
        ${front.map((one, index) => html`
          <g
            key=${one.chain} class=${shown.value === index ? "point chosen" : "point"} role="button" tabindex="0"
            data-chain=${one.chain} aria-label=${`${names(one)}: ${percent(one.asr)} success, ${told(one)}. Open in Lab`}
            onMouseEnter=${() => (shown.value = index)} onFocus=${() => (shown.value = index)}
            onClick=${() => open(one, job)} onKeyDown=${(/** @type {KeyboardEvent} */ event) => {
              if (event.key !== "Enter" && event.key !== " ") return;
              event.preventDefault();
              open(one, job);
            }}
          ><circle class="reach" cx=${x(cost(one))} cy=${y(one.asr)} r="14" /><circle cx=${x(cost(one))} cy=${y(one.asr)} r="5.5" /></g>`)}
      </svg>
      <div class="peek" aria-live="polite">
        ${point
          ? html`
            <img src=${filteredUrl(image, job.asked.model, point.chain)} alt="The image in hand with this chain" width="128" height="128" />
            <div>
              <p><b>${percent(point.asr)}</b> fooled, ${told(point)}</p>
              <ol class="note">
                ${parseChain(point.chain).map((step) => html`<li><b>${step.filter}</b> strength ${step.strength.toFixed(2)}, intensity ${step.intensity.toFixed(2)}</li>`)}
              </ol>
              <button type="button" class="button small" onClick=${() => open(point, job)}>Open in Lab</button>
            </div>`
          : front.length > 0 && html`<p class="note">Point at a chain to see it; click to open it in Lab.</p>`}
      </div>
    </div>
  `;
}

/** @param {Point} one */
const names = (one) => parseChain(one.chain).map((step) => step.filter).join(" → ");

/** @param {Point} one @returns {number} in [0, 1] */
const cost = (one) => one.detection ?? one.linf ?? 0;

/** @param {Point} one */
const told = (one) =>
  one.detection === null || one.detection === undefined ? `ℓ∞ ${(one.linf ?? 0).toFixed(3)}` : `${percent(one.detection)} detected`;

/** The front as stairs: what is reachable at a cost. @param {Point[]} front */
function stairs(front) {
  if (front.length === 0) return "";
  const steps = front.slice(1).map((one) => `H${x(cost(one))}V${y(one.asr)}`);
  return `M${x(cost(front[0]))} ${y(0)}V${y(front[0].asr)}${steps.join("")}H${x(1)}`;
}

/** Open a chain in Lab, on the image in hand. @param {Point} one @param {import("../jobs/store.js").Job} job */
function open(one, job) {
  chooseNetwork(job.asked.model);
  if (s.picture.value === null) choosePicture((s.presets.value.photos ?? [])[0]);
  edit(parseChain(one.chain));
  goTo("lab");
}
