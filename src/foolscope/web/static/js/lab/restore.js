// @ts-check
/** The lab's state in the address, and back. */
import { get, told } from "../api.js";
import { batch } from "../base.js";
import { restore as restoreSqueezing, spec as squeezed } from "../defend/panel.js";
import { chainSpec, parseChain, parseSpec } from "../spec.js";
import { attack, choosePicture, forget, openSet, predict } from "./actions.js";
import * as s from "./state.js";

/** What of the lab goes into the address. @returns {Record<string, string | number | null | undefined>} */
export function address() {
  const chosen = s.choice.value;
  const chain = s.chains.value.find((one) => chosen.kind === "chain" && one.id === chosen.id);
  const draft = chosen.kind === "draft" ? chainSpec(s.draft.value) : "";
  return {
    model: s.modelName.value,
    image: s.picture.value?.id,
    step: s.result.value ? "attacked" : s.prediction.value ? "seen" : "",
    label: s.chosenTruth.value,
    chain: chain?.saved ? chain.spec : (chain?.id ?? draft),
    attack: s.chosenAttack.value,
    target: s.target.value,
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
  const model = wanted.model ?? start.model;
  s.modelName.value = s.networks.value.some((one) => one.model === model) ? model : start.model;
  if (wanted.model && wanted.model !== s.modelName.value) s.errors.network.value = `This server offers no network '${wanted.model}'.`;
  if (wanted.squeeze) restoreSqueezing(wanted.squeeze === "none" ? "" : wanted.squeeze);
  await find(wanted.image ?? start.image);
  if (!wanted.step || !s.picture.value) {
    choose(wanted);
    return;
  }
  await predict({ quiet: true });
  if (!s.prediction.value) return;
  choose(wanted);
  if (wanted.step === "attacked") await attack();
}

/** What shall be run. @param {Record<string, string>} wanted */
function choose(wanted) {
  batch(() => {
    if (wanted.label) s.chosenTruth.value = Number(wanted.label);
    if (/^\d+$/.test(wanted.target ?? "")) s.target.value = wanted.target;
    if (/^\d+$/.test(wanted.seed ?? "")) s.seed.value = wanted.seed;
    const usual = wanted.chain ? "" : s.about.value.start.attack;
    const { name, values } = parseSpec(wanted.attack ?? usual);
    const listed = s.chains.value.find((one) => one.id === wanted.chain || one.spec === wanted.chain);
    if (s.attacks.value.some((one) => one.name === name)) {
      s.choice.value = { kind: "attack", name };
      s.typed.value = { ...s.typed.value, [name]: values };
    } else if (listed) s.choice.value = { kind: "chain", id: listed.id };
    else if (wanted.chain) {
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
