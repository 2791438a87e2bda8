// @ts-check
/** How much the two maps agree, beside random noise of the same norm; and where the attack's noise falls. */
import { html } from "../base.js";
import { percent } from "../format.js";
import { Lines } from "../lines.js";

/** Key, name, what it is, and how it is written. @type {[string, string, string, (value: number) => string][]} */
const MEASURES = [
  ["rank_correlation", "Rank correlation", "Spearman's, of all pixels", (value) => value.toFixed(2)],
  ["intersection", "Top pixels in common", "of the most salient tenth", percent],
  ["ssim", "Structural similarity", "SSIM of the maps", (value) => value.toFixed(2)],
  ["center_shift", "Shift of the center", "pixels", (value) => value.toFixed(1)],
];

/** @param {{answer: any}} props */
export function Agreement({ answer: { agreement } }) {
  const told = (/** @type {number | null} */ value, /** @type {(value: number) => string} */ how) => (value === null ? "–" : how(value));
  const { value, null: chance } = agreement.intersection;
  return html`
    <section aria-labelledby="agreement">
      <h2 id="agreement">Do both maps agree?</h2>
      ${value !== null && html`<p>Of the most salient tenth of the pixels, <b>${percent(value)}</b> stay under the attack, and <b>${percent(chance)}</b> under random noise of the same norm. ${value < chance - 0.05 ? "The attack moves the map by more than its size." : "So the attack says little about the map."}</p>`}
      <table class="plain">
        <thead><tr><th scope="col">Agreement of the maps</th><th scope="col">attack</th><th scope="col">random noise</th></tr></thead>
        <tbody>
          ${MEASURES.map(([key, title, what, how]) => html`
            <tr key=${key}>
              <th scope="row">${title} <small>${what}</small></th>
              <td><b>${told(agreement[key].value, how)}</b></td>
              <td>${told(agreement[key].null, how)}</td>
            </tr>`)}
        </tbody>
      </table>
    </section>
  `;
}

/** @param {{answer: any}} props */
export function Energy({ answer: { energy } }) {
  const x = [0, ...energy.map((/** @type {any} */ one) => one.pixels)];
  const lines = [
    { name: "noise of the attack", y: [0, ...energy.map((/** @type {any} */ one) => one.energy)] },
    { name: "noise that falls anywhere", y: x, isReference: true },
  ];
  const whole = (/** @type {number} */ share) => `${Math.round(100 * share)} %`;
  return html`
    <section aria-labelledby="energy">
      <h2 id="energy">Where does the noise fall?</h2>
      <${Lines}
        title="Share of the noise's energy" x=${x} lines=${lines}
        across=${{ title: "most salient pixels of the original", range: [0, 0.5], ticks: [0, 0.1, 0.2, 0.3, 0.4, 0.5], told: whole }}
        up=${{ title: "energy", range: [0, 1], ticks: [0, 0.25, 0.5, 0.75, 1], told: whole }}
      />
    </section>
  `;
}
