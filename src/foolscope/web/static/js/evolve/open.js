// @ts-check
/** From a search to Lab: one of its chains, on a picture that its network knows. */
import { choosePicture, chooseNetwork, forget, openSet, predict } from "../lab/actions.js";
import { edit } from "../lab/chains.js";
import { offered } from "../lab/fitting.js";
import * as s from "../lab/state.js";
import { goTo } from "../route.js";
import { parseChain } from "../spec.js";

/** @typedef {import("../jobs/store.js").Job} Job */

/** The picture that a search's chains are shown on: the one in hand where it fits, else the first that was searched. @param {Job} job */
export function pictureFor({ asked }) {
  const inHand = s.picture.value;
  const isUpload = inHand !== null && inHand.truth === undefined;
  return inHand && (isUpload || inHand.id.startsWith(`${asked.data}-`)) ? inHand.id : `${asked.data}-0`;
}

/** Open a chain in Lab, predicted at once, so that its preview is there. @param {string} chain @param {Job} job */
export async function openInLab(chain, job) {
  forget();
  const network = offered(job.asked.model);
  if (network) chooseNetwork(network.model);
  const id = pictureFor(job);
  edit(parseChain(chain));
  goTo("lab");
  if (s.picture.value?.id !== id) {
    await openSet(job.asked.data);
    const preset = (s.presets.value[job.asked.data] ?? []).find((one) => one.id === id);
    if (preset) choosePicture(preset);
  }
  await predict({ quiet: true });
  if (s.prediction.value && !s.isOpen.value) s.dialogOpen.value = true;
}
