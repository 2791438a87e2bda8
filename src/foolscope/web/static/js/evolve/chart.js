// @ts-check
/** The chart of a front: places that can be pointed at, chosen and opened, in text of the page's size at any width. */
import { html } from "../base.js";
import { useWidth } from "../width.js";

/**
 * @typedef {object} Place
 * @property {number} x the cost, in [0, 1]
 * @property {number} y the success, in [0, 1]
 * @property {number} count how many chains lie here
 * @property {string} chain the first of them
 * @property {string} label
 * @property {boolean} isChosen
 * @property {() => void} onShow
 * @property {() => void} onOpen
 */

const TICKS = [0, 0.25, 0.5, 0.75, 1];
const [LEFT, BOTTOM, TOP, RIGHT] = [56, 48, 16, 28];
const [NARROWEST, WIDEST] = [260, 820];

/** The places that no other one surpasses at its cost or below: a front of more than two objectives has others besides. @param {Place[]} places */
export function stairs(places) {
  let highest = -1;
  return [...places].sort((one, other) => one.x - other.x || other.y - one.y).filter((one) => {
    const isHigher = one.y > highest;
    highest = Math.max(highest, one.y);
    return isHigher;
  });
}

/** @param {{places: Place[], label: string, axis: string, inPercent: boolean}} props */
export function Chart({ places, label, axis, inPercent }) {
  const [box, wide] = useWidth(NARROWEST, WIDEST);
  const high = Math.max(240, Math.min(420, Math.round(0.6 * wide)));
  const x = (/** @type {number} */ share) => LEFT + share * (wide - LEFT - RIGHT);
  const y = (/** @type {number} */ share) => high - BOTTOM - share * (high - BOTTOM - TOP);
  const best = stairs(places);
  const steps = best.slice(1).map((one) => `H${x(one.x)}V${y(one.y)}`);
  return html`
    <div class="chart" ref=${box}>
      <svg width=${wide} height=${high} viewBox=${`0 0 ${wide} ${high}`} role="group" aria-label=${label}>
        ${TICKS.map((tick) => html`
          <path key=${tick} class="grid" d=${`M${x(0)} ${y(tick)}H${x(1)}`} />
          <text class="tick" x=${LEFT - 8} y=${y(tick) + 4} text-anchor="end">${100 * tick} %</text>
          <text class="tick" x=${x(tick)} y=${high - BOTTOM + 20} text-anchor="middle">${inPercent ? `${100 * tick} %` : tick}</text>`)}
        <text class="axis" x=${x(0.5)} y=${high - 8} text-anchor="middle">${axis}</text>
        <text class="axis" transform=${`translate(14 ${y(0.5)}) rotate(-90)`} text-anchor="middle">attack success</text>
        ${best.length > 0 && html`<path class="line" d=${`M${x(best[0].x)} ${y(0)}V${y(best[0].y)}${steps.join("")}H${x(1)}`} />`}
        ${places.map((one) => html`
          <g
            key=${one.chain} class=${one.isChosen ? "point chosen" : "point"} role="button" tabindex="0"
            data-chain=${one.chain} aria-label=${one.label}
            onMouseEnter=${one.onShow} onFocus=${one.onShow} onClick=${one.onOpen}
            onKeyDown=${(/** @type {KeyboardEvent} */ event) => {
              if (event.key !== "Enter" && event.key !== " ") return;
              event.preventDefault();
              one.onOpen();
            }}
          >
            <circle class="reach" cx=${x(one.x)} cy=${y(one.y)} r="14" />
            <circle cx=${x(one.x)} cy=${y(one.y)} r=${one.count > 1 ? 8 : 5.5} />
            ${one.count > 1 && html`<text class="tick" x=${x(one.x) + 12} y=${y(one.y) + 4}>${one.count}</text>`}
          </g>`)}
      </svg>
    </div>
  `;
}
