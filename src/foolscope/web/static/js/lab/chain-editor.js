// @ts-check
/** The chain editor: add, remove and reorder filters by keyboard or drag, with strength and intensity of each. */
import { html, useSignal } from "../base.js";
import { save, setSteps } from "./chains.js";
import { preview } from "./preview.js";
import * as s from "./state.js";

/** @typedef {import("../spec.js").Step} Step */

export function ChainEditor() {
  const dragged = useSignal(-1);
  const told = useSignal("");
  const steps = s.draft.value;
  const most = s.about.value?.limits.filters ?? 10;
  /** @param {number} from @param {number} to */
  const move = (from, to) => {
    if (from === to || to < 0 || to >= steps.length) return;
    const next = [...steps];
    const [step] = next.splice(from, 1);
    next.splice(to, 0, step);
    setSteps(next);
    told.value = `${step.filter} is now number ${to + 1} of ${next.length}.`;
  };
  /** @param {number} at */
  const drop = (at) => {
    if (dragged.value >= 0) move(dragged.value, at);
    dragged.value = -1;
  };
  return html`
    <div class="chain editor">
      ${preview.value && html`<img class="beside pixels" src=${preview.value} alt="Preview of the chain" width="96" height="96" />`}
      <ol class="steps" aria-label="Filters of the chain, in order">
        ${steps.map((step, index) => html`
          <li
            key=${index} class=${dragged.value === index ? "dragged" : ""}
            onDragOver=${(/** @type {DragEvent} */ event) => dragged.value >= 0 && event.preventDefault()}
            onDrop=${(/** @type {DragEvent} */ event) => {
              event.preventDefault();
              drop(index);
            }}
          >
            <${StepRow} step=${step} index=${index} count=${steps.length} onMove=${move} onDrag=${(/** @type {boolean} */ on) => (dragged.value = on ? index : -1)} />
          </li>`)}
      </ol>
      ${steps.length === 0 && html`<p class="note">Add filters; they are applied in their order, and the image shows it at once.</p>`}
      <div class="adders" role="group" aria-label="Add a filter">
        ${s.filters.value.map((one) => {
          const why = s.isGray.value && !one.takes_gray ? "needs colors" : steps.length >= most ? `at most ${most}` : "";
          return html`
            <button
              type="button" key=${one.name} class="chip" title=${why ? `${one.summary} (${why})` : one.summary}
              aria-disabled=${why ? "true" : "false"} aria-label=${`Add ${one.name}${why ? `: ${why}` : ""}`}
              onClick=${() => !why && setSteps([...steps, fresh(one)])}
            >+ ${one.name}</button>`;
        })}
      </div>
      <${Save} />
      <p class="hidden" role="status">${told.value}</p>
    </div>
  `;
}

/** @param {import("./types.js").Filter} filter @returns {Step} */
const fresh = (filter) => ({
  filter: filter.name, strength: filter.strength.default, intensity: filter.intensity.default,
});

/** @param {{step: Step, index: number, count: number, onMove: (from: number, to: number) => void, onDrag: (on: boolean) => void}} props */
function StepRow({ step, index, count, onMove, onDrag }) {
  const filter = s.filters.value.find((one) => one.name === step.filter);
  /** @param {Partial<Step>} change */
  const set = (change) => setSteps(s.draft.value.map((old, at) => (at === index ? { ...old, ...change } : old)));
  const name = `${step.filter}, number ${index + 1}`;
  return html`
    <div class="head">
      <span
        class="grip" draggable="true" aria-hidden="true" title="Drag to reorder"
        onDragStart=${(/** @type {DragEvent} */ event) => {
          event.dataTransfer?.setData("text/plain", step.filter);
          onDrag(true);
        }}
        onDragEnd=${() => onDrag(false)}
      ></span>
      <b>${step.filter}</b>
      <button type="button" class="icon" aria-label=${`Move ${name} up`} disabled=${index === 0} onClick=${() => onMove(index, index - 1)}>↑</button>
      <button type="button" class="icon" aria-label=${`Move ${name} down`} disabled=${index === count - 1} onClick=${() => onMove(index, index + 1)}>↓</button>
      <button
        type="button" class="icon" aria-label=${`Remove ${name}`}
        onClick=${() => setSteps(s.draft.value.filter((_, at) => at !== index))}
      >×</button>
    </div>
    <${Slider} title="Strength" name=${name} value=${step.strength} range=${filter?.strength ?? { low: 0, high: 1 }} onInput=${(/** @type {number} */ strength) => set({ strength })} />
    <${Slider} title="Intensity" name=${name} value=${step.intensity} range=${filter?.intensity ?? { low: 0.8, high: 1.3 }} onInput=${(/** @type {number} */ intensity) => set({ intensity })} />
  `;
}

/** @param {{title: string, name: string, value: number, range: {low: number, high: number}, onInput: (value: number) => void}} props */
function Slider({ title, name, value, range, onInput }) {
  const [low, high] = [Math.min(range.low, value), Math.max(range.high, value)];
  return html`
    <label class="slider">
      <span>${title}</span>
      <input
        type="range" min=${low} max=${high} step="any" value=${value}
        aria-label=${`${title} of ${name}`} aria-valuetext=${value.toFixed(2)}
        onInput=${(/** @type {any} */ event) => onInput(Math.round(100 * Number(event.currentTarget.value)) / 100)}
        onKeyDown=${(/** @type {KeyboardEvent} */ event) => {
          const by = { ArrowLeft: -0.01, ArrowDown: -0.01, ArrowRight: 0.01, ArrowUp: 0.01 }[event.key];
          if (!by) return;
          event.preventDefault();
          onInput(Math.min(high, Math.max(low, Math.round(100 * (value + by)) / 100)));
        }}
      />
      <output>${value.toFixed(2)}</output>
    </label>
  `;
}

function Save() {
  const isEmpty = s.draft.value.length === 0;
  return html`
    <div class="row">
      <label class="inline grow">Name <input
        type="text" maxlength="100" placeholder="what shall it be called?" value=${s.draftTitle.value}
        onInput=${(/** @type {any} */ event) => (s.draftTitle.value = event.currentTarget.value)}
      /></label>
      <button type="button" class="button small" disabled=${isEmpty} title=${isEmpty ? "Add a filter first" : undefined} onClick=${save}>
        ${s.draftId.value ? "Save changes" : "Save chain"}
      </button>
    </div>
  `;
}
