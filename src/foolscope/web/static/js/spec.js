// @ts-check
/** Spec strings, as on the command line: `name:key=value,key=value`, chains joined by `|`. */

/** @typedef {{filter: string, strength: number, intensity: number}} Step */
/**
 * @typedef {object} Parameter
 * @property {string} name
 * @property {string} type
 * @property {boolean} required
 * @property {any} default
 * @property {number | null} low
 * @property {number | null} high
 * @property {string[]} choices
 * @property {string} help
 */

/** @param {Step[]} steps @returns {string} */
export function chainSpec(steps) {
  return steps
    .map(({ filter, strength, intensity }) => {
      const values = [];
      if (strength !== 1) values.push(`strength=${strength}`);
      if (intensity !== 1) values.push(`intensity=${intensity}`);
      return values.length ? `${filter}:${values.join(",")}` : filter;
    })
    .join("|");
}

/** @param {string} spec @returns {Step[]} */
export function parseChain(spec) {
  return spec
    .split("|")
    .filter(Boolean)
    .map((part) => {
      const { name, values } = parseSpec(part);
      return { filter: name, strength: Number(values.strength ?? 1), intensity: Number(values.intensity ?? 1) };
    });
}

/** @param {string} spec @returns {{name: string, values: Record<string, string>}} */
export function parseSpec(spec) {
  const colon = spec.indexOf(":");
  const name = (colon < 0 ? spec : spec.slice(0, colon)).trim();
  /** @type {Record<string, string>} */
  const values = {};
  let depth = 0;
  let part = "";
  for (const sign of colon < 0 ? "" : spec.slice(colon + 1) + ",") {
    depth += sign === "(" ? 1 : sign === ")" ? -1 : 0;
    if (sign !== "," || depth) {
      part += sign;
      continue;
    }
    const at = part.indexOf("=");
    if (at > 0) values[part.slice(0, at).trim()] = part.slice(at + 1).trim();
    part = "";
  }
  return { name, values };
}

/**
 * The spec of a name and what was typed, without what is empty.
 * @param {string} name
 * @param {Record<string, string>} values
 */
export function specOf(name, values) {
  const given = Object.entries(values).filter(([, value]) => value.trim() !== "");
  return given.length ? `${name}:${given.map(([key, value]) => `${key}=${value.trim()}`).join(",")}` : name;
}
