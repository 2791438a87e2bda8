// @ts-check
/** Small parts that all pages use. */
import { html } from "./base.js";
import { percent, words } from "./format.js";

/** One line of an error, in place; nothing where there is none. @param {{text: string}} props */
export const Problem = ({ text }) => (text ? html`<p class="problem" role="alert">${text}</p>` : null);

/**
 * A button that says why it cannot be used.  It stays focusable, so that a keyboard finds the reason.
 * @param {{why?: string, busy?: string | false, class?: string, onClick: () => void, children?: any, id: string}} props
 */
export function Action({ why = "", busy = false, class: kind = "", onClick, children, id }) {
  const off = Boolean(why) || Boolean(busy);
  return html`
    <button
      type="button" id=${id} class=${`button ${kind}`}
      aria-disabled=${off ? "true" : "false"} aria-describedby=${why ? `${id}-why` : undefined}
      onClick=${() => !off && onClick()}
    >${busy ? html`<span class="spinner" aria-hidden="true"></span>${busy}` : children}</button>
    ${why && html`<p class="why" id=${`${id}-why`}>${why}</p>`}
  `;
}

/**
 * Classes with their probabilities, as bars.
 * @param {{shares: import("./lab/types.js").Share[], truth?: number | null, label: string}} props
 */
export function Shares({ shares, truth = null, label }) {
  return html`
    <ol class="shares" aria-label=${label}>
      ${shares.map((one) => {
        const right = truth === null ? "" : one.index === truth ? "right" : "wrong";
        return html`
          <li key=${one.index} class=${right}>
            <span class="name">${words(one.name)}${right === "right" && html`<span class="tag">ground truth</span>`}</span>
            <span class="share">${percent(one.probability)}</span>
            <span class="rail" aria-hidden="true"><span style=${{ "--share": String(one.probability) }}></span></span>
          </li>`;
      })}
    </ol>
  `;
}

/** A picture at its own proportions, its pixels visible where it has few. @param {{picture: any, alt: string}} props */
export function Shot({ picture, alt }) {
  const few = picture.width !== undefined && Math.max(picture.width, picture.height) <= 96;
  return html`
    <img
      class=${few ? "shot pixels" : "shot"} src=${picture.url} alt=${alt}
      width=${picture.width} height=${picture.height}
    />`;
}

/** Scroll a list, and not the page, to where its checked input can be seen. @param {HTMLElement | null} list */
export function showChosen(list) {
  const chosen = list?.querySelector("input:checked")?.closest("label");
  if (!list || !chosen) return;
  const [outer, inner] = [list.getBoundingClientRect(), chosen.getBoundingClientRect()];
  if (inner.bottom > outer.bottom) list.scrollTop += inner.bottom - outer.bottom + inner.height / 2;
}

/** Notes on what was done to a picture. @param {{notes?: string[]}} props */
export const Notes = ({ notes = [] }) => notes.map((note) => html`<p class="note" key=${note}>${note}.</p>`);
