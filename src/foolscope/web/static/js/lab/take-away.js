// @ts-check
/** The result to take along: picture, link, command line, Python. */
import { html } from "../base.js";
import { Copies, Texts } from "../repeat.js";

/** @param {{result: import("./types.js").Attacked}} props */
export function TakeAway({ result }) {
  const { adversarial, original, reproduce } = result;
  return html`
    <h3>Take it with you</h3>
    <${Copies} texts=${[["Link", location.href], ["Command line", reproduce.command], ["Python", reproduce.python]]}>
      <a class="button small" href=${`${adversarial.url}?download=1`} download=${`attacked-${reproduce.file}`}>Download PNG</a>
    <//>
    <details class="more">
      <summary>Show the command line and the Python</summary>
      <${Texts} reproduce=${reproduce} picture=${original.url}>Then both write the same bytes as the PNG above.<//>
    </details>
  `;
}
