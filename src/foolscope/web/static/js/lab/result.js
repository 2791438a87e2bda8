// @ts-check
/** What an attack did: the picture, what the network sees now, how far it is, and the noise. */
import { html, useEffect, useRef } from "../base.js";
import { distance } from "../format.js";
import { Panel } from "../defend/panel.js";
import { Detector } from "../defend/detector.js";
import { goTo } from "../route.js";
import { Notes, Shares, Shot } from "../shell.js";
import { Compare } from "./compare.js";
import { TakeAway } from "./take-away.js";

/** @typedef {import("./types.js").Attacked} Attacked */

/** Name, key and explanation of each distance. */
const DISTANCES = [
  ["ℓ0", "l0", "pixels that changed"],
  ["ℓ1", "l1", "sum of all changes"],
  ["ℓ2", "l2", "Euclidean length"],
  ["ℓ∞", "linf", "largest change, of 1"],
  ["SSIM", "ssim", "likeness, at most 1"],
  ["PSNR", "psnr", "decibels; more is closer"],
];

/** @param {{result: Attacked}} props */
export function Result({ result }) {
  const title = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => {
    const box = title.current?.getBoundingClientRect();
    title.current?.closest(".stage")?.scrollTo({ top: 0 });
    if (box && (box.bottom < 0 || box.top > innerHeight)) title.current?.scrollIntoView({ block: "start" });
  }, [result]);
  const { adversarial, original } = result;
  return html`
    <div class="result">
      <p ref=${title} class=${`verdict big ${result.success ? "fooled" : "held"}`} role="status">${result.message}</p>
      <div class="views">
        <figure class="frame">
          <${Compare}
            before=${original.url} after=${adversarial.url} alt="The attacked image" name="attacked"
            width=${adversarial.width} height=${adversarial.height}
          />
        </figure>
        <figure class="noise">
          <${Shot} picture=${result.noise} alt="The difference of the two images, around gray" />
          <figcaption><p class="note">${result.noise_factor === null ? "Nothing was added." : html`<b>Noise</b>, magnified <b>× ${distance(result.noise_factor)}</b>, signed around gray`}</p></figcaption>
        </figure>
      </div>
      <div class="before-after">
        <div><h3>Before</h3><${Shares} shares=${result.top_before} truth=${result.truth.index} label="Top 3 classes before" /></div>
        <div><h3>After</h3><${Shares} shares=${result.top} truth=${result.truth.index} label="Top 3 classes after" /></div>
      </div>
      <h3>How far it is</h3>
      <dl class="numbers">
        ${DISTANCES.map(([name, key, help]) => html`
          <div key=${key}><dt>${name}</dt><dd>${distance(result.distances[key] ?? null)}</dd><dd class="note">${help}</dd></div>`)}
      </dl>
      <${Notes} notes=${result.notes} />
      <div><button type="button" class="button" onClick=${() => goTo("explain")}>See why: explain both images</button></div>
      <h3>Is it noticed?</h3>
      <${Detector} model=${result.model} image=${adversarial.id} />
      <h3>Does it survive being squeezed?</h3>
      <${Panel} model=${result.model} pictures=${[{ image: adversarial.id, label: result.truth.index, title: "Attacked image" }]} />
      <${TakeAway} result=${result} />
      <p class="note">${cost(result)}</p>
    </div>
  `;
}

/** @param {Attacked} result */
function cost({ forwards, backwards, seconds, attack, seed }) {
  const passes = backwards ? `${forwards} forward and ${backwards} backward passes` : `${forwards} forward passes`;
  return `${attack}, seed ${seed}: ${passes} in ${seconds < 0.1 ? `${Math.round(1000 * seconds)} ms` : `${seconds.toFixed(1)} s`}.`;
}
