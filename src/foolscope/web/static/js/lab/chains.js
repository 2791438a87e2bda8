// @ts-check
/** Saved chains and the draft in the editor. */
import { ask, get, post, query, told } from "../api.js";
import { batch } from "../base.js";
import { chainSpec } from "../spec.js";
import { changed } from "./actions.js";
import * as s from "./state.js";

/** @typedef {import("./types.js").Chain} Chain */
/** @typedef {import("../spec.js").Step} Step */

/** Read the list again. */
export async function refresh() {
  s.chains.value = (await get("/chains")).chains;
}

/**
 * Do something to the saved chains, then read them again; an error is shown under the list.
 * @template T
 * @param {() => Promise<T>} work
 * @returns {Promise<T | undefined>}
 */
async function then(work) {
  s.errors.chains.value = "";
  try {
    const done = await work();
    await refresh();
    return done;
  } catch (error) {
    s.errors.chains.value = told(error);
    return undefined;
  }
}

/** @param {string} id */
export function choose(id) {
  changed();
  s.choice.value = { kind: "chain", id };
}

/** Open the editor on a copy of some steps, or on a saved chain itself. @param {Step[]} steps @param {Chain} [chain] */
export function edit(steps, chain) {
  changed();
  batch(() => {
    s.draft.value = steps.map((step) => ({ ...step }));
    s.draftId.value = chain?.saved ? chain.id : "";
    s.draftTitle.value = chain?.saved ? chain.title : "";
    s.choice.value = { kind: "draft" };
  });
}

/** @param {Step[]} steps */
export function setSteps(steps) {
  changed();
  s.draft.value = steps;
}

/** Save the draft: as a new chain, or over the one that it was opened on; the list then has it chosen. */
export async function save() {
  const content = { title: s.draftTitle.value.trim(), spec: chainSpec(s.draft.value) };
  const saved = await then(async () => {
    if (!s.draftId.value) return post("/chains", content);
    const change = content.title ? content : { spec: content.spec };
    return (await ask(`/chains/${s.draftId.value}`, { method: "PATCH", json: change })).json();
  });
  if (saved) choose(saved.id);
  return saved !== undefined;
}

/** @param {Chain} chain @param {string} title */
export function rename(chain, title) {
  return then(() => ask(`/chains/${chain.id}`, { method: "PATCH", json: { title } }));
}

/** @param {Chain} chain */
export async function remove(chain) {
  const done = await then(() => ask(`/chains/${chain.id}`, { method: "DELETE" }));
  const chosen = s.choice.value;
  if (!done) await refresh().catch(() => undefined);
  if (chosen.kind === "chain" && chosen.id === chain.id) choose("agv-a");
}

/**
 * Save the chain of a file, and choose it.  One without a title is called as its file is.
 * @param {File} file
 * @param {"thesis" | "code"} ids
 */
export async function importFile(file, ids) {
  const title = (await hasTitle(file)) ? "" : file.name.replace(/\.json$/i, "").slice(0, 100);
  const saved = await then(async () => {
    return (await ask(`/chains/import${query({ ids, title })}`, { method: "POST", body: file })).json();
  });
  if (saved) choose(saved.id);
}

/** @param {File} file */
async function hasTitle(file) {
  try {
    return Boolean(JSON.parse(await file.text()).title);
  } catch {
    return false; // the server says what is wrong with the file
  }
}
