// @ts-check
/** JPEG and squeezers as sliders, and what the network sees in pictures after them. */
import { latest, post, told } from "../api.js";
import { effect, html, signal, useEffect, useRef, useSignal } from "../base.js";
import * as s from "../lab/state.js";
import { pictureOf, Repeat } from "../repeat.js";
import { Problem, Shares, Shot } from "../shell.js";

/** The sliders: a defense, its parameter, and the range that is of use. */
export const SLIDERS = [
  { name: "jpeg", title: "JPEG quality", key: "quality", low: 5, high: 100, step: 1, usual: 75, unit: "" },
  { name: "bits", title: "Bit depth", key: "depth", low: 1, high: 8, step: 1, usual: 5, unit: " bits" },
  { name: "median", title: "Median window", key: "size", low: 2, high: 7, step: 1, usual: 2, unit: " px" },
  { name: "nlm", title: "Non-local means", key: "strength", low: 1, high: 20, step: 1, usual: 4, unit: "" },
  { name: "gaussian", title: "Gaussian blur", key: "sigma", low: 0.2, high: 3, step: 0.1, usual: 0.8, unit: " px" },
  { name: "tv", title: "Total variation", key: "weight", low: 0.01, high: 0.3, step: 0.01, usual: 0.05, unit: "" },
];

/** Which sliders are on and where they stand, on all pages alike. @type {{value: Record<string, {on: boolean, value: number}>}} */
export const squeezing = signal(Object.fromEntries(SLIDERS.map((one) => [one.name, { on: one.name === "jpeg", value: one.usual }])));

/** The defense as a spec; empty where all sliders are off. */
export const spec = () =>
  SLIDERS.filter((one) => squeezing.value[one.name].on && isKnown(one.name))
    .map((one) => `${one.name}:${one.key}=${squeezing.value[one.name].value}`)
    .join("|");

/** @param {string} name */
const isKnown = (name) => s.defenses.value.some((one) => one.name === name);

/** Whether there is a slider for each part of a spec. @param {string} text */
export const canRestore = (text) => text.split("|").every((part) => SLIDERS.some((one) => one.name === part.split(":")[0]));

/** Set the sliders as a spec says, as far as they can. @param {string} text */
export function restore(text) {
  const parts = Object.fromEntries(text.split("|").map((part) => [part.split(":")[0], Number(part.split("=")[1])]));
  squeezing.value = Object.fromEntries(
    SLIDERS.map((one) => {
      const value = parts[one.name];
      return [one.name, Number.isFinite(value) ? { on: true, value } : { on: false, value: one.usual }];
    }),
  );
}

/** @param {{model: string, pictures: {image: string, label: number | undefined, title: string}[]}} props */
export function Panel({ model, pictures }) {
  return html`
    <div class="squeeze">
      <div class="sliders" role="group" aria-label="JPEG and squeezers">
        ${SLIDERS.filter((one) => isKnown(one.name)).map((one) => html`<${Row} key=${one.name} one=${one} />`)}
      </div>
      <div class="after">
        ${pictures.map((one) => html`<${After} key=${one.image} model=${model} ...${one} />`)}
      </div>
    </div>
  `;
}

/** @param {{one: typeof SLIDERS[number]}} props */
function Row({ one }) {
  const { on, value } = squeezing.value[one.name];
  /** @param {Partial<{on: boolean, value: number}>} change */
  const set = (change) => {
    squeezing.value = { ...squeezing.value, [one.name]: { on, value, ...change } };
  };
  return html`
    <div class=${on ? "slider on" : "slider"}>
      <label class="check">
        <input type="checkbox" checked=${on} onChange=${(/** @type {any} */ event) => set({ on: event.currentTarget.checked })} />
        <span>${one.title}</span>
      </label>
      <input
        type="range" min=${one.low} max=${one.high} step=${one.step} value=${value} aria-label=${`${one.title}, value`}
        aria-valuetext=${`${value}${one.unit}`}
        onInput=${(/** @type {any} */ event) => set({ on: true, value: Number(event.currentTarget.value) })}
      />
      <output>${on ? `${value}${one.unit}` : "off"}</output>
    </div>
  `;
}

/** A picture after the defense. @param {{model: string, image: string, label: number | undefined, title: string}} props */
function After({ model, image, label, title }) {
  const seen = useSignal(/** @type {any} */ (null));
  const error = useSignal("");
  const asking = useRef(latest());
  useEffect(() => {
    const stop = effect(() => {
      const defense = spec();
      const signal = asking.current();
      error.value = "";
      const request = defense ? post("/defend", { model, image, defense, label }, signal) : post("/predict", { model, image }, signal);
      request.then(
        (answer) => (seen.value = answer),
        (problem) => {
          if (!signal.aborted) error.value = told(problem);
        },
      );
    });
    return () => {
      stop();
      asking.current();
    };
  }, [model, image, label]);
  const answer = seen.value;
  const isRight = answer && label !== undefined ? answer.top[0].index === label : null;
  return html`
    <div class="one" role="group" aria-label=${`${title}, squeezed`}>
      ${answer && html`
        <h3>${title}</h3>
        <${Shot} picture=${answer.shown} alt=${`${title}, after what the sliders do`} />
        <div>
          <p class=${`verdict ${isRight === null ? "open" : isRight ? "right" : "wrong"}`} role="status">${sentence(answer, isRight)}</p>
          <${Shares} shares=${answer.top} truth=${label} label=${`Top 3 classes, ${title}, squeezed`} />
          <${Repeat} reproduce=${answer.reproduce} picture=${pictureOf(answer.reproduce)} title=${`Repeat: ${title.toLowerCase()}, squeezed`} />
        </div>`}
      <${Problem} text=${error.value} />
    </div>
  `;
}

/** @param {any} answer @param {boolean | null} isRight */
function sentence(answer, isRight) {
  const name = answer.top[0].name.replaceAll("_", " ");
  return isRight === null ? `Seen as ${name}` : isRight ? `Right: ${name}` : `Wrong: ${name}`;
}
