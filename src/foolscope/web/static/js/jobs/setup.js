// @ts-check
/** What the forms of all jobs have: the network, the images, and how the job begins. */
import { told } from "../api.js";
import { html, useSignal } from "../base.js";
import { networkName } from "../format.js";
import { measurable, usualPair } from "../lab/fitting.js";
import * as s from "../lab/state.js";
import { start } from "./store.js";

/** @param {string} model */
const setsFor = (model) => measurable(s.networks.value.find((one) => one.model === model));

/** The state of a form; `begin` starts the job and gives its id to `onStarted`. @param {(id: string) => void} onStarted */
export function useJob(onStarted) {
  const usual = usualPair();
  const model = useSignal(usual.model);
  const data = useSignal(usual.data);
  const problem = useSignal("");
  const isBusy = useSignal(false);
  const begin = async (/** @type {any} */ asked) => {
    isBusy.value = true;
    problem.value = "";
    try {
      const job = await start({ model: model.value, data: data.value, ...asked });
      onStarted(job.id);
    } catch (error) {
      problem.value = told(error);
    }
    isBusy.value = false;
  };
  return { model, data, problem, isBusy, begin };
}

/** The fields for network and images. @param {{job: ReturnType<typeof useJob>}} props */
export function PairFields({ job: { model, data } }) {
  const usable = s.networks.value.filter((one) => one.state === "ready" || one.state === "loading");
  return html`
    <label class="field"><span>network</span><select
      value=${model.value}
      onChange=${(/** @type {any} */ event) => {
        model.value = event.currentTarget.value;
        data.value = setsFor(model.value)[0]?.set ?? "";
      }}
    >${usable.map((one) => html`<option key=${one.model} value=${one.model}>${networkName(one.model).filter(Boolean).join(", ")}</option>`)}</select></label>
    <label class="field"><span>images</span><select value=${data.value} onChange=${(/** @type {any} */ event) => (data.value = event.currentTarget.value)}>
      ${setsFor(model.value).map((one) => html`<option key=${one.set} value=${one.set}>${one.title}</option>`)}
    </select></label>
  `;
}
