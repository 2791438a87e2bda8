// @ts-check
/** Form 1: a network and an image; what does it see? */
import { html } from "../base.js";
import { Action, Problem } from "../shell.js";
import { predict } from "./actions.js";
import { Gallery } from "./gallery.js";
import { Networks } from "./networks.js";
import * as s from "./state.js";

export function FirstForm() {
  const isLoading = s.network.value?.loaded === false;
  return html`
    <section class="form" aria-labelledby="form-1">
      <h2 id="form-1"><span class="number" aria-hidden="true">1</span> Choose network and image</h2>
      <${Networks} />
      <${Gallery} />
      <${Action}
        id="predict" class="primary wide" why=${s.whyNotPredict.value} onClick=${() => predict()}
        busy=${s.busy.predict.value && (isLoading ? "Loading the network …" : "Looking …")}
      >Predict<//>
      <${Problem} text=${s.errors.predict.value} />
    </section>
  `;
}
