// @ts-check
/** The detector's score of a picture against the threshold of its network. */
import { latest, post, told } from "../api.js";
import { html, useEffect, useRef, useSignal } from "../base.js";
import { pictureOf, Repeat } from "../repeat.js";
import { Problem } from "../shell.js";

/** The score is an L1 distance between two softmax outputs. */
const HIGHEST = 2;
const WIDTH = 320;

/** @param {{model: string, image: string}} props */
export function Detector({ model, image }) {
  const seen = useSignal(/** @type {any} */ (null));
  const error = useSignal("");
  const asking = useRef(latest());
  useEffect(() => {
    const signal = asking.current();
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let waiting;
    const look = async () => {
      try {
        seen.value = await post("/detect", { model, image }, signal);
        error.value = "";
        if (seen.value.calibration === "calibrating" && !signal.aborted) waiting = setTimeout(look, 1000);
      } catch (problem) {
        if (!signal.aborted) error.value = told(problem);
      }
    };
    void look();
    return () => {
      clearTimeout(waiting);
      asking.current();
    };
  }, [model, image]);
  const { score, threshold, detected, message, reproduce } = seen.value ?? {};
  return html`
    <div class="detector" aria-busy=${seen.value ? "false" : "true"}>
      ${seen.value && html`
        <svg viewBox=${`0 0 ${WIDTH} 26`} role="img" aria-label=${`Detector's score ${score.toFixed(2)} of ${HIGHEST}${threshold === null ? "" : `, threshold ${threshold.toFixed(2)}`}`}>
          <rect class="rail" x="0" y="9" width=${WIDTH} height="8" rx="4" />
          <rect class=${detected ? "value over" : "value"} x="0" y="9" width=${Math.max(3, (WIDTH * Math.min(score, HIGHEST)) / HIGHEST)} height="8" rx="4" />
          ${threshold !== null && html`<path class="threshold" d=${`M${(WIDTH * threshold) / HIGHEST} 2V24`} />`}
        </svg>
        <p class="note" role="status">${message}</p>
        <${Repeat} reproduce=${reproduce} picture=${pictureOf(reproduce)} title="Repeat this score" />`}
      <${Problem} text=${error.value} />
    </div>
  `;
}
