// @ts-check
/** What can be done in the lab.  Answers that come after their question has changed are dropped. */
import { ask, get, latest, post, told } from "../api.js";
import { batch } from "../base.js";
import * as s from "./state.js";

/** @typedef {import("./types.js").Picture} Picture */

const predicting = latest();
const attacking = latest();
const uploading = latest();

/** Forget what was seen and done, and what an address asked for: the second form goes away. */
export function forget() {
  batch(() => {
    clear();
    s.awaited.value = null;
    s.errors.page.value = "";
  });
}

function clear() {
  predicting();
  attacking();
  batch(() => {
    s.prediction.value = null;
    s.result.value = null;
    s.chosenTruth.value = null;
    s.target.value = "";
    s.dialogOpen.value = false;
    for (const error of [s.errors.predict, s.errors.attack, s.errors.preview]) error.value = "";
    s.busy.predict.value = false;
    s.busy.attack.value = false;
  });
}

/** @param {string} name */
export function chooseNetwork(name) {
  if (name === s.modelName.value) return;
  batch(() => {
    forget();
    s.errors.network.value = "";
    s.modelName.value = name;
  });
}

/** @param {Picture} picture */
export function choosePicture(picture) {
  if (picture.id === s.picture.value?.id) return;
  uploading();
  batch(() => {
    forget();
    s.busy.upload.value = false;
    s.errors.image.value = "";
    s.picture.value = picture;
  });
}

/** Open a set of the gallery. @param {string} set */
export async function openSet(set) {
  s.openSet.value = set;
  if (s.presets.value[set]) return;
  try {
    const { images } = await get(`/gallery/${encodeURIComponent(set)}`);
    s.presets.value = { ...s.presets.value, [set]: images };
  } catch (error) {
    s.errors.image.value = told(error);
  }
}

/** Send a file, and choose the picture that the server made of it. @param {Blob} file */
export async function upload(file) {
  s.errors.image.value = "";
  const most = s.about.value?.limits.upload_bytes ?? Infinity;
  if (file.size > most) {
    s.errors.image.value = `This file has ${(file.size / 2 ** 20).toFixed(0)} MiB; ${most / 2 ** 20} MiB are allowed.`;
    return;
  }
  const signal = uploading();
  s.busy.upload.value = true;
  try {
    const response = await ask("/images", { method: "POST", body: file, signal });
    choosePicture(await response.json());
  } catch (error) {
    s.errors.image.value = told(error);
  }
  if (!signal.aborted) s.busy.upload.value = false;
}

/**
 * Ask the network what it sees.
 * @param {{quiet?: boolean}} [options] quiet: for an address or another page, without the dialog
 */
export async function predict({ quiet = false } = {}) {
  if (s.whyNotPredict.value || !s.picture.value) return;
  if (quiet) clear();
  else forget();
  const signal = predicting();
  s.busy.predict.value = true;
  void followNetworks();
  try {
    const seen = await post("/predict", { model: s.modelName.value, image: s.picture.value.id }, signal);
    batch(() => {
      s.prediction.value = seen;
      s.dialogOpen.value = !quiet;
    });
  } catch (error) {
    if (!signal.aborted) s.errors.predict.value = told(error);
  }
  if (!signal.aborted) s.busy.predict.value = false;
}

/** Run what is chosen in the second form. */
export async function attack() {
  const picture = s.picture.value;
  if (!s.isOpen.value || s.whyNotRun.value || !picture) return;
  const signal = attacking();
  s.busy.attack.value = true;
  s.errors.attack.value = "";
  const what = s.chosenChain.value === null ? { attack: s.chosenAttack.value } : { chain: s.chosenChain.value };
  const goal = s.target.value === "" || s.chosenChain.value !== null ? {} : { target: Number(s.target.value) };
  const about = { model: s.modelName.value, image: picture.id, label: s.truth.value?.index, seed: Number(s.seed.value) };
  try {
    const done = await post("/attack", { ...about, ...what, ...goal }, signal);
    s.result.value = done;
  } catch (error) {
    if (!signal.aborted) s.errors.attack.value = told(error);
  }
  if (!signal.aborted) s.busy.attack.value = false;
}

/** What is about to be run has changed: what was run is no longer what is shown. */
export function changed() {
  attacking();
  batch(() => {
    s.result.value = null;
    s.busy.attack.value = false;
    s.errors.attack.value = "";
  });
}

/** Say what the image really shows: an attack shall lead away from that. @param {number} index */
export function chooseTruth(index) {
  changed();
  batch(() => {
    s.chosenTruth.value = index;
    if (s.target.value === String(index)) s.target.value = "";
  });
}

/** Ask for a network's download or for its loading. @param {string} model */
export async function load(model) {
  s.errors.network.value = "";
  try {
    const one = await post("/models/load", { model });
    s.networks.value = s.networks.value.map((other) => (other.model === model ? one : other));
    void followNetworks();
  } catch (error) {
    s.errors.network.value = told(error);
  }
}

let following = false;

/** Keep the list of networks fresh while one is being loaded. */
export async function followNetworks() {
  if (following) return;
  following = true;
  try {
    do {
      await new Promise((resolve) => setTimeout(resolve, 500));
      s.networks.value = (await get("/models")).models;
    } while (s.busy.predict.value || s.networks.value.some((one) => one.state === "loading"));
  } catch (error) {
    s.errors.network.value = told(error);
  } finally {
    following = false;
  }
}
