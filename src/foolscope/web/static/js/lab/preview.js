// @ts-check
/** The chosen chain on the image in hand, while it is being composed. */
import { ask, latest, query, told } from "../api.js";
import { effect, signal, untracked } from "../base.js";
import * as s from "./state.js";

/** The filtered picture as an address of the browser's own; empty where there is none. */
export const preview = signal("");

/** Start to follow the choice. */
export function followPreview() {
  const next = latest();
  effect(() => {
    const [seen, chain, why] = [s.prediction.value, s.chosenChain.value, s.whyNotRun.value];
    const signal = next();
    s.errors.preview.value = "";
    if (!seen || !s.isOpen.value || !chain || why || s.result.value) {
      untracked(() => show(""));
      return;
    }
    void filtered(seen, chain, signal);
  });
}

/** @param {import("./types.js").Prediction} seen @param {string} chain @param {AbortSignal} signal */
async function filtered(seen, chain, signal) {
  try {
    // What the network sees is filtered again and again here, so it is not scaled anew each time.
    const response = await ask(`/preview.png${query({ image: seen.shown.id, model: seen.model, chain })}`, { signal });
    const address = URL.createObjectURL(await response.blob());
    if (signal.aborted) URL.revokeObjectURL(address);
    else show(address);
  } catch (error) {
    if (signal.aborted) return;
    show("");
    s.errors.preview.value = told(error);
  }
}

/** @param {string} address */
function show(address) {
  const before = preview.peek();
  preview.value = address;
  if (before) URL.revokeObjectURL(before);
}
