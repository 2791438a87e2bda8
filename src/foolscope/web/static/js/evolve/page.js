// @ts-check
/** Evolve: searches for chains of filters in the background, with their front as it grows. */
import { html, useEffect, useSignal } from "../base.js";
import { JobRow } from "../jobs/row.js";
import { error, jobs, refresh } from "../jobs/store.js";
import { goTo, opened } from "../route.js";
import { Problem } from "../shell.js";
import { EvolveForm } from "./form.js";
import { Front } from "./front.js";

export function Evolve() {
  const isForm = useSignal(false);
  useEffect(() => void refresh(), []);
  const searches = jobs.value.filter((one) => one.kind === "evolve");
  const open = searches.find((one) => one.id === opened.value) ?? searches[0];
  return html`
    <div class="page wide">
      <p class="eyebrow">Evolve</p>
      <h1>Breed a filter that fools</h1>
      <div class="desk">
        <div class="side">
          <button type="button" class="button primary wide" aria-expanded=${isForm.value ? "true" : "false"} onClick=${() => (isForm.value = !isForm.value)}>New search</button>
          ${isForm.value && html`<${EvolveForm}
            onStarted=${(/** @type {string} */ id) => {
              isForm.value = false;
              goTo("evolve", id);
            }}
          />`}
          <${Problem} text=${error.value} />
          <ul class="jobs" aria-label="Searches">
            ${searches.map((job) => html`<${JobRow} key=${job.id} job=${job} isOpen=${job === open} onOpen=${() => goTo("evolve", job.id)} />`)}
          </ul>
        </div>
        ${open
          ? html`<${Front} key=${open.id} job=${open} />`
          : html`<p class="note reader-empty">AGV breeds chains of photo filters: those survive that fool a network most often and are noticed least. Start a search, and watch the front of the best chains grow.</p>`}
      </div>
    </div>
  `;
}
