// @ts-check
/** One job: where it stands, and what can be done with it. */
import { html } from "../base.js";
import { moment } from "../format.js";
import { Problem } from "../shell.js";
import { forget, isGoing, tell } from "./store.js";

const STATES = {
  queued: "waiting", running: "running", done: "done", failed: "failed", cancelled: "stopped", interrupted: "interrupted",
};

/** @param {{job: import("./store.js").Job, onOpen?: () => void, isOpen?: boolean}} props */
export function JobRow({ job, onOpen, isOpen = false }) {
  const share = job.progress?.share ?? null;
  return html`
    <li class=${isOpen ? "job chosen" : "job"}>
      <div class="head">
        ${onOpen
          ? html`<button type="button" class="link name" aria-current=${isOpen ? "true" : undefined} onClick=${onOpen}>${job.title}</button>`
          : html`<span class="name">${job.title}</span>`}
        <span class=${`status ${job.state === "done" ? "ready" : isGoing(job) ? "going" : "off"}`}>${STATES[job.state]}</span>
      </div>
      <p class="note">${moment(job.created)}${isGoing(job) && job.progress ? `: ${job.progress.label}` : ""}</p>
      ${isGoing(job) && html`<progress value=${share ?? undefined} max="1" aria-label=${`Progress of ${job.title}`}></progress>`}
      <${Problem} text=${job.error ?? ""} />
      <div class="row">
        ${isGoing(job) && html`<button type="button" class="button small" aria-label=${`Stop ${job.title}`} onClick=${() => tell(job, "cancel")}>Stop</button>`}
        ${["cancelled", "interrupted", "failed"].includes(job.state) &&
          html`<button type="button" class="button small" aria-label=${`Resume ${job.title}`} onClick=${() => tell(job, "resume")}>Resume</button>`}
        ${!isGoing(job) && html`<button type="button" class="button small quiet" aria-label=${`Delete ${job.title}`} onClick=${() => forget(job)}>Delete</button>`}
      </div>
    </li>
  `;
}
