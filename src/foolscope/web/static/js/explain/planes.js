// @ts-check
/** Planes of frequencies, in which the wave is marked and can be chosen. */
import { html } from "../base.js";
import { distance } from "../format.js";
import { angle, frequency } from "./state.js";
import { placed } from "./wave.js";

/** @param {{film: any, now: any, place: ReturnType<typeof placed>}} props */
export function Planes({ film, now, place }) {
  const planes = [
    { title: "JPEG's gain", picture: now.pictures.gain, top: "1 and more" },
    { title: "JPEG's distortion", picture: now.pictures.distortion, top: "1" },
    { title: `${film.layer} behind JPEG ${now.quality}`, picture: now.pictures.response, top: distance(film.largest) },
    { title: `${film.layer} without JPEG`, picture: film.picture, top: distance(film.largest) },
  ];
  return html`
    <div class="planes">
      ${planes.map((one) => html`<${Plane} key=${one.title} film=${film} place=${place} scale=${film.scale} ...${one} />`)}
    </div>
    <p class="note">Each point is a wave: frequency 0 is in the middle, waves that run to the right lie beside it, waves that run downward above and below it. The edge is 0.5 cycles per pixel, one wave over two pixels. Click to choose another wave.</p>
  `;
}

/** @param {{film: any, place: ReturnType<typeof placed>, title: string, picture: any, top: string, scale: any}} props */
function Plane({ film, place, title, picture, top, scale }) {
  const [rows, columns] = [film.vertical.length, film.horizontal.length];
  const choose = (/** @type {MouseEvent} */ event) => {
    const box = /** @type {Element} */ (event.currentTarget).getBoundingClientRect();
    const at = (/** @type {number} */ share, /** @type {number} */ count) => Math.min(count - 1, Math.max(0, Math.floor(share * count)));
    const { length, angle: degrees } = placed(film, at((event.clientY - box.top) / box.height, rows), at((event.clientX - box.left) / box.width, columns));
    frequency.value = Number(length.toFixed(4));
    angle.value = Number(degrees.toFixed(2));
  };
  return html`
    <figure class="plane">
      <figcaption><b>${title}</b></figcaption>
      <div class="field-of" onClick=${choose}>
        <img class="pixels" src=${picture.url} alt=${`${title}, at every frequency`} width=${columns} height=${rows} />
        <svg viewBox=${`0 0 ${columns} ${rows}`} preserveAspectRatio="none" aria-hidden="true">
          <rect x=${place.column} y=${place.row} width="1" height="1" />
        </svg>
      </div>
      <p class="scale"><span>0</span><img src=${scale.url} alt="" width="120" height="8" /><span>${top}</span></p>
    </figure>
  `;
}
