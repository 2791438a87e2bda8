// @ts-check
/** Experiments: every figure and table of the report, run again; the catalog, or one of it. */
import { html, useEffect } from "../base.js";
import { isGoing, refresh } from "../jobs/store.js";
import { link } from "../address.js";
import { goTo, opened } from "../route.js";
import { Problem } from "../shell.js";
import { One } from "./one.js";
import { catalog, error, read, runsOf } from "./store.js";

/** @typedef {import("./store.js").Experiment} Experiment */

/** Whether the report itself has no such figure. @param {Experiment} one */
const isBeyond = (one) => /beyond|thesis/.test(one.figure);

export function Experiments() {
  useEffect(() => {
    void read();
    void refresh();
  }, []);
  const [name, run = ""] = opened.value.split(":");
  const open = catalog.value.find((one) => one.name === name);
  if (open) return html`<${One} key=${open.name} experiment=${open} run=${run} />`;
  const groups = [
    { title: "The report's figures and tables", listed: catalog.value.filter((one) => !isBeyond(one)) },
    { title: "Beyond the report", listed: catalog.value.filter(isBeyond) },
  ];
  return html`
    <div class="page wide">
      <p class="eyebrow">Experiments</p>
      <h1>Every figure, run again</h1>
      <p class="bound">What the report showed, and what it shows here: run it on this machine, with your numbers of images and seeds. What is computed is kept, so a run that is stopped goes on where it was.</p>
      <${Problem} text=${error.value || (name && catalog.value.length ? `There is no experiment '${name}'.` : "")} />
      ${groups.filter(({ listed }) => listed.length).map(({ title, listed }) => html`
        <section key=${title} aria-label=${title}>
          <h2>${title}</h2>
          <ul class="catalog">${listed.map((one) => html`<${Card} key=${one.name} one=${one} />`)}</ul>
        </section>`)}
    </div>
  `;
}

/** @param {{one: Experiment}} props */
function Card({ one }) {
  const runs = runsOf(one.name);
  const state = runs.some(isGoing) ? "running" : runs.some((job) => job.page) ? "done" : "";
  return html`
    <li>
      <a
        class="experiment" href=${link({ view: "experiments", open: one.name })}
        onClick=${(/** @type {MouseEvent} */ event) => {
          if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
          event.preventDefault();
          goTo("experiments", one.name);
        }}
      >
        <span class="head"><span class="eyebrow">${one.figure}</span>${state && html`<span class=${`status ${state === "done" ? "ready" : "going"}`}>${state}</span>`}</span>
        <b>${one.name}</b>
        <span class="summary">${one.summary}</span>
      </a>
    </li>
  `;
}
