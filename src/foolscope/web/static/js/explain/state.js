// @ts-check
/** What is looked at on the page Explain, and its place in the address. */
import { batch, signal } from "../base.js";

/** @typedef {"maps" | "spectrum" | "frequencies" | "jpeg"} PartName */

/** The parts of the page. @type {[PartName, string][]} */
export const PARTS = [
  ["maps", "Where it looks"],
  ["spectrum", "What the attack writes"],
  ["frequencies", "Which frequencies it hears"],
  ["jpeg", "What JPEG leaves"],
];
/** How maps are shown: key and title. @type {[string, string][]} */
export const LOOKS = [["overlay", "On the image"], ["strength", "Strength"], ["signed", "Signed"]];

export const part = signal(/** @type {PartName} */ ("maps"));
export const method = signal("saliency");
export const look = signal("overlay");
/** The class that maps explain; empty is the ground truth, else what is seen. */
export const classIndex = signal("");
/** The layer that is probed; empty are the first ones. */
export const layer = signal("");
/** What stands among the layers for the answers of the network. */
export const LOGITS = "logits";
export const quality = signal(50);
/** The length of the chosen wave in cycles per pixel, and its direction: 0 runs to the right, 90 downward. */
export const frequency = signal(0.25);
export const angle = signal(0);

/** Forget the class that was chosen: of another network or image, it would say something else. */
export function forgetClass() {
  classIndex.value = "";
}

/** Forget a chosen layer that this network does not have. @param {{layers: {name: string}[]}} about */
export function keepKnownLayer({ layers }) {
  if (layer.value !== LOGITS && !layers.some((one) => one.name === layer.value)) layer.value = "";
}

/** What goes into the address, without what is usual. @returns {Record<string, string>} */
export function address() {
  const isWave = frequency.value !== 0.25 || angle.value !== 0;
  return {
    part: part.value === "maps" ? "" : part.value,
    method: method.value === "saliency" ? "" : method.value,
    look: look.value === "overlay" ? "" : look.value,
    class: classIndex.value,
    layer: layer.value,
    quality: quality.value === 50 ? "" : String(quality.value),
    wave: isWave ? `${frequency.value}:${angle.value}` : "",
  };
}

const WAVE = /^(0(?:\.\d+)?):(\d+(?:\.\d+)?)$/;

/** What an address may say here. @type {Record<string, (text: string) => boolean>} */
export const UNDERSTOOD = {
  part: (text) => PARTS.some(([name]) => name === text),
  method: () => true,
  look: (text) => LOOKS.some(([name]) => name === text),
  class: (text) => /^\d+$/.test(text),
  layer: () => true,
  quality: (text) => /^\d+$/.test(text) && Number(text) >= 1 && Number(text) <= 100,
  wave: (text) => WAVE.test(text),
};

/** @param {Record<string, string>} wanted */
export function restore(wanted) {
  const said = (/** @type {string} */ key, /** @type {string} */ usual) =>
    wanted[key] && UNDERSTOOD[key](wanted[key]) ? wanted[key] : usual;
  const wave = WAVE.exec(said("wave", "0.25:0")) ?? ["", "0.25", "0"];
  batch(() => {
    part.value = /** @type {PartName} */ (said("part", "maps"));
    method.value = said("method", "saliency");
    look.value = said("look", "overlay");
    classIndex.value = said("class", "");
    layer.value = said("layer", "");
    quality.value = Number(said("quality", "50"));
    frequency.value = Math.min(Math.SQRT1_2, Number(wave[1]));
    angle.value = Number(wave[2]) % 180;
  });
}
