// @ts-check
/** The page: starts up, shows one view at a time, and keeps the address true. */
import { get, told, tokenWanted } from "./api.js";
import { link, read, write } from "./address.js";
import { batch, computed, effect, html, render, signal, useEffect, useRef } from "./base.js";
import { Defend } from "./defend/page.js";
import { Evolve } from "./evolve/page.js";
import { Experiments } from "./experiments/page.js";
import { Explain } from "./explain/page.js";
import * as explained from "./explain/state.js";
import { isGoing, jobs, refresh as refreshJobs } from "./jobs/store.js";
import { followNetworks } from "./lab/actions.js";
import { Lab } from "./lab/page.js";
import { followPreview } from "./lab/preview.js";
import { address, followAddress, restore } from "./lab/restore.js";
import * as s from "./lab/state.js";
import { Reports } from "./reports/page.js";
import { goTo, navigated, opened, view, VIEWS } from "./route.js";
import { SignIn } from "./session.js";
import { Problem } from "./shell.js";

/** @typedef {import("./route.js").View} View */

/** @type {Record<View, {title: string, page: () => any}>} */
const PAGES = {
  lab: { title: "Lab", page: Lab },
  explain: { title: "Explain", page: Explain },
  defend: { title: "Defend", page: Defend },
  evolve: { title: "Evolve", page: Evolve },
  experiments: { title: "Experiments", page: Experiments },
  reports: { title: "Reports", page: Reports },
};

/** The page that shows each kind of job. @type {Record<string, View>} */
const WORK = { audit: "reports", evolve: "evolve", experiment: "experiments" };

const isReady = signal(false);

/** The views that this server can fill. @returns {View[]} */
function offered() {
  const kinds = s.about.value?.jobs ?? ["audit"];
  const needs = Object.fromEntries(Object.entries(WORK).map(([kind, name]) => [name, kind]));
  return VIEWS.filter((name) => name === "reports" || !needs[name] || kinds.includes(needs[name]));
}

/** Whether a job of a view runs. @param {View} name */
const isAtWork = (name) => jobs.value.some((job) => isGoing(job) && name === WORK[job.kind]);

/** What the address shall say. */
const wanted = () => ({
  view: view.value === "lab" ? "" : view.value,
  open: opened.value,
  ...address(),
  ...(view.value === "explain" ? explained.address() : {}),
});

function App() {
  const main = useRef(/** @type {HTMLElement | null} */ (null));
  const shown = view.value;
  useEffect(() => {
    document.title = shown === "lab" ? "foolscope" : `${PAGES[shown].title} · foolscope`;
    document.querySelector(".top nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
    if (isReady.peek()) main.current?.focus({ preventScroll: true });
  }, [shown]);
  if (tokenWanted.value) return html`<${SignIn} onDone=${begin} />`;
  const Page = PAGES[shown].page;
  return html`
    <a class="skip" href="#main">Skip to the content</a>
    <header class="top">
      <a class="mark" href="/"><img src="/static/icon.svg" alt="" width="24" height="24" />foolscope</a>
      <nav aria-label="Pages">
        ${offered().map((name) => html`
          <a
            key=${name} href=${link({ ...wanted(), view: name === "lab" ? "" : name, open: "" })}
            aria-current=${name === shown ? "page" : undefined}
            onClick=${(/** @type {MouseEvent} */ event) => {
              if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
              event.preventDefault();
              goTo(name);
            }}
          >${PAGES[name].title}${isAtWork(name) && html`<span class="dot" title="at work"></span>`}</a>`)}
      </nav>
    </header>
    <main id="main" ref=${main} tabindex="-1">
      <${Problem} text=${s.errors.page.value} />
      ${isReady.value && html`<${Page} />`}
    </main>
  `;
}

/** Ask the server for everything that the page starts with, then show what the address says. */
async function begin() {
  tokenWanted.value = false;
  try {
    const names = ["/about", "/models", "/gallery", "/chains", "/filters", "/attacks", "/defenses"];
    const [about, models, gallery, chains, filters, attacks, defenses] = await Promise.all(names.map((name) => get(name)));
    batch(() => {
      s.about.value = about;
      s.networks.value = models.models;
      s.sets.value = gallery.sets;
      s.chains.value = chains.chains;
      s.filters.value = filters.filters;
      s.attacks.value = attacks.attacks;
      s.defenses.value = defenses.defenses;
      s.errors.page.value = "";
    });
  } catch (error) {
    s.errors.page.value = told(error);
    return;
  }
  await follow();
  if (s.networks.value.some((one) => one.state === "loading")) void followNetworks();
  void refreshJobs();
}

/** Show what the address says. */
async function follow() {
  const values = read();
  batch(() => {
    const name = /** @type {View} */ (values.view);
    view.value = offered().includes(name) ? name : "lab";
    opened.value = values.open ?? "";
    explained.restore(values);
    isReady.value = true;
  });
  isFollowing = true;
  try {
    await restore(values);
  } finally {
    isFollowing = false;
    writeNow();
  }
}

let isFollowing = true;

/** Write the address; where the page was changed in between, so that the back button leads back. */
function writeNow(values = wanted()) {
  write(values, navigated.now);
  navigated.now = false;
}

effect(() => {
  const values = wanted();
  if (!isReady.value) return;
  if (!isFollowing) writeNow(values);
  else if (navigated.now) writeNow({ ...read(), view: values.view, open: values.open }); // the lab's part is on its way
});
const subject = computed(() => `${s.modelName.value} ${s.picture.value?.id}`);
effect(() => {
  if (subject.value && !isFollowing) explained.forgetClass();
});
addEventListener("popstate", () => void follow());
followPreview();
followAddress();
render(html`<${App} />`, /** @type {HTMLElement} */ (document.getElementById("app")));
void begin();
