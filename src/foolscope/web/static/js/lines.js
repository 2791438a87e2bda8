// @ts-check
/** A chart of a few lines, its numbers in a table below: in the page's colors, in text of its size at any width. */
import { html } from "./base.js";
import { useWidth } from "./width.js";

/**
 * @typedef {object} Line
 * @property {string} name
 * @property {(number | null)[]} y
 * @property {boolean} [isReference] what others are compared with
 */
/**
 * @typedef {object} Axis
 * @property {string} title
 * @property {[number, number]} range
 * @property {number[]} ticks
 * @property {(value: number) => string} told
 */

const [LEFT, RIGHT, TOP, BOTTOM] = [52, 20, 14, 46];
const [NARROWEST, WIDEST] = [260, 560];

/** @param {{title: string, x: number[], lines: Line[], across: Axis, up: Axis, cursor?: number | null}} props `cursor`: a value of x that is marked */
export function Lines({ title, x, lines, across, up, cursor = null }) {
  const [box, wide] = useWidth(NARROWEST, WIDEST);
  const high = Math.round(Math.min(300, Math.max(220, 0.52 * wide)));
  const share = (/** @type {number} */ value, /** @type {[number, number]} */ [low, top]) => (value - low) / (top - low);
  const px = (/** @type {number} */ value) => LEFT + share(value, across.range) * (wide - LEFT - RIGHT);
  const py = (/** @type {number} */ value) => high - BOTTOM - share(value, up.range) * (high - BOTTOM - TOP);
  const path = (/** @type {Line} */ line) => {
    const there = x.map((value, place) => [value, line.y[place]]).filter(([, value]) => value !== null);
    return there.map(([one, other], place) => `${place ? "L" : "M"}${px(Number(one)).toFixed(1)} ${py(Number(other)).toFixed(1)}`).join("");
  };
  let number = 0;
  const kinds = lines.map((line) => (line.isReference ? "reference" : `series-${++number}`));
  return html`
    <figure class="lines" ref=${box}>
      <figcaption><b>${title}</b></figcaption>
      <ul class="legend" aria-hidden="true">
        ${lines.map((line, place) => html`<li key=${line.name} class=${kinds[place]}><svg width="24" height="8"><path d="M1 4H23" /></svg>${line.name}</li>`)}
      </ul>
      <svg width=${wide} height=${high} viewBox=${`0 0 ${wide} ${high}`} role="img" aria-label=${`${title}: ${lines.map((line) => line.name).join(", ")}; the numbers are below`}>
        ${up.ticks.map((tick) => html`
          <path key=${`up ${tick}`} class="grid" d=${`M${px(across.range[0])} ${py(tick)}H${px(across.range[1])}`} />
          <text class="tick" x=${LEFT - 8} y=${py(tick) + 4} text-anchor="end">${up.told(tick)}</text>`)}
        ${across.ticks.map((tick) => html`<text key=${tick} class="tick" x=${px(tick)} y=${high - BOTTOM + 20} text-anchor="middle">${across.told(tick)}</text>`)}
        <text class="axis" x=${(LEFT + wide - RIGHT) / 2} y=${high - 6} text-anchor="middle">${across.title}</text>
        ${cursor !== null && html`<path class="cursor" d=${`M${px(cursor)} ${TOP}V${high - BOTTOM}`} />`}
        ${lines.map((line, place) => html`
          <path key=${line.name} class=${`line ${kinds[place]}`} d=${path(line)} />
          ${cursor !== null && atCursor(x, line, cursor) !== null && html`<circle class=${kinds[place]} cx=${px(cursor)} cy=${py(Number(atCursor(x, line, cursor)))} r="4.5" />`}`)}
      </svg>
      <details class="more">
        <summary>The numbers</summary>
        <div class="scroll" tabindex="0" role="region" aria-label=${`Numbers of ${title}`}>
          <table class="plain">
            <thead><tr><th scope="col">${across.title}</th>${lines.map((line) => html`<th scope="col" key=${line.name}>${line.name}</th>`)}</tr></thead>
            <tbody>
              ${x.map((value, place) => html`
                <tr key=${value}><th scope="row">${across.told(value)}</th>${lines.map((line) => html`<td key=${line.name}>${line.y[place] === null ? "–" : up.told(Number(line.y[place]))}</td>`)}</tr>`)}
            </tbody>
          </table>
        </div>
      </details>
    </figure>
  `;
}

/** @param {number[]} x @param {Line} line @param {number} cursor */
const atCursor = (x, line, cursor) => (x.includes(cursor) ? line.y[x.indexOf(cursor)] : null);

/** Round values from 0 to `highest`, three to six. @param {number} highest */
export function rounded(highest) {
  const decade = 10 ** Math.floor(Math.log10(highest));
  const step = [0.2, 0.5, 1, 2].map((one) => one * decade).find((one) => highest / one <= 5) ?? 2 * decade;
  return [...Array(Math.floor(highest / step + 1e-9) + 1).keys()].map((count) => count * step);
}
