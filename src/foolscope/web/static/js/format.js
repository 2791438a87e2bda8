// @ts-check
/** How numbers and names are written. */

/** @param {number} share @returns {string} a probability in percent */
export function percent(share) {
  if (share >= 0.9995 && share < 1) return "> 99.9 %";
  if (share > 0 && share < 0.0005) return "< 0.1 %";
  return `${(100 * share).toFixed(1)} %`;
}

/** @param {number | null} value @returns {string} a distance with three significant digits */
export function distance(value) {
  if (value === null) return "–";
  if (value === 0) return "0";
  if (Number.isInteger(value) && Math.abs(value) < 1e7) return value.toLocaleString("en");
  return Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : value.toPrecision(3);
}

/** @param {number} value @returns {string} a parameter: as a fraction of 255 where it is one */
export function parameter(value) {
  const levels = value * 255;
  const isLevel = value > 0 && value < 0.2 && Math.abs(levels - Math.round(levels)) < 1e-6;
  return isLevel ? `${Math.round(levels)}/255` : String(Number(value.toPrecision(6)));
}

/** @param {string} name @returns {string} a class's name in words */
export const words = (name) => name.replaceAll("_", " ");

/** @param {string} moment ISO 8601 @returns {string} a date and time as the reader writes it */
export const moment = (moment) =>
  new Date(moment).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });

/** @param {number} count @param {string} noun @returns {string} */
export const counted = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

/**
 * The name of a network in two parts: what it is, and its weights where they say more.
 * @param {string} spec
 * @returns {[string, string]}
 */
export function networkName(spec) {
  const [name, weights = ""] = spec.replace(/^torchvision:/, "").split(":weights=");
  return [name, weights];
}
