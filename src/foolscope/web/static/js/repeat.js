// @ts-check
/** How to repeat a result without this page: command line, Python, and the versions that it was made with. */
import { html, useSignal } from "./base.js";

/**
 * @typedef {object} Reproduction
 * @property {string} [file] the picture that both start from
 * @property {string | null} command null where no command does this alone
 * @property {string} python
 * @property {Record<string, string | null>} versions
 */

/**
 * Buttons that copy texts; more of them may stand before.
 * @param {{texts: [string, string | null][], children?: any}} props what each is called, and the text
 */
export function Copies({ texts, children }) {
  const told = useSignal("");
  /** @param {string} what @param {string} text */
  const copy = async (what, text) => {
    try {
      await navigator.clipboard.writeText(text);
      told.value = `${what} copied.`;
    } catch {
      told.value = "The browser does not let this page copy: select the text below.";
    }
  };
  return html`
    <div class="row">
      ${children}
      ${texts.map(([what, text]) => text !== null && html`
        <button type="button" key=${what} class="button small" onClick=${() => copy(what, text)}>Copy ${what === "Python" ? what : what.toLowerCase()}</button>`)}
      <span class="note" aria-live="polite">${told.value}</span>
    </div>
  `;
}

/**
 * The texts, and the versions.
 * @param {{reproduce: Reproduction, picture?: string, children?: any}} props `picture`: the address of `file`
 */
export function Texts({ reproduce, picture, children }) {
  const { file, command, python, versions } = reproduce;
  const made = Object.entries(versions).filter(([, version]) => version !== null).map((pair) => pair.join(" "));
  return html`
    ${picture && html`<p class="note">Save <a href=${`${picture}?download=1`} download=${file}>the image as the network sees it</a> first. ${children}</p>`}
    ${command !== null && html`<pre tabindex="0" aria-label="Command line"><code>${command}</code></pre>`}
    <pre tabindex="0" aria-label="Python"><code>${python}</code></pre>
    <p class="note">Made with ${made.join(", ")}.</p>
  `;
}

/**
 * All of it, folded away.
 * @param {{reproduce: Reproduction | null | undefined, picture?: string, title: string, children?: any}} props
 */
export function Repeat({ reproduce, picture, title, children }) {
  const isOpen = useSignal(false);
  if (!reproduce) return null;
  return html`
    <details class="more" onToggle=${(/** @type {any} */ event) => (isOpen.value = event.currentTarget.open)}>
      <summary>${title}</summary>
      ${isOpen.value && html`
        <${Copies} texts=${[["Command line", reproduce.command], ["Python", reproduce.python]]} />
        <${Texts} reproduce=${reproduce} picture=${picture}>${children}<//>`}
    </details>
  `;
}

/** Where the picture of a reproduction is. @param {Reproduction | undefined} reproduce */
export const pictureOf = (reproduce) => (reproduce?.file ? `/api/v1/images/${reproduce.file}` : undefined);
