// @ts-check
/** Reports: audits that run, audits that are finished, and each finished one in place. */
import { html, useEffect, useSignal } from "../base.js";
import { JobRow } from "../jobs/row.js";
import { error, jobs, refresh, reports } from "../jobs/store.js";
import { goTo, opened } from "../route.js";
import { Repeat } from "../repeat.js";
import { Problem } from "../shell.js";
import { AuditForm } from "./audit-form.js";

export function Reports() {
  const isForm = useSignal(false);
  useEffect(() => void refresh(), []);
  const audits = jobs.value.filter((one) => one.kind === "audit");
  const open = reports.value.find((one) => one.id === opened.value);
  return html`
    <div class="page wide">
      <p class="eyebrow">Reports</p>
      <h1>How robust is it?</h1>
      <div class="desk">
        <div class="side">
          <button type="button" class="button primary wide" aria-expanded=${isForm.value ? "true" : "false"} onClick=${() => (isForm.value = !isForm.value)}>New audit</button>
          ${isForm.value && html`<${AuditForm} onStarted=${() => (isForm.value = false)} />`}
          <${Problem} text=${error.value} />
          <ul class="jobs" aria-label="Audits">
            ${audits.map((job) => html`
              <${JobRow} key=${job.id} job=${job} isOpen=${job.id === opened.value} onOpen=${job.page ? () => goTo("reports", job.id) : undefined} />`)}
          </ul>
        </div>
        ${open
          ? html`
            <div class="reader">
              <div class="row">
                <a class="button small" href=${open.page} target="_blank" rel="noopener">Open on its own</a>
                <a class="button small" href=${open.json} download>JSON</a>
                ${open.parquet && html`<a class="button small" href=${open.parquet} download>Parquet</a>`}
              </div>
              <${Repeat} reproduce=${audits.find((job) => job.id === open.id)?.reproduce} title="Repeat this audit" />
              <iframe src=${open.page} title=${`Report: ${open.title}`}></iframe>
            </div>`
          : html`
            <div class="reader-empty">
              <p>An audit attacks a network on many images. It says how often the network holds, with intervals, and whether the number can be believed.</p>
              <p class="note">${audits.some((job) => job.page) ? "Choose a finished audit to read its report here." : "No audit has finished yet."}</p>
            </div>`}
      </div>
    </div>
  `;
}
