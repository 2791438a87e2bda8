// @ts-check
/** One job: where it stands, and what can be done with it. */
import { html, useSignal } from "../base.js";
import { moment } from "../format.js";
import { Problem } from "../shell.js";
import { forget, isGoing, tell, titleOf } from "./store.js";

/** @typedef {import("./store.js").Job} Job */

const STATES = {
  queued: "waiting", running: "running", done: "done", failed: "failed", cancelled: "stopped", interrupted: "interrupted",
};

/** @param {{job: Job, onOpen?: () => void, isOpen?: boolean}} props */
export function JobRow({ job, onOpen, isOpen = false }) {
  const share = job.progress?.share ?? null;
  const [name, about] = titleOf(job);
  return html`
    <li class=${isOpen ? "job chosen" : "job"}>
      <div class="head">
        ${onOpen
          ? html`<button type="button" class="link name" aria-current=${isOpen ? "true" : undefined} aria-label=${job.title} onClick=${onOpen}>${name}</button>`
          : html`<span class="name">${name}</span>`}
        <span class=${`status ${job.state === "done" ? "ready" : isGoing(job) ? "going" : "off"}`}>${STATES[job.state]}</span>
      </div>
      ${about && html`<p class="note about">${about}</p>`}
      <p class="note">${moment(job.created)}${isGoing(job) && job.progress ? `: ${progressTold(job)}` : ""}</p>
      ${isGoing(job) && html`<progress value=${share ?? undefined} max="1" aria-label=${`Progress of ${job.title}`}></progress>`}
      <${Problem} text=${job.error ?? ""} />
      <div class="row">
        ${isGoing(job) && html`<button type="button" class="button small" aria-label=${`Stop ${job.title}`} onClick=${() => tell(job, "cancel")}>Stop</button>`}
        ${["cancelled", "interrupted", "failed"].includes(job.state) &&
          html`<button type="button" class="button small" aria-label=${`Resume ${job.title}`} onClick=${() => tell(job, "resume")}>Resume</button>`}
        ${!isGoing(job) && html`<${Delete} job=${job} />`}
      </div>
    </li>
  `;
}

/** What is being done, and of an experiment how many of its cells are. @param {Job} job */
function progressTold({ kind, progress: { label, done, cells, reused } }) {
  if (kind !== "experiment") return label;
  return `${label}; ${done} of ${cells} cells${reused ? `, ${reused} from the store` : ""}`;
}

/** Deletes a job; one with a report is asked about first. @param {{job: Job}} props */
function Delete({ job }) {
  const isAsking = useSignal(false);
  if (!isAsking.value) {
    return html`
      <button
        type="button" class="button small quiet" aria-label=${`Delete ${job.title}`}
        onClick=${() => (job.page ? (isAsking.value = true) : void forget(job))}
      >Delete</button>`;
  }
  return html`
    <button type="button" class="button small danger" onClick=${() => forget(job)}>Delete with its report</button>
    <button type="button" class="button small" onClick=${() => (isAsking.value = false)}>Keep</button>
  `;
}
