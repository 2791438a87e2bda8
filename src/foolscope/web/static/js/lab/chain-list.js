// @ts-check
/** AGV-A, AGV-B, the saved chains at the end, and what can be done with them. */
import { html, useRef, useSignal } from "../base.js";
import { counted } from "../format.js";
import { Problem } from "../shell.js";
import { choose, edit, importFile, remove, rename } from "./chains.js";
import * as s from "./state.js";

/** @typedef {import("./types.js").Chain} Chain */

export function ChainList() {
  const chosen = s.choice.value;
  return html`
    <fieldset class="pick">
      <legend>Chain of filters</legend>
      <div class="options short" tabindex="-1">
        ${s.chains.value.map((one) => html`
          <label class="option" key=${one.id}>
            <input
              type="radio" name="chain" value=${one.id} checked=${chosen.kind === "chain" && chosen.id === one.id}
              aria-label=${`${one.title}, ${summary(one)}`} onChange=${() => choose(one.id)}
            />
            <span class="what"><span class="name">${one.title}</span><span class="about">${summary(one)}</span></span>
            ${one.saved && html`<span class="status">saved</span>`}
          </label>`)}
        <label class="option">
          <input
            type="radio" name="chain" value="draft" checked=${chosen.kind === "draft"} aria-label="A chain of your own"
            onChange=${() => edit(s.draftId.value ? [] : s.draft.value)}
          />
          <span class="what"><span class="name">A chain of your own</span><span class="about">compose it from ${counted(s.filters.value.length, "filter")}</span></span>
        </label>
      </div>
      <${Import} />
      <${Problem} text=${s.errors.chains.value} />
    </fieldset>
  `;
}

/** @param {Chain} chain */
const summary = (chain) => chain.steps.map((step) => step.filter).join(" → ");

function Import() {
  const input = useRef(/** @type {HTMLInputElement | null} */ (null));
  const ids = useSignal(/** @type {"thesis" | "code"} */ ("thesis"));
  return html`
    <details class="more">
      <summary>Import a chain</summary>
      <p class="note">A JSON file of foolscope or of the thesis. The thesis and its authors' code number two filters differently.</p>
      <div class="row">
        <label class="inline">Read numbers as <select
          value=${ids.value} onChange=${(/** @type {any} */ event) => (ids.value = event.currentTarget.value)}
        ><option value="thesis">the thesis does</option><option value="code">its code does</option></select></label>
        <input
          ref=${input} type="file" accept=".json,application/json" class="hidden" tabindex="-1" aria-label="Chain file"
          onChange=${() => {
            const file = input.current?.files?.[0];
            if (file) void importFile(file, ids.value);
            if (input.current) input.current.value = "";
          }}
        />
        <button type="button" class="button small" onClick=${() => input.current?.click()}>Choose a file</button>
      </div>
    </details>
  `;
}

/** The chosen chain's steps, and what can be done with it. */
export function ChainSummary() {
  const chosen = s.choice.value;
  const chain = chosen.kind === "chain" ? s.chains.value.find((one) => one.id === chosen.id) : undefined;
  if (!chain) return null;
  const place = `/api/v1/chains/${chain.id}/export?format=`;
  return html`
    <div class="chain">
      <ol class="steps plain" aria-label=${`Filters of ${chain.title}`}>
        ${chain.steps.map((step, index) => html`
          <li key=${index}>
            <b>${step.filter}</b>
            <span class="note">strength ${step.strength.toFixed(2)}, intensity ${step.intensity.toFixed(2)}</span>
          </li>`)}
      </ol>
      <div class="row">
        <button type="button" class="button small" onClick=${() => edit(chain.steps, chain)}>${chain.saved ? "Edit" : "Edit a copy"}</button>
        <a class="button small" href=${`${place}foolscope`} download>Export</a>
        <a class="button small" href=${`${place}thesis`} download>Export for the thesis</a>
      </div>
      ${chain.saved && html`<${Keep} key=${chain.id} chain=${chain} />`}
    </div>
  `;
}

/** Rename and delete a saved chain. @param {{chain: Chain}} props */
function Keep({ chain }) {
  const title = useSignal(chain.title);
  const isAsking = useSignal(false);
  const same = title.value.trim() === chain.title || !title.value.trim();
  return html`
    <div class="row">
      <label class="inline grow">Name <input
        type="text" maxlength="100" value=${title.value}
        onInput=${(/** @type {any} */ event) => (title.value = event.currentTarget.value)}
        onKeyDown=${(/** @type {KeyboardEvent} */ event) => event.key === "Enter" && !same && rename(chain, title.value.trim())}
      /></label>
      <button type="button" class="button small" disabled=${same} onClick=${() => rename(chain, title.value.trim())}>Rename</button>
      ${isAsking.value ? html`
        <button type="button" class="button small danger" onClick=${() => remove(chain)}>Delete for good</button>
        <button type="button" class="button small" onClick=${() => (isAsking.value = false)}>Keep</button>` : html`
        <button type="button" class="button small" onClick=${() => (isAsking.value = true)}>Delete</button>`}
    </div>
  `;
}
