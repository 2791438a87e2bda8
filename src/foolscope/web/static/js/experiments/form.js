// @ts-check
/** What a run shall take: images, how many, seed, and another grid; with what of it is done already. */
import { useAnswer } from "../answer.js";
import { post, told } from "../api.js";
import { html, useEffect, useRef, useSignal } from "../base.js";
import { counted } from "../format.js";
import { start } from "../jobs/store.js";
import { Action, Problem } from "../shell.js";
import { goTo } from "../route.js";

/** @typedef {import("./store.js").Experiment} Experiment */

/** So many images are suggested: a run that is soon done. */
const PREVIEW = "100";
/** Milliseconds after typing. */
const PAUSE = 400;

/** @param {{experiment: Experiment, isAtWork: boolean}} props */
export function RunForm({ experiment, isAtWork }) {
  const data = useSignal(experiment.sets[0]?.set ?? "");
  const limit = useSignal(PREVIEW);
  const seed = useSignal("0");
  const settings = useSignal(/** @type {Record<string, string>} */ ({}));
  const problem = useSignal("");
  const isBusy = useSignal(false);
  const why = whyNot(experiment, limit.value, seed.value);
  const asked = {
    kind: "experiment", experiment: experiment.name, data: data.value,
    limit: limit.value.trim() ? Number(limit.value) : null, seed: Number(seed.value),
    settings: Object.fromEntries(Object.entries(settings.value).filter(([, text]) => text.trim())),
  };
  const looking = useRef(new AbortController());
  useEffect(() => {
    void findWhole(experiment, data, limit, looking.current.signal);
    return () => looking.current.abort();
  }, []);
  const estimate = useAnswer(
    why ? null : async (signal) => {
      await new Promise((resolve) => setTimeout(resolve, PAUSE));
      return post("/experiments/estimate", asked, signal); // where it was aborted meanwhile, nothing is sent
    },
    [JSON.stringify(asked), why, isAtWork],
  );
  const known = why || estimate.error ? null : estimate.answer;
  const isDone = known !== null && known.done === known.cells;
  const begin = async () => {
    looking.current.abort();
    isBusy.value = true;
    problem.value = "";
    try {
      await start(asked);
      goTo("experiments", experiment.name);
    } catch (error) {
      problem.value = told(error);
    }
    isBusy.value = false;
  };
  const set = (/** @type {{value: string}} */ one) => (/** @type {any} */ event) => (one.value = event.currentTarget.value);
  return html`
    <form class="card" aria-label="New run" onSubmit=${(/** @type {Event} */ event) => event.preventDefault()}>
      <label class="field"><span>images</span><select value=${data.value} onChange=${set(data)}>
        ${experiment.sets.map((one) => html`<option key=${one.set} value=${one.set}>${one.title}</option>`)}
      </select></label>
      <label class="field"><span>how many</span><input
        type="number" min="1" placeholder=${experiment.usual ? `${experiment.usual.toLocaleString("en")}, as usual` : "all"} value=${limit.value}
        aria-describedby="limit-help" onInput=${set(limit)}
      /><small id="limit-help">empty takes ${experiment.usual ? `${experiment.usual.toLocaleString("en")}, as usual` : "all"}; fewer make a preview</small></label>
      <label class="field"><span>seed</span><input type="number" min="0" value=${seed.value} onInput=${set(seed)} /></label>
      ${experiment.settings.length > 0 && html`<${Grid} experiment=${experiment} settings=${settings} />`}
      <${Action}
        id="start-run" class="primary wide" busy=${isBusy.value && "Starting …"} why=${why} onClick=${begin}
      >${isDone ? "Draw what the store holds" : "Run the experiment"}<//>
      <p class="note" role="status">${known ? estimated(known) : estimate.isBusy ? "Looking into the store …" : ""}</p>
      <${Problem} text=${problem.value || estimate.error} />
    </form>
  `;
}

/** Another grid than the usual one. @param {{experiment: Experiment, settings: {value: Record<string, string>}}} props */
function Grid({ experiment, settings }) {
  return html`
    <details class="more">
      <summary>Settings</summary>
      ${experiment.settings.map((one) => html`
        <label class="field" key=${one.name}><span>${one.name}</span><input
          type="text" placeholder=${String(one.default)} value=${settings.value[one.name] ?? ""} aria-describedby=${`help-${one.name}`}
          onInput=${(/** @type {any} */ event) => (settings.value = { ...settings.value, [one.name]: event.currentTarget.value })}
        /><small id=${`help-${one.name}`}>${one.help}</small></label>`)}
    </details>
  `;
}

/** Choose a whole run that the store holds already, as one of the command line: it only has to be drawn. @param {Experiment} experiment @param {{value: string}} data @param {{value: string}} limit @param {AbortSignal} signal */
async function findWhole(experiment, data, limit, signal) {
  for (const { set } of experiment.sets) {
    const asked = { kind: "experiment", experiment: experiment.name, data: set };
    const found = await post("/experiments/estimate", asked, signal).catch(() => null); // the form's own question tells the error
    if (signal.aborted || limit.value !== PREVIEW || data.value !== experiment.sets[0].set) return; // the user was faster
    if (found && found.done === found.cells) {
      data.value = set;
      limit.value = "";
      return;
    }
  }
}

/** @param {Experiment} experiment @param {string} limit @param {string} seed */
function whyNot(experiment, limit, seed) {
  if (!experiment.sets.length) return "No images for this experiment are at hand: 'foolscope datasets' says how they come here.";
  if (limit.trim() && !/^[1-9]\d*$/.test(limit.trim())) return "how many: a whole number, or nothing.";
  return /^\d+$/.test(seed) ? "" : "seed: a whole number.";
}

/** What the store holds, and what the rest will take. @param {any} found */
function estimated(found) {
  const images = `${counted(found.images, "image")} of ${found.of.toLocaleString("en")}${found.preview ? ", a preview" : ""}`;
  if (found.done === found.cells) return `${images}: the store holds all of ${counted(found.cells, "cell")}.`;
  const rest = found.seconds === null ? "how long the rest takes is not known before such cells were computed here" : `the rest takes about ${duration(found.seconds)}${besides(found.unknown_cells)}`;
  return `${images}: ${found.done.toLocaleString("en")} of ${counted(found.cells, "cell")} are in the store; ${rest}.`;
}

/** The cells that an estimate leaves out. @param {number} cells */
const besides = (cells) => (cells ? `, not counting ${counted(cells, "cell")} of ${cells === 1 ? "a kind that was" : "kinds that were"} never computed here` : "");

/** @param {number} seconds */
const duration = (seconds) => (seconds < 90 ? `${Math.max(1, Math.round(seconds))} s` : `${Math.round(seconds / 60)} min`);
