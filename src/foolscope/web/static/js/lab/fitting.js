// @ts-check
/** Which sets of images a network knows the classes of. */
import * as s from "./state.js";

/** @typedef {import("./types.js").Network} Network */
/** @typedef {import("./types.js").PresetSet} PresetSet */

/** Sets with the classes of what a network was trained on, its own first. @type {Record<string, string[]>} */
const SAME = { cifar10: ["cifar10"], mnist: ["mnist", "digits"], digits: ["digits", "mnist"] };

/**
 * The sets at hand on which a network can be measured: all their classes are its own.
 * @param {Network | undefined} network
 * @returns {PresetSet[]}
 */
export function measurable(network) {
  const trained = network?.trained_on;
  if (!trained) return s.sets.value;
  if (trained === "imagenet") return s.sets.value.filter((one) => one.set.startsWith("photos")).reverse();
  const names = SAME[trained] ?? [trained];
  return names.flatMap((name) => s.sets.value.filter((one) => one.set === name));
}

/** The set to choose images from for a network: of a CIFAR network also the photographs, some of which it knows. */
export function fittingSet() {
  const own = measurable(s.network.value)[0];
  return own ?? s.sets.value.find((one) => one.set === (s.isGray.value ? "digits" : "photos"));
}

/**
 * A network and a set to begin a measurement with: one with the images that it was trained for, the network in hand
 * if it has them.
 * @returns {{model: string, data: string}}
 */
export function usualPair() {
  const usable = s.networks.value.filter((one) => one.state === "ready" || one.state === "loading");
  const pairs = [...usable.filter((one) => one.model === s.modelName.value), ...usable].map((one) => ({
    model: one.model,
    data: measurable(one)[0]?.set ?? "",
    isOwn: measurable(one)[0]?.set === one.trained_on || /^photos-/.test(measurable(one)[0]?.set), // "photos" are few
  }));
  return pairs.find((one) => one.data && one.isOwn) ?? pairs.find((one) => one.data) ?? pairs[0] ?? { model: "", data: "" };
}

/**
 * The network that a spec means: a job names its weights even where the list leaves them out.
 * @param {string} spec
 */
export function offered(spec) {
  const isIt = (/** @type {Network} */ one) => [":", ","].some((sign) => spec.startsWith(`${one.model}${sign}weights=`));
  return s.networks.value.find((one) => one.model === spec) ?? s.networks.value.find(isIt);
}

/** Why a network cannot be measured on a set; empty where it can. @param {string} model @param {string} data */
export function whyNotMeasured(model, data) {
  const network = s.networks.value.find((one) => one.model === model);
  if (network === undefined) return "Choose a network.";
  if (measurable(network).some((one) => one.set === data)) return "";
  if (measurable(network).length) return "Choose images of classes that this network has.";
  return `No images with the classes of this network are at hand: 'foolscope datasets' says how ${network.trained_on} comes here.`;
}
