// @ts-check
/** What the server has drawn and written for a report, in a tree of its own: its style sheet meets nothing else. */
import { html, useLayoutEffect, useRef } from "./base.js";

/** The report's colors are the page's; what its style sheet says of whole pages is said here of a part. */
const OWN = `
  :host { display: block; }
  figure { margin: 0 0 20px; }
  figcaption { max-width: 60em; margin-top: 6px; color: var(--muted); font-size: 14px; line-height: 1.5; }
  .chart svg { display: block; width: 100%; max-width: 900px; height: auto; font-family: var(--text); }
  .chart .narrow { display: none; }
  section:first-child > h2:first-child { margin-top: 0; }
  h2 { margin: 40px 0 10px; font-size: 18px; }
  p { max-width: 46em; }
  @media (max-width: 640px) { .chart .wide { display: none; } .chart .narrow { display: block; } }
`;

/** @param {{markup: string, style: string}} props `markup` without styles or scripts */
export function Drawn({ markup, style }) {
  const host = useRef(/** @type {HTMLElement | null} */ (null));
  useLayoutEffect(() => {
    if (!host.current) return;
    const root = host.current.shadowRoot ?? host.current.attachShadow({ mode: "open" });
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(style + OWN);
    root.adoptedStyleSheets = [sheet];
    root.replaceChildren(...new DOMParser().parseFromString(markup, "text/html").body.childNodes);
  }, [markup, style]);
  return html`<div ref=${host}></div>`;
}
