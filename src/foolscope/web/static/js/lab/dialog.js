// @ts-check
/** The dialog with what the network sees: the gate before the second form. */
import { html, useEffect, useRef } from "../base.js";
import { networkName, percent, words } from "../format.js";
import { Notes, Shares, Shot } from "../shell.js";
import { chooseTruth, openSet } from "./actions.js";
import { fittingSet } from "./fitting.js";
import * as s from "./state.js";

export function PredictionDialog() {
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
  const isOpen = s.dialogOpen.value;
  useEffect(() => {
    if (isOpen && !dialog.current?.open) dialog.current?.showModal();
    if (!isOpen && dialog.current?.open) dialog.current.close();
  }, [isOpen]);
  const seen = s.prediction.value;
  return html`
    <dialog ref=${dialog} class="sheet" aria-labelledby="seen-title" onClose=${() => (s.dialogOpen.value = false)}>
      ${seen && html`<${Seen} seen=${seen} onLeave=${() => dialog.current?.close()} />`}
    </dialog>
  `;
}

/** @param {{seen: import("./types.js").Prediction, onLeave: () => void}} props */
function Seen({ seen, onLeave }) {
  const goOn = () => {
    onLeave();
    // After the browser has given the focus back to the button that opened the dialog.
    requestAnimationFrame(() => {
      const form = document.getElementById("form-2");
      form?.focus();
      form?.scrollIntoView({ block: "start" });
    });
  };
  const isShut = !s.isOpen.value;
  const kind = seen.correct ? "right" : isShut ? "wrong" : "open";
  const verdict = s.isForeign.value ? "Not one of its classes" : { open: "Prediction", right: "Correct", wrong: "Incorrect" }[kind];
  const better = s.isForeign.value ? fittingSet() : undefined;
  return html`
    <p class=${`verdict ${kind}`}>${verdict}</p>
    <h2 id="seen-title">${networkName(seen.model)[0]} sees ${article(words(seen.top[0].name))}</h2>
    <div class="seen">
      <${Shot} picture=${seen.shown} alt="What the network was shown" />
      <div>
        ${kind === "open" ? html`<${TruthChoice} name="truth-dialog" />` : html`
          <${Shares} shares=${seen.top} truth=${seen.truth?.index} label="Top 3 classes" />`}
        <${Notes} notes=${seen.notes} />
      </div>
    </div>
    <p>${seen.correct ? "Now change the image until it sees something else." : seen.message}</p>
    <div class="buttons">
      ${better && better.set !== s.openSet.value && html`
        <button
          type="button" class="button primary"
          onClick=${() => {
            void openSet(better.set);
            onLeave();
          }}
        >Show ${better.title}</button>`}
      ${isShut
        ? html`<button type="button" class=${better && better.set !== s.openSet.value ? "button" : "button primary"} onClick=${onLeave}>Choose another</button>`
        : html`
          <button type="button" class="button primary" onClick=${goOn}>Choose an attack</button>
          <button type="button" class="button" onClick=${onLeave}>Close</button>`}
    </div>
  `;
}

/** @param {string} name */
const article = (name) => (/^\d/.test(name) ? name : `${/^[aeiou]/i.test(name) ? "an" : "a"} ${name}`);

/** The three classes to choose the ground truth among. @param {{name: string}} props */
export function TruthChoice({ name }) {
  const seen = s.prediction.value;
  if (!seen) return null;
  return html`
    <fieldset class="pick truth">
      <legend>What is it really?</legend>
      ${seen.top.map((one) => html`
        <label key=${one.index} class="choice">
          <input
            type="radio" name=${name} checked=${s.truth.value?.index === one.index}
            aria-label=${`${words(one.name)}, ${percent(one.probability)}`}
            onChange=${() => chooseTruth(one.index)}
          />
          <span class="name">${words(one.name)}</span>
          <span class="share">${percent(one.probability)}</span>
          <span class="rail" aria-hidden="true"><span style=${{ "--share": String(one.probability) }}></span></span>
        </label>`)}
    </fieldset>
  `;
}
