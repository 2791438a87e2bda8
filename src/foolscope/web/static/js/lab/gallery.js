// @ts-check
/** Preset images by sets, each with its ground truth; and uploads by button, drop and paste. */
import { html, useEffect, useRef, useSignal } from "../base.js";
import { words } from "../format.js";
import { Problem, showChosen } from "../shell.js";
import { choosePicture, openSet, upload } from "./actions.js";
import { fittingSet, measurable } from "./fitting.js";
import * as s from "./state.js";

/** @typedef {import("./types.js").Picture} Picture */

export function Gallery() {
  const list = useRef(/** @type {HTMLElement | null} */ (null));
  const isThere = s.presets.value[s.openSet.value] !== undefined;
  useEffect(() => showChosen(list.current), [s.openSet.value, isThere]);
  return html`
    <fieldset class="pick">
      <legend>Image</legend>
      <div class="sets" role="group" aria-label="Set of images">
        ${s.sets.value.map(({ set, title }) => html`
          <button
            type="button" key=${set} class="set" aria-pressed=${s.openSet.value === set ? "true" : "false"}
            onClick=${() => openSet(set)}
          >${title}</button>`)}
      </div>
      <${Hint} />
      <div class="thumbs" ref=${list} tabindex="-1">
        <${Own} />
        ${(s.presets.value[s.openSet.value] ?? []).map((one) => html`<${Thumb} key=${one.id} one=${one} />`)}
      </div>
      <${Upload} />
      <${Problem} text=${s.errors.image.value} />
      <${InHand} />
    </fieldset>
  `;
}

/** The chosen picture above the button on narrow screens, where the stage lies below it. */
function InHand() {
  const one = s.picture.value;
  if (one === null) return null;
  return html`
    <div class="chosen-image">
      <img src=${one.thumbnail} alt="The chosen image" width="96" height="96" />
      <span>${one.truth === undefined ? "your image" : words(one.truth)}</span>
    </div>
  `;
}

/** The picture that is chosen, where the open set does not show it: an upload, or one of a shared link. */
function Own() {
  const one = s.picture.value;
  const isListed = one !== null && (s.presets.value[s.openSet.value] ?? []).some((other) => other.id === one.id);
  return one !== null && !isListed && !one.truth ? html`<${Thumb} one=${one} />` : null;
}

/** @param {{one: Picture}} props */
function Thumb({ one }) {
  const truth = one.truth === undefined ? "your image" : words(one.truth);
  return html`
    <label class="thumb" title=${one.credit ?? undefined}>
      <input
        type="radio" name="image" value=${one.id} checked=${s.picture.value?.id === one.id}
        aria-label=${`${truth}, ${one.id}`} onChange=${() => choosePicture(one)}
      />
      <img src=${one.thumbnail} alt="" width="64" height="64" loading="lazy" decoding="async" />
      <span>${truth}</span>
    </label>
  `;
}

/** Where the network knows none of the shown classes: which set it does know. */
function Hint() {
  const network = s.network.value;
  const better = fittingSet();
  const isFitting = measurable(network).some((one) => one.set === s.openSet.value);
  if (!better || isFitting || (s.openSet.value.startsWith("photos") && network?.trained_on === "cifar10")) return null;
  return html`
    <p class="note hint">
      This network was trained on others.${" "}
      <button type="button" class="link" onClick=${() => openSet(better.set)}>Show ${better.title}</button>
    </p>
  `;
}

function Upload() {
  const input = useRef(/** @type {HTMLInputElement | null} */ (null));
  const isOver = useSignal(false);
  useEffect(() => {
    const paste = (/** @type {ClipboardEvent} */ event) => {
      const file = [...(event.clipboardData?.files ?? [])][0];
      if (file) void upload(file);
    };
    document.addEventListener("paste", paste);
    return () => document.removeEventListener("paste", paste);
  }, []);
  /** @param {DragEvent} event */
  const drop = (event) => {
    event.preventDefault();
    isOver.value = false;
    const file = event.dataTransfer?.files[0];
    if (file) void upload(file);
  };
  /** @param {DragEvent} event */
  const over = (event) => {
    event.preventDefault();
    isOver.value = true;
  };
  return html`
    <div class=${isOver.value ? "drop over" : "drop"} onDrop=${drop} onDragOver=${over} onDragLeave=${() => (isOver.value = false)}>
      <input
        ref=${input} type="file" accept="image/*" class="hidden" tabindex="-1" aria-label="Image file"
        onChange=${() => {
          const file = input.current?.files?.[0];
          if (file) void upload(file);
          if (input.current) input.current.value = "";
        }}
      />
      <button type="button" class="button small" onClick=${() => input.current?.click()}>Upload an image</button>
      <span class="note" role="status">${s.busy.upload.value ? "Reading the image …" : "or drop or paste one here"}</span>
    </div>
  `;
}
