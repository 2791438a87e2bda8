// @ts-check
/** One wave, JPEG in front of the network, and what a layer answers: every quality at a slider (Fig. 12 of the report). */
import { useAnswer } from "../answer.js";
import { post, query } from "../api.js";
import { html, useEffect, useSignal } from "../base.js";
import { distance, percent } from "../format.js";
import { Lines, rounded } from "../lines.js";
import { pictureOf, Repeat } from "../repeat.js";
import { Problem } from "../shell.js";
import { Layers } from "./charts.js";
import { Planes } from "./planes.js";
import { angle, frequency, layer, quality } from "./state.js";
import { placeOf, reached } from "./wave.js";

/** The qualities, in the order in which they are asked for: the film is there early, and then becomes smooth. */
const BATCHES = [[5, 25, 50, 75, 100], [15, 40, 60, 90], [10, 30, 65, 85], [20, 35, 55, 80], [45, 70, 95]];
/** Milliseconds between two qualities of the film. */
const FRAME = 250;

/** @param {import("./maps.js").Subject} props */
export function Jpeg({ seen, about }) {
  const asked = { model: seen.model, image: seen.shown.id, layer: layer.value || null };
  const part = useSignal(/** @type {any} */ (null));
  const { error, isBusy } = useAnswer(async (signal) => {
    part.value = null;
    /** @type {number[]} */
    const shown = [];
    for (const qualities of BATCHES) {
      shown.push(...qualities);
      const more = await post("/explain/jpeg", { ...asked, qualities, shown }, signal);
      if (!signal.aborted) part.value = joined(part.value, more);
    }
  }, Object.values(asked));
  const answer = part.value;
  return html`
    <p class="told">A wave goes through JPEG before it reaches the network. Choose the wave and the quality: JPEG rounds away what its quantization calls too weak, and adds other waves in its place. That is the filter in which the report saw a defense.</p>
    <${Layers} about=${about} usual=${`the first one: ${about.usual[0]}`} />
    <${Problem} text=${error} />
    ${isBusy && html`<p class="note waiting" role="status"><span class="spinner" aria-hidden="true"></span> Sending waves through JPEG${answer ? `: ${answer.qualities.length} of ${BATCHES.flat().length} qualities` : ""} …</p>`}
    ${answer && html`<${Film} film=${answer} />`}
  `;
}

/** A film with the qualities of both; how to repeat it, the later one knows. @param {any} film @param {any} more */
function joined(film, more) {
  if (film === null) return more;
  const qualities = [...film.qualities, ...more.qualities].sort((one, other) => one.quality - other.quality);
  return { ...film, qualities, reproduce: more.reproduce };
}

/** @param {{film: any}} props */
function Film({ film }) {
  const isPlaying = useSignal(false);
  const qualities = film.qualities.map((/** @type {any} */ one) => one.quality);
  const at = nearest(qualities, quality.value);
  useEffect(() => {
    if (!isPlaying.value) return undefined;
    const timer = setInterval(() => {
      quality.value = qualities[(nearest(qualities, quality.value) + 1) % qualities.length];
    }, FRAME);
    return () => clearInterval(timer);
  }, [isPlaying.value, qualities.length]);
  const place = placeOf(film, frequency.value, angle.value);
  const now = film.qualities[at];
  const read = (/** @type {number[][]} */ plane) => plane[place.row][place.column];
  return html`
    <div class="film">
      <div class="controls" role="group" aria-label="The wave and the quality">
        <${Slider}
          title="JPEG quality" value=${at} low=${0} high=${qualities.length - 1} step=${1} told=${String(now.quality)}
          onInput=${(/** @type {number} */ value) => (quality.value = qualities[value])}
        />
        <${Slider}
          title="Frequency" value=${frequency.value} low=${0} high=${0.7} step=${0.01} told=${`${place.length.toFixed(3)} cycles per pixel`}
          onInput=${(/** @type {number} */ value) => (frequency.value = value)}
        />
        <${Slider}
          title="Direction" value=${angle.value} low=${0} high=${175} step=${5} told=${`${Math.round(place.angle)}°`}
          onInput=${(/** @type {number} */ value) => (angle.value = value)}
        />
        <button type="button" class="button small" aria-pressed=${isPlaying.value ? "true" : "false"} onClick=${() => (isPlaying.value = !isPlaying.value)}>${isPlaying.value ? "Stop" : "Play all qualities"}</button>
      </div>
      <${Waves} film=${film} place=${place} quality=${now.quality} />
      <p class="told" role="status">
        At quality ${now.quality}, JPEG keeps <b>${percent(read(now.gain))}</b> of this wave, and <b>${percent(read(now.distortion))}</b> of the energy that comes out is something else.
        ${" "}${film.layer} answers <b>${distance(read(now.response))}</b> instead of <b>${distance(read(film.plain))}</b> ${film.unit}.
      </p>
      <${Planes} film=${film} now=${now} place=${place} />
      <${OverQualities} film=${film} read=${read} quality=${now.quality} />
      <p class="note">Waves have amplitude ${film.amplitude} around gray ${film.mean}, ${film.side} × ${film.side} pixels; they are shown with more contrast. Weaker waves fall below a quantization step earlier.</p>
      <${Repeat} reproduce=${film.reproduce} picture=${film.reproduce.command && pictureOf(film.reproduce)} title="Repeat this measurement" />
    </div>
  `;
}

