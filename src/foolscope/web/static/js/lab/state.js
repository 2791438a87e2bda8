// @ts-check
/** What the lab knows and what is chosen in it.  `actions.js` changes it. */
import { computed, signal } from "../base.js";
import { chainSpec, specOf } from "../spec.js";

/** @typedef {import("./types.js").Picture} Picture */
/** @typedef {import("./types.js").Network} Network */
/** @typedef {import("./types.js").Prediction} Prediction */
/** @typedef {import("./types.js").Attacked} Attacked */
/** @typedef {import("./types.js").Chain} Chain */
/** @typedef {import("./types.js").Filter} Filter */
/** @typedef {import("./types.js").Kind} Kind */

/** The server, from GET /about; null until it answered. @type {{value: any}} */
export const about = signal(null);
/** @type {{value: Network[]}} */
export const networks = signal([]);
/** @type {{value: import("./types.js").PresetSet[]}} */
export const sets = signal([]);
/** The presets of each set that was opened. @type {{value: Record<string, Picture[]>}} */
export const presets = signal({});
/** @type {{value: Chain[]}} */
export const chains = signal([]);
/** @type {{value: Filter[]}} */
export const filters = signal([]);
/** @type {{value: Kind[]}} */
export const attacks = signal([]);
/** @type {{value: Kind[]}} */
export const defenses = signal([]);

/** The set that the gallery shows. */
export const openSet = signal("photos");
/** The spec of the chosen network. */
export const modelName = signal("");
/** @type {{value: Picture | null}} */
export const picture = signal(null);

/** What the network sees in the picture; null until it was asked. @type {{value: Prediction | null}} */
export const prediction = signal(null);
/** The class that was chosen as the ground truth, where there is none; null is the top one. @type {{value: number | null}} */
export const chosenTruth = signal(null);

/** @typedef {{kind: "chain", id: string} | {kind: "draft"} | {kind: "attack", name: string}} Choice */

/** What shall be run: a listed chain, a draft in the editor, or an attack by name. */
export const choice = signal(/** @type {Choice} */ ({ kind: "chain", id: "agv-a" }));
/** The editor's steps. @type {{value: import("../spec.js").Step[]}} */
export const draft = signal([]);
/** The saved chain that the editor changes; empty for a new one. */
export const draftId = signal("");
export const draftTitle = signal("");
/** What was typed for each attack. @type {{value: Record<string, Record<string, string>>}} */
export const typed = signal({});
/** The class to reach, by index; empty is any other. */
export const target = signal("");
export const seed = signal("0");

/** @type {{value: Attacked | null}} */
export const result = signal(null);

/** Whether each long request is under way, and what each place has to say of an error. */
export const busy = { predict: signal(false), attack: signal(false), upload: signal(false) };
export const errors = {
  page: signal(""),
  network: signal(""),
  image: signal(""),
  predict: signal(""),
  attack: signal(""),
  chains: signal(""),
  preview: signal(""),
};
/** What an address asks for and is not done yet: its network may have to be loaded first. @type {{value: Record<string, string> | null}} */
export const awaited = signal(null);
/** Whether the dialog with the prediction is open. */
export const dialogOpen = signal(false);

/** @type {{value: Network | undefined}} */
export const network = computed(() => networks.value.find((one) => one.model === modelName.value));

/** Whether the network takes gray images alone. */
export const isGray = computed(() => network.value?.input_shape?.[0] === 1);

/** Whether the image is a preset of a class that the network does not have. */
export const isForeign = computed(
  () => prediction.value !== null && prediction.value.truth === null
    && (prediction.value.correct === false || picture.value?.truth !== undefined),
);

/** Whether the second form may be shown: the image is seen right, or nobody but the user knows what is right. */
export const isOpen = computed(() => prediction.value !== null && prediction.value.correct !== false && !isForeign.value);

/** The ground truth among the network's classes. @type {{value: import("./types.js").Class | null}} */
export const truth = computed(() => {
  const seen = prediction.value;
  if (seen === null) return null;
  return seen.truth ?? seen.top.find((one) => one.index === chosenTruth.value) ?? seen.top[0];
});

/** The chain that is chosen, as the server takes it; null where an attack by name is. */
export const chosenChain = computed(() => {
  const chosen = choice.value;
  if (chosen.kind === "chain") return chosen.id;
  return chosen.kind === "draft" ? chainSpec(draft.value) : null;
});

/** The spec of the attack that is chosen by name; null where a chain is. */
export const chosenAttack = computed(() => {
  const chosen = choice.value;
  return chosen.kind === "attack" ? specOf(chosen.name, typed.value[chosen.name] ?? {}) : null;
});

/** Why nothing can be predicted; empty where it can. */
export const whyNotPredict = computed(() => {
  const one = network.value;
  if (one === undefined) return "Choose a network.";
  if (picture.value === null) return "Choose an image.";
  if (one.state === "download") return `This network must be downloaded first: ${one.detail}.`;
  if (one.state === "loading") return "This network is being loaded.";
  if (one.state === "unavailable") return `This network is not available: ${one.detail}.`;
  return "";
});

/** Why nothing can be run; empty where it can. */
export const whyNotRun = computed(() => {
  if (choice.value.kind === "draft" && draft.value.length === 0) return "Add a filter to the chain.";
  const unfit = new Set(filters.value.filter((one) => !one.takes_gray).map((one) => one.name));
  const bad = isGray.value && usedFilters.value.find((name) => unfit.has(name));
  return bad ? `${bad} needs colors, and this network sees gray images: choose another chain.` : "";
});

/** The filters of the chosen chain. */
const usedFilters = computed(() => {
  const chosen = choice.value;
  if (chosen.kind === "attack") return [];
  const steps = chosen.kind === "draft" ? draft.value : chains.value.find((one) => one.id === chosen.id)?.steps;
  return (steps ?? []).map((step) => step.filter);
});
