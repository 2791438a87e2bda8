// @ts-check
/** Explain: where the network looks, what an attack writes, which frequencies are heard, and what JPEG leaves of them. */
import { useAnswer } from "../answer.js";
import { get, query } from "../api.js";
import { html, useEffect } from "../base.js";
import { networkName, words } from "../format.js";
import { attack, predict } from "../lab/actions.js";
import { attackTold } from "../lab/attack-told.js";
import { Gallery } from "../lab/gallery.js";
import { Networks } from "../lab/networks.js";
import * as s from "../lab/state.js";
import { goTo } from "../route.js";
import { Action, Problem } from "../shell.js";
import { Frequencies, Spectrum } from "./charts.js";
import { Jpeg } from "./jpeg.js";
import { Maps } from "./maps.js";
import { keepKnownLayer, part, PARTS } from "./state.js";

export function Explain() {
  const [seen, result] = [s.prediction.value, s.result.value];
  const why = s.whyNotPredict.value;
  useEffect(() => {
    if (!seen && !why && !s.awaited.value && !s.busy.predict.value) void predict({ quiet: true });
  }, [seen, why, s.picture.value?.id, s.modelName.value]);
  return html`
    <div class="page wide explain">
      <p class="eyebrow">Explain</p>
      <h1>See why it is fooled</h1>
      <${Facts} />
      <${Problem} text=${s.errors.predict.value || s.errors.attack.value} />
      ${seen
        ? html`<${Parts} key=${seen.shown.id + seen.model} seen=${seen} result=${result} />`
        : html`<p class="note" role="status">${why || (s.errors.predict.value ? "" : "The network looks at the image …")}</p>`}
    </div>
  `;
}

/** What is explained, and how to change it. */
function Facts() {
  const [seen, result, isForeign] = [s.prediction.value, s.result.value, s.isForeign.value];
  const shows = (isForeign ? s.picture.value?.truth : s.truth.value?.name) ?? "";
  const shut = isForeign ? seen?.message : "The network sees this image wrong already: there is nothing to attack.";
  return html`
    <p class="facts">
      ${seen && html`
        <b>${networkName(seen.model).filter(Boolean).join(", ")}</b> on an image of <b>${words(shows)}</b>${" "}
        ${result ? html`before and after <b>${attackTold()}</b>.` : html`that is not attacked yet.`}`}
    </p>
    <div class="row">
      ${seen && !result && html`
        <${Action}
          id="explain-attack" class="primary small" busy=${s.busy.attack.value && "Attacking …"} onClick=${attack}
          why=${s.isOpen.value ? s.whyNotRun.value : shut}
        >Attack it with ${attackTold()}<//>`}
      <button type="button" class="button small" onClick=${() => goTo("lab")}>${result ? "Change the attack in Lab" : "Choose the attack in Lab"}</button>
    </div>
    <details class="more chooser">
      <summary>Another network or image</summary>
      <div class="choosers"><${Networks} /><${Gallery} /></div>
    </details>
  `;
}

/** @param {{seen: import("../lab/types.js").Prediction, result: import("../lab/types.js").Attacked | null}} props */
function Parts({ seen, result }) {
  const about = useAnswer(
    async (signal) => {
      const found = await get(`/explain${query({ model: seen.model, image: seen.shown.id })}`, signal);
      if (!signal.aborted) keepKnownLayer(found);
      return found;
    },
    [seen.model, seen.shown.id],
  );
  const shown = part.value;
  const subject = { seen, result, about: about.answer };
  return html`
    <div class="sets tabs parts" role="group" aria-label="What to explain">
      ${PARTS.map(([name, title]) => html`
        <button type="button" key=${name} class="set" aria-pressed=${shown === name ? "true" : "false"} onClick=${() => (part.value = name)}>${title}</button>`)}
    </div>
    <${Problem} text=${about.error} />
    ${about.answer && shown === "maps" && html`<${Maps} ...${subject} />`}
    ${about.answer && shown === "spectrum" && html`<${Spectrum} ...${subject} />`}
    ${about.answer && shown === "frequencies" && html`<${Frequencies} ...${subject} />`}
    ${about.answer && shown === "jpeg" && html`<${Jpeg} ...${subject} />`}
    ${about.isBusy && html`<p class="note waiting" role="status"><span class="spinner" aria-hidden="true"></span> Reading the network …</p>`}
  `;
}
