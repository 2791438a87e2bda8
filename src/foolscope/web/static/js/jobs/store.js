// @ts-check
/** Jobs, and the one stream of events that is open while one of them runs. */
import { ask, get, GONE, post, query, told } from "../api.js";
import { signal } from "../base.js";

/**
 * @typedef {object} Job
 * @property {string} id
 * @property {string} kind
 * @property {string} title
 * @property {"queued" | "running" | "done" | "failed" | "cancelled" | "interrupted"} state
 * @property {string} created
 * @property {string | null} ended
 * @property {string | null} error
 * @property {any} progress
 * @property {string | null} page
 * @property {import("../repeat.js").Reproduction | null} [reproduce]
 * @property {Record<string, any>} asked
 */

/** Newest first. @type {{value: Job[]}} */
export const jobs = signal([]);
export const error = signal("");
/** @type {{value: {id: string, title: string, created: string, page: string, json: string, parquet: string | null}[]}} */
export const reports = signal([]);

/** A title in two parts: the network on its images, and what is asked for. @param {Job} job @returns {[string, string]} */
export function titleOf({ title }) {
  const at = title.indexOf(": ");
  return at < 0 ? [title, ""] : [title.slice(0, at), title.slice(at + 2)];
}

/** @param {Job} job */
export const isGoing = (job) => job.state === "queued" || job.state === "running";

/** Milliseconds. */
const RETRY = 2000;
/** @type {EventSource | null} */
let source = null;
let hasFailed = false;

/** Read the jobs and reports, and listen while one runs. */
export async function refresh() {
  try {
    [jobs.value, reports.value] = [(await get("/jobs")).jobs, (await get("/reports")).reports];
    error.value = "";
  } catch (problem) {
    error.value = told(problem);
  }
  listen();
}

/** Other pages, and the command line, start and delete jobs too: what happened meanwhile is read on coming back. */
function comeBack() {
  if (document.visibilityState === "visible") void refresh();
}
addEventListener("focus", comeBack);
document.addEventListener("visibilitychange", comeBack);

/** Listen to the jobs that run now; a stream of earlier ones is closed. */
function listen() {
  source?.close();
  source = null;
  if (!jobs.value.some(isGoing)) return;
  const opened = new EventSource("/api/v1/events");
  source = opened;
  opened.addEventListener("state", (event) => {
    const job = JSON.parse(event.data);
    jobs.value = jobs.value.map((old) => (old.id === job.id ? job : old));
  });
  opened.addEventListener("progress", (event) => {
    const { job: id, ...progress } = JSON.parse(event.data);
    jobs.value = jobs.value.map((old) => (old.id === id ? { ...old, progress: { ...old.progress, ...progress } } : old));
  });
  opened.addEventListener("end", () => void refresh());
  // The browser asks again by itself until the server answers; then what happened in between is read.
  opened.addEventListener("error", () => {
    hasFailed = true;
    error.value = GONE;
    if (opened.readyState === EventSource.CLOSED) setTimeout(() => opened === source && void refresh(), RETRY);
  });
  opened.addEventListener("open", () => {
    if (hasFailed) void refresh();
    hasFailed = false;
  });
}

/**
 * Start a job.  Resolves to it, or rejects with the server's line.
 * @param {Record<string, unknown>} asked
 * @returns {Promise<Job>}
 */
export async function start(asked) {
  const job = await post("/jobs", asked);
  await refresh();
  return job;
}

/** @param {Job} job @param {"cancel" | "resume"} what */
export async function tell(job, what) {
  try {
    await post(`/jobs/${job.id}/${what}`, undefined);
    await refresh();
  } catch (problem) {
    error.value = told(problem);
  }
}

/** @param {Job} job */
export async function forget(job) {
  try {
    await ask(`/jobs/${job.id}`, { method: "DELETE" });
  } catch (problem) {
    error.value = told(problem);
  }
  await refresh();
}

/** The address of a filtered picture. @param {string} image @param {string} model @param {string} chain */
export const filteredUrl = (image, model, chain) => `/api/v1/preview.png${query({ image, model, chain })}`;
