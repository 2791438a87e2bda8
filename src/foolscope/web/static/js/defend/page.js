// @ts-check
/** Defend: what JPEG and squeezers do to the image in hand, attacked and not. */
import { html } from "../base.js";
import * as s from "../lab/state.js";
import { networkName } from "../format.js";
import { attackTold } from "../lab/attack-told.js";
import { goTo } from "../route.js";
import { Detector } from "./detector.js";
import { Panel } from "./panel.js";

export function Defend() {
  const [seen, result] = [s.prediction.value, s.result.value];
  const label = s.truth.value?.index;
  if (!seen) {
    return html`
      <div class="page">
        <${Head} />
        <p>No image is in hand. In Lab, choose a network and an image, predict, and attack it.</p>
        <p><button type="button" class="button primary" onClick=${() => goTo("lab")}>Go to Lab</button></p>
      </div>`;
  }
  const pictures = [{ image: seen.shown.id, label, title: "Original" }];
  if (result) pictures.push({ image: result.adversarial.id, label, title: "Attacked" });
  return html`
    <div class="page">
      <${Head} />
      <p class="facts">
        ${networkName(seen.model).filter(Boolean).join(", ")}, ground truth <b>${s.truth.value?.name.replaceAll("_", " ")}</b>${result ? `, attacked by ${attackTold()}` : ", not attacked yet"}.
        ${" "}<button type="button" class="link" onClick=${() => goTo("lab")}>Change it in Lab</button>
      </p>
      <${Panel} model=${seen.model} pictures=${pictures} />
      <h2>Is it noticed?</h2>
      <p class="note">Feature squeezing compares what the network sees before and after squeezing. A score above the threshold is detected.</p>
      <div class="detectors">
        ${pictures.map((one) => html`<div key=${one.image}><h3>${one.title}</h3><${Detector} model=${seen.model} image=${one.image} /></div>`)}
      </div>
      <p class="note bound">
        An attack that does not know of a defense says little about it: one that does (an adaptive attack) often passes. An audit shows both numbers.
      </p>
    </div>
  `;
}

const Head = () => html`
  <p class="eyebrow">Defend</p>
  <h1>Squeeze the attack out</h1>
`;
