// @ts-check
/** The parameters of an attack, from the server's listing: no form is written by hand. */
import { get } from "../api.js";
import { html, useEffect, useSignal } from "../base.js";
import { parameter, words } from "../format.js";
import { changed } from "./actions.js";
import * as s from "./state.js";

/** @typedef {import("../spec.js").Parameter} Parameter */

/** Parameters that everyone sees; the others are a click away. */
const FIRST = new Set(["eps", "norm", "steps"]);

export function Parameters() {
  const chosen = s.choice.value;
  const attack = chosen.kind === "attack" ? s.attacks.value.find((one) => one.name === chosen.name) : undefined;
  if (!attack) return null;
  const [first, others] = [attack.parameters.filter((one) => FIRST.has(one.name)), attack.parameters.filter((one) => !FIRST.has(one.name))];
  return html`
    <div class="parameters">
      ${first.map((one) => html`<${Field} key=${`${attack.name}.${one.name}`} attack=${attack.name} parameter=${one} />`)}
      <details class="more">
        <summary>More settings</summary>
        ${others.map((one) => html`<${Field} key=${`${attack.name}.${one.name}`} attack=${attack.name} parameter=${one} />`)}
        <${Target} />
        <label class="field">
          <span>seed</span>
          <input
            type="text" inputmode="numeric" value=${s.seed.value} aria-describedby="seed-help"
            onInput=${(/** @type {any} */ event) => {
              const digits = event.currentTarget.value.replace(/\D/g, "").slice(0, 15);
              event.currentTarget.value = digits;
              changed();
              s.seed.value = digits || "0";
            }}
          />
          <small id="seed-help">decides every random choice</small>
        </label>
      </details>
      <p class="note">${attack.source}</p>
    </div>
  `;
}

/** @param {{attack: string, parameter: Parameter}} props */
function Field({ attack, parameter: one }) {
  const value = s.typed.value[attack]?.[one.name] ?? "";
  /** @param {string} text */
  const set = (text) => {
    changed();
    s.typed.value = { ...s.typed.value, [attack]: { ...s.typed.value[attack], [one.name]: text } };
  };
  const id = `${attack}-${one.name}-help`;
  const help = html`<small id=${id}>${one.help.replaceAll("`", "")}</small>`;
  if (one.type === "bool") {
    const isOn = value === "" ? Boolean(one.default) : value === "true";
    return html`
      <label class="field check">
        <input
          type="checkbox" checked=${isOn} aria-describedby=${id}
          onChange=${(/** @type {any} */ event) => set(event.currentTarget.checked === one.default ? "" : String(event.currentTarget.checked))}
        />
        <span>${words(one.name)}</span>${help}
      </label>`;
  }
  const usual = one.default === null || one.default === undefined ? "" : typeof one.default === "number" ? parameter(one.default) : String(one.default);
  if (one.choices.length) {
    return html`
      <label class="field">
        <span>${words(one.name)}</span>
        <select
          value=${value || usual} aria-describedby=${id}
          onChange=${(/** @type {any} */ event) => set(event.currentTarget.value === usual ? "" : event.currentTarget.value)}
        >${one.choices.map((choice) => html`<option key=${choice} value=${choice}>${choice}</option>`)}</select>
        ${help}
      </label>`;
  }
  return html`
    <label class="field">
      <span>${one.name === "eps" ? "eps (radius)" : words(one.name)}</span>
      <input
        type="text" inputmode=${one.type.startsWith("str") ? "text" : "decimal"} autocomplete="off" spellcheck="false"
        value=${value} placeholder=${usual || "none"} aria-describedby=${id}
        onInput=${(/** @type {any} */ event) => set(event.currentTarget.value)}
      />
      ${help}
    </label>
  `;
}

/** The class that the network shall see; any other than the ground truth where none is chosen. */
function Target() {
  const names = useSignal(/** @type {string[]} */ ([]));
  const model = s.modelName.value;
  useEffect(() => {
    let isCurrent = true;
    get(`/classes?model=${encodeURIComponent(model)}`).then(
      (answer) => isCurrent && (names.value = answer.classes),
      () => isCurrent && (names.value = []),
    );
    return () => void (isCurrent = false);
  }, [model]);
  return html`
    <label class="field">
      <span>target</span>
      <select
        value=${s.target.value} aria-describedby="target-help"
        onChange=${(/** @type {any} */ event) => {
          changed();
          s.target.value = event.currentTarget.value;
        }}
      >
        <option value="">any other class</option>
        ${names.value.map((name, index) => index !== s.truth.value?.index && html`<option key=${index} value=${String(index)}>${words(name)}</option>`)}
      </select>
      <small id="target-help">what the network shall see</small>
    </label>
  `;
}
