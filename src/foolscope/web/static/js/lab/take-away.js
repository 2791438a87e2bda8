// @ts-check
/** The result to take along: picture, link, command line, Python. */
import { html, useSignal } from "../base.js";

/** @param {{result: import("./types.js").Attacked}} props */
export function TakeAway({ result }) {
  const told = useSignal("");
  const { adversarial, original, reproduce } = result;
  /** @param {string} what @param {string} text */
  const copy = async (what, text) => {
    try {
      await navigator.clipboard.writeText(text);
      told.value = `${what} copied.`;
    } catch {
      told.value = `The browser does not let this page copy: select the text below.`;
    }
  };
  return html`
    <h3>Take it with you</h3>
    <div class="row">
      <a class="button small" href=${`${adversarial.url}?download=1`} download=${`attacked-${reproduce.file}`}>Download PNG</a>
      <button type="button" class="button small" onClick=${() => copy("Link", location.href)}>Copy link</button>
      <button type="button" class="button small" onClick=${() => copy("Command", reproduce.command)}>Copy command line</button>
      <button type="button" class="button small" onClick=${() => copy("Python", reproduce.python)}>Copy Python</button>
      <span class="note" role="status">${told.value}</span>
    </div>
    <details class="more">
      <summary>Show the command line and the Python</summary>
      <p class="note">Save <a href=${`${original.url}?download=1`} download=${reproduce.file}>the original as the network sees it</a> first; then both write the same bytes as the PNG above.</p>
      <pre tabindex="0" aria-label="Command line"><code>${reproduce.command}</code></pre>
      <pre tabindex="0" aria-label="Python"><code>${reproduce.python}</code></pre>
    </details>
  `;
}
