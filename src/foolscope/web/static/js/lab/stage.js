// @ts-check
/** The picture in hand: as it was chosen, as the network sees it, filtered, and attacked. */
import { html } from "../base.js";
import { words } from "../format.js";
import { pictureOf, Repeat } from "../repeat.js";
import { Notes, Shares, Shot } from "../shell.js";
import { Compare } from "./compare.js";
import { preview } from "./preview.js";
import { Result } from "./result.js";
import * as s from "./state.js";

export function Stage() {
  const [picture, seen, result] = [s.picture.value, s.prediction.value, s.result.value];
  return html`
    <section class="stage" aria-label="The image and what the network sees">
      ${result ? html`<${Result} result=${result} />` : seen ? html`<${Seen} seen=${seen} />` : html`<${Chosen} picture=${picture} />`}
    </section>
  `;
}

/** @param {{picture: import("./types.js").Picture | null}} props */
function Chosen({ picture }) {
  if (!picture) return html`<div class="frame empty"><p class="note">No image is chosen yet.</p></div>`;
  return html`
    <figure>
      <div class="frame"><${Shot} picture=${picture} alt=${picture.truth ? words(picture.truth) : "The image that was uploaded"} /></div>
      <figcaption>
        ${picture.truth !== undefined && html`<p>Ground truth: <b>${words(picture.truth)}</b></p>`}
        ${picture.credit && html`<p class="note">${picture.credit}</p>`}
        <${Notes} notes=${picture.notes} />
      </figcaption>
    </figure>
  `;
}

/** @param {{seen: import("./types.js").Prediction}} props */
function Seen({ seen }) {
  const filtered = preview.value;
  const truth = s.truth.value;
  const verdict = seen.correct ? "right" : s.isOpen.value ? "open" : "wrong";
  return html`
    <figure>
      <div class="frame">
        ${filtered
          ? html`<${Compare}
              before=${seen.shown.url} after=${filtered} alt="The image with the chain of filters" name="filtered"
              width=${seen.shown.width} height=${seen.shown.height}
            />`
          : html`<${Shot} picture=${seen.shown} alt="What the network is shown" />`}
      </div>
      <figcaption>
        ${filtered && html`<p class="note">A preview of the filters. Run the attack to learn what the network sees in it; below is what it sees in the original.</p>`}
        <p class=${`verdict ${verdict}`} role="status">${seen.message}</p>
        <${Shares} shares=${seen.top} truth=${truth?.index} label="Top 3 classes" />
        <${Notes} notes=${seen.notes} />
        <${Repeat} reproduce=${seen.reproduce} picture=${pictureOf(seen.reproduce)} title="Repeat this prediction" />
      </figcaption>
    </figure>
  `;
}
