// @ts-check
/** Form 2: chains of filters and gradient attacks; hidden until the first form allows it. */
import { html } from "../base.js";
import { words } from "../format.js";
import { Action, Problem } from "../shell.js";
import { attack, changed } from "./actions.js";
import { ChainEditor } from "./chain-editor.js";
import { ChainList, ChainSummary } from "./chain-list.js";
import { TruthChoice } from "./dialog.js";
import { Parameters } from "./parameters.js";
import * as s from "./state.js";

/** Attacks of the listing that are chains or searches for chains, and have their own place. */
const NOT_HERE = new Set(["filter", "agv"]);

export function SecondForm() {
  if (!s.isOpen.value) return null;
  const isChain = s.choice.value.kind !== "attack";
  return html`
    <section class="form" aria-labelledby="form-2">
      <h2 id="form-2" tabindex="-1"><span class="number" aria-hidden="true">2</span> Choose an attack</h2>
      ${s.prediction.value?.truth === null
        ? html`<${TruthChoice} name="truth" />`
        : html`<p class="note">Ground truth: <b>${words(s.truth.value?.name ?? "")}</b>. The attack succeeds when the network sees anything else.</p>`}
      <div class="sets tabs" role="group" aria-label="Kind of attack">
        <button type="button" class="set" aria-pressed=${isChain ? "true" : "false"} onClick=${() => pick(true)}>Photo filters</button>
        <button type="button" class="set" aria-pressed=${isChain ? "false" : "true"} onClick=${() => pick(false)}>Noise attacks</button>
      </div>
      ${isChain ? html`
        <${ChainList} />
        ${s.choice.value.kind === "draft" ? html`<${ChainEditor} />` : html`<${ChainSummary} />`}
        <${Problem} text=${s.errors.preview.value} />` : html`
        <${AttackList} />
        <${Parameters} />`}
      <${Action}
        id="run" class="primary wide" why=${s.whyNotRun.value} busy=${s.busy.attack.value && "Attacking …"} onClick=${attack}
      >Run attack<//>
      <${Problem} text=${s.errors.attack.value} />
    </section>
  `;
}

const listed = () => s.attacks.value.filter((one) => !NOT_HERE.has(one.name));

/** @param {boolean} chain */
function pick(chain) {
  if (chain === (s.choice.value.kind !== "attack")) return;
  changed();
  const usual = listed().find((one) => one.name === "pgd") ?? listed()[0];
  s.choice.value = chain ? { kind: "chain", id: "agv-a" } : { kind: "attack", name: usual.name };
}

function AttackList() {
  const chosen = s.choice.value;
  return html`
    <fieldset class="pick">
      <legend>Attack</legend>
      <div class="options short" tabindex="-1">
        ${listed().map((one) => html`
          <label class="option" key=${one.name}>
            <input
              type="radio" name="attack" value=${one.name} checked=${chosen.kind === "attack" && chosen.name === one.name}
              aria-label=${`${one.name}, ${one.summary}`}
              onChange=${() => {
                changed();
                s.choice.value = { kind: "attack", name: one.name };
              }}
            />
            <span class="what"><span class="name">${one.name}</span><span class="about">${one.summary}</span></span>
          </label>`)}
      </div>
    </fieldset>
  `;
}
