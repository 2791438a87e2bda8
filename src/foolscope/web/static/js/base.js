// @ts-check
/** What every module of the page builds on: the vendored libraries under one roof. */
import { h } from "../vendor/preact.js";
import htm from "../vendor/htm.js";

export { render } from "../vendor/preact.js";
export { useEffect, useLayoutEffect, useRef } from "../vendor/hooks.js";
export { batch, computed, effect, signal, untracked, useComputed, useSignal } from "../vendor/signals.js";

/** Markup as a tagged template: html`<p class="note">${text}</p>`. */
export const html = htm.bind(h);
