// @ts-check
/** Which page is shown, and the values of its address that are not the lab's. */
import { batch, signal } from "./base.js";

/** @typedef {"lab" | "explain" | "defend" | "evolve" | "experiments" | "reports"} View */

/** @type {View[]} */
export const VIEWS = ["lab", "explain", "defend", "evolve", "experiments", "reports"];

export const view = signal(/** @type {View} */ ("lab"));
/** The report, the search or the experiment that is open. */
export const opened = signal("");

/** Whether the next change of the address is one that the back button undoes. */
export const navigated = { now: false };

/** @param {View} name @param {string} [which] a report, a search, or an experiment */
export function goTo(name, which = "") {
  navigated.now = true;
  batch(() => {
    view.value = name;
    opened.value = which;
  });
  scrollTo({ top: 0 });
}
