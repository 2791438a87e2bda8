// @ts-check
/** The lab's state in the address, and back. */
import { get, told } from "../api.js";
import { batch, effect, untracked } from "../base.js";
import { canRestore, restore as restoreSqueezing, spec as squeezed } from "../defend/panel.js";
import { UNDERSTOOD } from "../explain/state.js";
import { VIEWS } from "../route.js";
import { chainSpec, parseChain, parseSpec } from "../spec.js";
import { attack, choosePicture, forget, openSet, predict } from "./actions.js";
import { offered } from "./fitting.js";
import * as s from "./state.js";

const STEPS = ["seen", "attacked"];

/** What of the lab goes into the address. @returns {Record<string, string | number | null | undefined>} */
export function address() {
  const chosen = s.choice.value;
  const chain = s.chains.value.find((one) => chosen.kind === "chain" && one.id === chosen.id);
  const draft = chosen.kind === "draft" ? chainSpec(s.draft.value) : "";
  const awaited = s.awaited.value ?? {};
  return {
    model: s.modelName.value,
    image: s.picture.value?.id,
    step: s.result.value ? "attacked" : (awaited.step ?? (s.prediction.value ? "seen" : "")),
    label: s.chosenTruth.value ?? awaited.label,
    chain: chain?.saved ? chain.spec : (chain?.id ?? draft),
    attack: s.chosenAttack.value,
    target: s.target.value || awaited.target,
    seed: s.seed.value === "0" ? "" : s.seed.value,
    squeeze: squeezed() === "jpeg:quality=75" ? "" : squeezed() || "none",
  };
}

/** Bring the lab to what an address says, as far as its things still exist. @param {Record<string, string>} wanted */
export async function restore(wanted) {
  const now = address();
  if (s.picture.value && Object.entries(now).every(([key, value]) => String(value ?? "") === (wanted[key] ?? ""))) return;
  forget();
  const { start } = s.about.value;
  const [network, image] = [offered(wanted.model ?? start.model), wanted.image ?? start.image];
  s.modelName.value = network?.model ?? start.model;
  if (!network) s.errors.network.value = `This server offers no network '${wanted.model ?? start.model}'.`;
  if (wanted.squeeze) restoreSqueezing(wanted.squeeze === "none" ? "" : wanted.squeeze);
  await find(image);
  s.errors.page.value = notUnderstood(wanted);
  choose(wanted);
  if (STEPS.includes(wanted.step) && network && s.picture.value?.id === image) s.awaited.value = wanted;
}

/** Go on with what an address asks for as soon as its network is ready. */
export function followAddress() {
  effect(() => {
    if (s.awaited.value && !s.whyNotPredict.value) untracked(() => void carryOut());
  });
}

/** The address that was begun with: each once, so that a network that fails is not asked again and again. */
let begun = /** @type {Record<string, string> | null} */ (null);

async function carryOut() {
  const wanted = s.awaited.value;
  if (wanted === null || wanted === begun || s.whyNotPredict.value) return;
  begun = wanted;
  await predict({ quiet: true });
  if (s.awaited.value !== wanted || !s.prediction.value) return;
  choose(wanted);
  if (wanted.step === "attacked") await attack();
  if (s.awaited.value === wanted) s.awaited.value = null;
}

/** @param {string} text */
const isChain = (text) =>
  text !== "" && parseChain(text).every((step) => s.filters.value.some((one) => one.name === step.filter));

/** What of an address has no meaning here, in one line. @param {Record<string, string>} wanted */
function notUnderstood(wanted) {
  const isNumber = (/** @type {string} */ text) => /^\d+$/.test(text);
  /** @type {Record<string, (text: string) => boolean>} */
  const understood = {
    ...Object.fromEntries(["open", "model", "image"].map((key) => [key, () => true])),
    view: (text) => VIEWS.some((one) => one === text),
    step: (text) => STEPS.includes(text),
    label: isNumber, target: isNumber, seed: isNumber,
    attack: (text) => s.attacks.value.some((one) => one.name === parseSpec(text).name),
    chain: (text) => s.chains.value.some((one) => one.id === text) || isChain(text),
    squeeze: (text) => text === "none" || canRestore(text),
    ...UNDERSTOOD,
  };
  const strange = Object.entries(wanted).filter(([key, text]) => text && !(Object.hasOwn(understood, key) && understood[key](text)));
  return strange.length ? `This address asks for what is not here: ${strange.map((pair) => pair.join("=")).join(", ")}.` : "";
}

/** What shall be run. @param {Record<string, string>} wanted */
function choose(wanted) {
  batch(() => {
    if (/^\d+$/.test(wanted.label ?? "")) s.chosenTruth.value = Number(wanted.label);
    if (/^\d+$/.test(wanted.target ?? "")) s.target.value = wanted.target;
    if (/^\d+$/.test(wanted.seed ?? "")) s.seed.value = wanted.seed;
    const usual = wanted.chain ? "" : s.about.value.start.attack;
    const { name, values } = parseSpec(wanted.attack ?? usual);
    const listed = s.chains.value.find((one) => one.id === wanted.chain || one.spec === wanted.chain);
    if (s.attacks.value.some((one) => one.name === name)) {
      s.choice.value = { kind: "attack", name };
      s.typed.value = { ...s.typed.value, [name]: values };
    } else if (listed) s.choice.value = { kind: "chain", id: listed.id };
    else if (isChain(wanted.chain ?? "")) {
      s.draft.value = parseChain(wanted.chain);
      s.choice.value = { kind: "draft" };
    }
  });
}

/** Choose the picture with an id: a preset of the gallery, or one that was uploaded before. @param {string} [id] */
async function find(id) {
  const preset = /^(.+)-\d+$/.exec(id ?? "");
  const set = preset && s.sets.value.some((one) => one.set === preset[1]) ? preset[1] : "photos";
  await openSet(set);
  if (!id) return;
  const listed = s.presets.value[set]?.find((one) => one.id === id);
  if (listed) {
    choosePicture(listed);
    return;
  }
  try {
    choosePicture(await get(`/images/${encodeURIComponent(id)}`));
  } catch (error) {
    s.errors.image.value = told(error);
  }
}
