// @ts-check
/** The catalog, and the runs of each experiment. */
import { get, told } from "../api.js";
import { signal } from "../base.js";
import { jobs } from "../jobs/store.js";

/** @typedef {import("../jobs/store.js").Job} Job */
/**
 * @typedef {object} Experiment
 * @property {string} name
 * @property {string} figure
 * @property {string} summary
 * @property {string} what
 * @property {string} seed
 * @property {string} differences
 * @property {string[]} data
 * @property {{set: string, title: string}[]} sets
 * @property {number | null} usual
 * @property {import("../spec.js").Parameter[]} settings
 */

/** @type {{value: Experiment[]}} */
export const catalog = signal([]);
export const error = signal("");

/** Read the catalog, once. */
export async function read() {
  if (catalog.value.length) return;
  try {
    catalog.value = (await get("/experiments")).experiments;
    error.value = "";
  } catch (problem) {
    error.value = told(problem);
  }
}

/** The runs of an experiment, the newest first. @param {string} name @returns {Job[]} */
export const runsOf = (name) => jobs.value.filter((job) => job.kind === "experiment" && job.asked.experiment === name);
