// @ts-check
/** The list of networks, each with what it needs. */
import { html, useEffect, useRef } from "../base.js";
import { networkName } from "../format.js";
import { Problem, showChosen } from "../shell.js";
import { chooseNetwork, load } from "./actions.js";
import * as s from "./state.js";

/** @typedef {import("./types.js").Network} Network */

const GROUPS = [
  ["shipped", "Small networks, shipped"],
  ["imagenet", "ImageNet networks"],
  ["added", "Added by --allow-models"],
];

/** What the data sets are called. @type {Record<string, string>} */
const DATA = { cifar10: "CIFAR-10", mnist: "MNIST", digits: "digits", imagenet: "ImageNet" };

export function Networks() {
  const list = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => showChosen(list.current), [s.networks.value.length > 0]);
  return html`
    <fieldset class="pick">
      <legend>Network</legend>
      <div class="options" ref=${list} tabindex="-1">
        ${GROUPS.map(([group, title]) => {
          const listed = s.networks.value.filter((one) => one.group === group);
          return listed.length > 0 && html`
            <p class="group" key=${group}>${title}</p>
            ${listed.map((one) => html`<${Option} key=${one.model} network=${one} />`)}`;
        })}
      </div>
      <${Fetch} />
      <${Problem} text=${s.errors.network.value} />
    </fieldset>
  `;
}

/** @param {{network: Network}} props */
function Option({ network }) {
  const [name, weights] = networkName(network.model);
  const chosen = s.modelName.value === network.model;
  return html`
    <label class="option">
      <input
        type="radio" name="network" value=${network.model} checked=${chosen} aria-label=${spoken(network)}
        onChange=${() => chooseNetwork(network.model)}
      />
      <span class="what">
        <span class="name">${name}${weights && html` <span class="with">${weights}</span>`}</span>
        <span class="about">${about(network)}</span>
      </span>
      <${Status} network=${network} />
    </label>
  `;
}

/** @param {{network: Network}} props */
function Status({ network }) {
  const { state, detail, progress } = network;
  if (state === "loading") {
    const share = progress === null ? "" : ` ${Math.round(100 * progress)} %`;
    return html`<span class="status going">loading${share}</span>`;
  }
  if (state === "download") return html`<span class="status">${detail}</span>`;
  if (state === "ready") return html`<span class="status ready">ready</span>`;
  return html`<span class="status off">${state === "failed" ? "failed" : "not available"}</span>`;
}

/** What can be done about the chosen network where it is not ready. */
function Fetch() {
  const one = s.network.value;
  if (!one || one.state === "ready") return null;
  const isOffline = s.about.value?.offline && one.state !== "failed";
  if (one.state === "loading") {
    return html`
      <p class="fetch" role="status">
        <progress value=${one.progress ?? undefined} max="1" aria-label="Loading"></progress>
        <span>${one.detail || "Loading"}</span>
      </p>`;
  }
  if (one.state === "unavailable") return html`<p class="fetch note">${one.detail}</p>`;
  return html`
    <div class="fetch">
      ${one.state === "failed" && html`<${Problem} text=${one.detail} />`}
      <button type="button" class="button small" disabled=${isOffline} onClick=${() => load(one.model)}>
        ${one.state === "failed" ? "Try again" : `Download ${one.detail}`}
      </button>
      ${isOffline && html`<p class="why">The server was started offline.</p>`}
    </div>
  `;
}

/** @param {Network} network */
export function about(network) {
  const parts = [];
  if (network.trained_on) parts.push(DATA[network.trained_on] ?? network.trained_on);
  const [, height, width] = network.input_shape ?? [];
  if (network.input_shape) parts.push(height ? `${width} × ${height}` : "any size");
  if (network.accuracy !== null) parts.push(`${(100 * network.accuracy).toFixed(1)} % right`);
  if (network.robust_accuracy) parts.push("hardened");
  return parts.join(", ");
}

/** @param {Network} network */
function spoken(network) {
  const state = network.state === "download" ? `needs ${network.detail} download` : network.state;
  return `${networkName(network.model).filter(Boolean).join(" ")}, ${about(network)}, ${state}`;
}