/** The wave before and after JPEG. @param {{film: any, place: ReturnType<typeof placeOf>, quality: number}} props */
function Waves({ film, place, quality: now }) {
  const asked = { side: film.side, channels: film.channels, vertical: place.vertical, horizontal: place.horizontal };
  const [before, after] = [asked, { ...asked, quality: now }].map((one) => `/api/v1/explain/wave.png${query(one)}`);
  return html`
    <div class="waves">
      <figure><img class="shot pixels" src=${before} width="192" height="192" alt="The wave" /><figcaption>the wave</figcaption></figure>
      <span class="arrow" aria-hidden="true">→</span>
      <figure><img class="shot pixels" src=${after} width="192" height="192" alt=${`The wave after JPEG of quality ${now}`} /><figcaption>after JPEG ${now}</figcaption></figure>
    </div>
  `;
}

/** Gain, distortion and the layer's answer to the wave over all qualities. @param {{film: any, read: (plane: number[][]) => number, quality: number}} props */
function OverQualities({ film, read, quality: now }) {
  const x = film.qualities.map((/** @type {any} */ one) => one.quality);
  const values = (/** @type {"gain" | "distortion" | "response"} */ name) => film.qualities.map((/** @type {any} */ one) => read(one[name]));
  const whole = (/** @type {number} */ share) => `${Math.round(100 * share)} %`;
  const across = { title: "JPEG quality", range: [Math.min(...x), Math.max(...x)], ticks: x.filter((/** @type {number} */ one) => one % 25 === 0 || one === x[0]), told: String };
  const gain = values("gain");
  const top = Math.max(1.05, reached(gain));
  const response = values("response");
  const highest = reached([...response, read(film.plain)]) || 1;
  return html`
    <div class="figures">
      <${Lines}
        title="This wave through JPEG" x=${x} cursor=${now} across=${across}
        lines=${[{ name: "gain", y: gain }, { name: "distortion", y: values("distortion") }]}
        up=${{ title: "share", range: [0, top], ticks: [0, 0.25, 0.5, 0.75, 1], told: whole }}
      />
      <${Lines}
        title=${`Answer of ${film.layer}`} x=${x} cursor=${now} across=${across}
        lines=${[{ name: "behind JPEG", y: response }, { name: "without JPEG", y: x.map(() => read(film.plain)), isReference: true }]}
        up=${{ title: film.unit, range: [0, highest], ticks: rounded(highest), told: (/** @type {number} */ value) => String(Number(value.toPrecision(3))) }}
      />
    </div>
  `;
}

/** @param {{title: string, value: number, low: number, high: number, step: number, told: string, onInput: (value: number) => void}} props */
function Slider({ title, value, low, high, step, told, onInput }) {
  return html`
    <label class="slider">
      <span>${title}</span>
      <input
        type="range" min=${low} max=${high} step=${step} value=${value} aria-valuetext=${told}
        onInput=${(/** @type {any} */ event) => onInput(Number(event.currentTarget.value))}
      />
      <output>${told}</output>
    </label>
  `;
}

/** The place of the value that is nearest. @param {number[]} values @param {number} wanted */
function nearest(values, wanted) {
  const far = values.map((value) => Math.abs(value - wanted));
  return far.indexOf(Math.min(...far));
}
