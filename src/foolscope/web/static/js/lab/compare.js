// @ts-check
/** Two pictures on top of each other, with a slider between them: before on its left, after on its right. */
import { html, useSignal } from "../base.js";

/**
 * @param {{before: string, after: string, alt: string, width?: number, height?: number, name: string}} props
 *   `before` and `after` are addresses of pictures of one size
 */
export function Compare({ before, after, alt, width = 0, height = 0, name }) {
  const split = useSignal(50);
  const few = Math.max(width, height) <= 96 ? "pixels" : "";
  return html`
    <div class="compare" style=${{ "--split": `${split.value}%` }}>
      <img class=${few} src=${after} alt=${alt} width=${width || undefined} height=${height || undefined} />
      <img class=${`${few} before`} src=${before} alt="" aria-hidden="true" />
      <span class="edge left" aria-hidden="true">original</span>
      <span class="edge right" aria-hidden="true">${name}</span>
      <span class="handle" aria-hidden="true"></span>
      <input
        type="range" min="0" max="100" step="1" value=${split.value} aria-label=${`Compare the original with the ${name} image`}
        aria-valuetext=${`${split.value} % original`}
        onInput=${(/** @type {any} */ event) => (split.value = Number(event.currentTarget.value))}
      />
    </div>
  `;
}
