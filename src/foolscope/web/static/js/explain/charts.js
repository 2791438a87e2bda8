// @ts-check
/** The noise's spectrum and the network's transfer functions, as `foolscope explain` draws them. */
import { useAnswer } from "../answer.js";
import { post } from "../api.js";
import { html } from "../base.js";
import { Drawn } from "../drawn.js";
import { distance } from "../format.js";
import { attackTold } from "../lab/attack-told.js";
import { pictureOf, Repeat } from "../repeat.js";
import { Problem } from "../shell.js";
import { layer, LOGITS } from "./state.js";

/** @typedef {import("./maps.js").Subject} Subject */

/** @param {Subject} props */
export function Spectrum({ seen, result }) {
  if (!result) return html`<p class="note">There is no noise yet: attack the image first. Its spectrum then shows which frequencies the attack writes into, beside white noise and the image itself.</p>`;
  if (result.adversarial.id === result.original.id) return html`<p class="note">This attack changed nothing, so there is no noise to look at.</p>`;
  const asked = { model: seen.model, image: seen.shown.id, adversarial: result.adversarial.id, attack: attackTold() };
  return html`
    <${Part} path="/explain/spectrum" asked=${asked}>
      The attacked one is <a href=${`${result.adversarial.url}?download=1`} download=${`${result.adversarial.id}.png`}>here</a>.
    <//>`;
}

/** @param {Subject} props */
export function Frequencies({ seen, about }) {
  return html`
    <${Layers} about=${about} usual=${`the first ones: ${about.usual.join(", ")}`} />
    <${Part} path="/explain/frequencies" asked=${{ model: seen.model, image: seen.shown.id, layers: layer.value ? [layer.value] : [] }} />
  `;
}

/** The layer that is probed. @param {{about: any, usual: string}} props */
export function Layers({ about, usual }) {
  const named = [...about.layers.map((/** @type {any} */ one) => [one.name, `${one.name} (${one.kind})`]), [LOGITS, LOGITS]];
  return html`
    <label class="inline layers">Layer <select value=${layer.value} onChange=${(/** @type {any} */ event) => (layer.value = event.currentTarget.value)}>
      <option value="">${usual}</option>
      ${named.map(([name, text]) => html`<option key=${name} value=${name}>${text}</option>`)}
    </select></label>
  `;
}

/** A part of the report. @param {{path: string, asked: Record<string, any>, children?: any}} props */
function Part({ path, asked, children }) {
  const { answer, error, isBusy } = useAnswer((signal) => post(path, asked, signal), [path, JSON.stringify(asked)]);
  return html`
    <${Problem} text=${error} />
    ${isBusy && html`<p class="note waiting" role="status"><span class="spinner" aria-hidden="true"></span> Measuring and drawing …</p>`}
    ${answer && html`
      <section class=${isBusy ? "explained busy" : "explained"} aria-label=${answer.title}>
        ${answer.told.map((/** @type {string} */ text) => html`<p key=${text} class="told">${text}</p>`)}
        ${answer.charts.map((/** @type {any} */ one) => {
          const drawn = html`<${Drawn} key=${one.name} markup=${one.html} style=${answer.style} />`;
          return one.name.endsWith("channels") ? html`<details key=${one.name} class="more"><summary>Channel by channel</summary>${drawn}</details>` : drawn;
        })}
        <${Measures} measures=${answer.measures} />
        <${Repeat} reproduce=${answer.reproduce} picture=${pictureOf(answer.reproduce)} title="Repeat this measurement">${children}<//>
      </section>`}
  `;
}

/** @param {{measures: {what: string, value: number | null, low: number | null, high: number | null, null: number | null}[]}} props */
function Measures({ measures }) {
  const hasNull = measures.some((one) => one.null !== null);
  return html`
    <table class="plain">
      <thead><tr><th scope="col">Measure</th><th scope="col">value</th>${hasNull && html`<th scope="col">white noise</th>`}</tr></thead>
      <tbody>
        ${measures.map((one) => html`
          <tr key=${one.what}>
            <th scope="row">${one.what}</th><td><b>${distance(one.value)}</b></td>${hasNull && html`<td>${distance(one.null)}</td>`}
          </tr>`)}
      </tbody>
    </table>
  `;
}
