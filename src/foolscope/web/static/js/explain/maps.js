// @ts-check
/** Where the network looks for a class: in the original and in the attacked image, on one scale. */
import { useAnswer } from "../answer.js";
import { post } from "../api.js";
import { html } from "../base.js";
import { percent, words } from "../format.js";
import * as s from "../lab/state.js";
import { pictureOf, Repeat } from "../repeat.js";
import { Notes, Problem, Shot } from "../shell.js";
import { Agreement, Energy } from "./agreement.js";
import { classIndex, look, LOOKS, method } from "./state.js";

/** @typedef {{seen: import("../lab/types.js").Prediction, result: import("../lab/types.js").Attacked | null, about: any}} Subject */
/** @typedef {import("../lab/types.js").Share} Share */

/** @param {Subject} props */
export function Maps({ seen, result: attackedOnce, about }) {
  const isSame = attackedOnce !== null && attackedOnce.adversarial.id === attackedOnce.original.id;
  const result = isSame ? null : attackedOnce;
  const classes = classesOf(seen, result);
  const label = classIndex.value === "" ? classes[0].index : Number(classIndex.value);
  const asked = {
    model: seen.model, image: seen.shown.id, adversarial: result?.adversarial.id ?? null, method: method.value, label,
  };
  const { answer, error, isBusy } = useAnswer((signal) => post("/explain/maps", asked, signal), Object.values(asked));
  if (!classes.some((one) => one.index === label)) {
    const name = answer?.label.index === label ? words(answer.label.name) : `class ${label}`;
    classes.push({ index: label, told: name });
  }
  const chosen = about.methods.find((/** @type {any} */ one) => one.method === method.value);
  const isSigned = chosen?.signed ?? true;
  const shown = look.value === "signed" && !isSigned ? "overlay" : look.value;
  const mapOf = (/** @type {any} */ one) => one[shown] ?? one.overlay; // of the method before, as long as it stands there
  const original = { title: "Original", picture: seen.shown, top: seen.top[0] };
  const attacked = result && { title: "Attacked", picture: result.adversarial, top: result.top[0] };
  return html`
    <div class="choices">
      <${Methods} methods=${about.methods} />
      <${Choice} title="Class" value=${String(label)} options=${classes.map((one) => [String(one.index), one.told])} onChoose=${(/** @type {string} */ value) => (classIndex.value = value)} />
      <${Choice}
        title="Shown" value=${shown} options=${LOOKS} onChoose=${(/** @type {string} */ value) => (look.value = value)}
        off=${isSigned ? {} : { signed: `${chosen?.title ?? "This method"} has no sign: it tells where, not which way` }}
      />
    </div>
    ${chosen && html`<p class="note">${chosen.title}: ${chosen.about}${answer?.layer ? ` (layer ${answer.layer})` : ""}.</p>`}
    ${isSame && html`<p class="note">This attack changed nothing, so there is no other map to compare.</p>`}
    <${Problem} text=${error} />
    ${answer && html`
      <div class=${isBusy ? "explained busy" : "explained"} aria-busy=${isBusy ? "true" : "false"}>
        <div class=${attacked ? "pairs" : "pairs alone"}>
          <${Pair} one=${original} map=${mapOf(answer.original)} label=${answer.label} />
          ${attacked && answer.adversarial && html`<${Pair} one=${attacked} map=${mapOf(answer.adversarial)} label=${answer.label} />`}
        </div>
        <${Scale} answer=${answer} shown=${shown} isPair=${Boolean(attacked)} />
        <${Notes} notes=${answer.notes} />
        ${answer.agreement && html`
          <div class="figures">
            <${Agreement} answer=${answer} />
            <${Energy} answer=${answer} />
          </div>`}
        <${Repeat} reproduce=${answer.reproduce} picture=${pictureOf(answer.reproduce)} title="Repeat this explanation">
          ${result && html`The attacked one is <a href=${`${result.adversarial.url}?download=1`} download=${`${result.adversarial.id}.png`}>here</a>.`}
        <//>
      </div>`}
    ${isBusy && !answer && html`<p class="note waiting" role="status"><span class="spinner" aria-hidden="true"></span> Looking …</p>`}
  `;
}

