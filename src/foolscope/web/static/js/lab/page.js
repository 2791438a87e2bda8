// @ts-check
/** Lab: the two forms beside the picture that they work on. */
import { html } from "../base.js";
import { PredictionDialog } from "./dialog.js";
import { FirstForm } from "./first-form.js";
import { SecondForm } from "./second-form.js";
import { Stage } from "./stage.js";

export function Lab() {
  return html`
    <div class="lab">
      <div class="forms">
        <h1 class="title">Fool a network</h1>
        <${FirstForm} />
        <${SecondForm} />
      </div>
      <${Stage} />
      <${PredictionDialog} />
    </div>
  `;
}
