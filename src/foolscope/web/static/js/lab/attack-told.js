// @ts-check
/** The chosen attack in words. */
import { parameter } from "../format.js";
import { specOf } from "../spec.js";
import * as s from "./state.js";

/** The attack as it was chosen, its radius included where that is the usual one. */
export function attackTold() {
  const chosen = s.choice.value;
  if (chosen.kind === "chain") return s.chains.value.find((one) => one.id === chosen.id)?.title ?? chosen.id;
  if (chosen.kind === "draft") return s.draft.value.map((step) => step.filter).join(" → ");
  const eps = s.attacks.value.find((one) => one.name === chosen.name)?.parameters.find((one) => one.name === "eps");
  const typed = s.typed.value[chosen.name] ?? {};
  if (typeof eps?.default !== "number" || typed.eps?.trim()) return specOf(chosen.name, typed);
  return specOf(chosen.name, { ...typed, eps: parameter(eps.default) });
}