/**
 * The classes that are worth explaining: the true one first, then those that the network sees.
 * @param {import("../lab/types.js").Prediction} seen @param {import("../lab/types.js").Attacked | null} result
 * @returns {{index: number, told: string}[]}
 */
function classesOf(seen, result) {
  const truth = s.truth.value ?? seen.top[0];
  /** @type {Map<number, {name: string, roles: string[]}>} */
  const found = new Map();
  const add = (/** @type {{index: number, name: string}} */ one, /** @type {string} */ role) => {
    const before = found.get(one.index);
    found.set(one.index, { name: one.name, roles: [...(before?.roles ?? []), ...(role ? [role] : [])] });
  };
  add(truth, s.isForeign.value ? "" : "truth");
  add(seen.top[0], result ? "seen before" : "seen");
  if (result) add(result.top[0], "seen after");
  for (const one of seen.top.slice(1)) add(one, "");
  const told = (/** @type {{name: string, roles: string[]}} */ { name, roles }) => words(name) + (roles.length ? ` (${roles.join(", ")})` : "");
  return [...found].map(([index, one]) => ({ index, told: told(one) }));
}

/** The methods, each with the reason where it cannot be used. @param {{methods: any[]}} props */
function Methods({ methods }) {
  const off = Object.fromEntries(methods.filter((one) => one.why).map((one) => [one.method, one.why]));
  return html`<${Choice} title="Method" value=${method.value} options=${methods.map((one) => [one.method, one.title])} off=${off} onChoose=${(/** @type {string} */ value) => (method.value = value)} />`;
}

/**
 * Buttons of which one is pressed; those that are off say why.
 * @param {{title: string, value: string, options: [string, string][], onChoose: (value: string) => void, off?: Record<string, string>}} props
 */
export function Choice({ title, value, options, onChoose, off = {} }) {
  const reasons = options.filter(([key]) => off[key]);
  return html`
    <div class="one-of">
      <span class="of-what" aria-hidden="true">${title}</span>
      <div class="sets" role="group" aria-label=${title}>
        ${options.map(([key, text]) => html`
          <button
            type="button" key=${key} class="set" aria-pressed=${key === value ? "true" : "false"}
            aria-disabled=${off[key] ? "true" : undefined} aria-describedby=${off[key] ? `why-${title}-${key}` : undefined}
            onClick=${() => !off[key] && onChoose(key)}
          >${text}</button>`)}
      </div>
      ${reasons.map(([key, text]) => html`<p key=${key} class="why" id=${`why-${title}-${key}`}>${text}: ${off[key]}</p>`)}
    </div>
  `;
}

/**
 * An image beside its map.
 * @param {{one: {title: string, picture: any, top: Share}, map: any, label: {index: number, name: string}}} props
 */
function Pair({ one, map, label }) {
  const isRight = one.top.index === s.truth.value?.index;
  const verdict = s.isForeign.value ? "verdict" : `verdict ${isRight ? "right" : "wrong"}`;
  const what = words(label.name);
  return html`
    <section class="pair" aria-label=${one.title}>
      <h2>${one.title}</h2>
      <p class=${verdict}>${words(one.top.name)}, ${percent(one.top.probability)}</p>
      <div class="two">
        <figure><${Shot} picture=${one.picture} alt=${`${one.title}: what the network is shown`} /></figure>
        <figure><${Shot} picture=${{ ...map, width: one.picture.width, height: one.picture.height }} alt=${`${one.title}: map of the class ${what}`} /></figure>
      </div>
      <p class="note">Where it looks for <b>${what}</b>.</p>
    </section>
  `;
}

/** What the colors mean. @param {{answer: any, shown: string, isPair: boolean}} props */
function Scale({ answer, shown, isPair }) {
  const isSigned = shown === "signed";
  const ends = isSigned ? ["brighter pixels speak against the class", "for it"] : ["0", isPair ? "99th percentile of both maps" : "99th percentile"];
  return html`
    <p class="scale">
      <span>${ends[0]}</span><img src=${(answer.scales[shown] ?? answer.scales.strength).url} alt="from dark to light" width="160" height="10" /><span>${ends[1]}</span>
    </p>
  `;
}
