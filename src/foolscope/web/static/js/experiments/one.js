// @ts-check
/** One experiment: what the seed showed, what ours shows, and a form to run it. */
import { useAnswer } from "../answer.js";
import { get } from "../api.js";
import { html, useEffect, useRef } from "../base.js";
import { Drawn } from "../drawn.js";
import { counted } from "../format.js";
import { JobRow } from "../jobs/row.js";
import { error as jobsError, isGoing } from "../jobs/store.js";
import { Repeat } from "../repeat.js";
import { goTo } from "../route.js";
import { Problem } from "../shell.js";
import { RunForm } from "./form.js";
import { runsOf } from "./store.js";

/** @typedef {import("./store.js").Experiment} Experiment */
/** @typedef {import("../jobs/store.js").Job} Job */

/** @param {{experiment: Experiment, run: string}} props `run`: the id of the run that is open; the latest finished one without */
export function One({ experiment, run }) {
  const title = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => title.current?.focus({ preventScroll: true }), []);
  const runs = runsOf(experiment.name);
  const open = runs.find((job) => job.id === run) ?? runs.find((job) => job.page);
  const isAtWork = runs.some(isGoing);
  return html`
    <div class="page wide">
      <p class="eyebrow"><button type="button" class="link" onClick=${() => goTo("experiments")}>All experiments</button> / ${experiment.figure}</p>
      <h1 tabindex="-1" ref=${title}>${experiment.name}</h1>
      <p class="bound">${experiment.what}</p>
      <div class="desk">
        <div class="side">
          <${RunForm} experiment=${experiment} isAtWork=${isAtWork} />
          <${Problem} text=${jobsError.value} />
          ${runs.length > 0 && html`
            <ul class="jobs" aria-label="Runs">
              ${runs.map((job) => html`
                <${JobRow} key=${job.id} job=${job} isOpen=${job === open} onOpen=${job.page ? () => goTo("experiments", `${experiment.name}:${job.id}`) : undefined} />`)}
            </ul>`}
        </div>
        <div class="reader">
          ${open?.page ? html`<${Findings} key=${open.id} job=${open} />` : html`<${Seed} experiment=${experiment} isAtWork=${isAtWork} />`}
        </div>
      </div>
    </div>
  `;
}

/** What is known before there is a run. @param {{experiment: Experiment, isAtWork: boolean}} props */
const Seed = ({ experiment, isAtWork }) => html`
  <section class="told-apart" aria-label="What the seed showed">
    <h2>What the seed showed</h2>
    <p>${experiment.seed}</p>
    <h2>Where ours differs, and why</h2>
    <p>${experiment.differences}</p>
    <h2>What ours shows</h2>
    <p class="note">${isAtWork ? "The run is under way: its figures will stand here." : "No run has finished here yet. Start one: its figures will stand here."}</p>
  </section>
`;

/** What a finished run shows. @param {{job: Job}} props */
function Findings({ job }) {
  const { answer, error, isBusy } = useAnswer((signal) => get(`/reports/${job.id}/findings.json`, signal), [job.id]);
  return html`
    <${Problem} text=${error} />
    ${isBusy && html`<p class="note waiting" role="status"><span class="spinner" aria-hidden="true"></span> Reading the run …</p>`}
    ${answer && html`
      <section aria-label=${`Findings of ${job.title}`}>
        <div class="row">
          ${answer.preview && html`<span class="badge">Preview: ${counted(answer.images, "image")} of ${answer.of.toLocaleString("en")}</span>`}
          <a class="button small" href=${job.page} target="_blank" rel="noopener">Open as a report</a>
        </div>
        <${Drawn} markup=${answer.html} style=${answer.style} />
        <h2 id="take">Take it with you</h2>
        <ul class="files" aria-labelledby="take">
          ${answer.files.map((/** @type {{name: string, files: string[]}} */ one) => html`
            <li key=${one.name}>
              <span>${one.name.replaceAll("-", " ")}</span>
              <span class="row">
                ${one.files.map((file) => html`<a key=${file} class="button small" href=${`/api/v1/reports/${job.id}/${file}`} download aria-label=${`${one.name} as ${kindOf(file)}`}>${kindOf(file)}</a>`)}
              </span>
            </li>`)}
        </ul>
        <${Repeat} reproduce=${job.reproduce} title="Repeat this run" />
      </section>`}
  `;
}

/** @param {string} file */
const kindOf = (file) => {
  const ending = file.slice(file.lastIndexOf(".") + 1);
  return ending === "parquet" ? "Parquet" : ending.toUpperCase();
};
