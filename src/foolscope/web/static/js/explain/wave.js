// @ts-check
/** A wave in the plane of frequencies. */

/**
 * The frequency of the planes that is nearest to a length and a direction: where it is, and its own length and direction.
 * Frequencies one cycle per pixel apart are one and the same, and a wave and its opposite are.
 * @param {{vertical: number[], horizontal: number[]}} film
 * @param {number} length cycles per pixel
 * @param {number} angle degrees; 0 runs to the right, 90 downward
 */
export function placeOf({ vertical, horizontal }, length, angle) {
  const [sine, cosine] = [Math.sin((angle * Math.PI) / 180), Math.cos((angle * Math.PI) / 180)];
  const within = Math.min(length, 0.5 / Math.max(Math.abs(sine), Math.abs(cosine)));
  return placed({ vertical, horizontal }, nearest(vertical, within * sine), nearest(horizontal, within * cosine));
}

/**
 * A place of the planes, with its wave.
 * @param {{vertical: number[], horizontal: number[]}} film @param {number} row @param {number} column
 */
export function placed({ vertical, horizontal }, row, column) {
  const [down, right] = [vertical[row], horizontal[column]];
  const isOpposite = down < 0 || (down === 0 && right < 0);
  const [y, x] = isOpposite ? [-down, -right] : [down, right];
  const degrees = (Math.atan2(y, x) * 180) / Math.PI;
  return { row, column, vertical: down, horizontal: right, length: Math.hypot(x, y), angle: degrees % 180 };
}

/** @param {number[]} frequencies @param {number} wanted */
function nearest(frequencies, wanted) {
  const far = frequencies.map((one) => Math.abs(one - wanted - Math.round(one - wanted)));
  return far.indexOf(Math.min(...far));
}

/** The largest of values of which some may be missing. @param {(number | null)[]} values */
export const reached = (values) => Math.max(0, ...values.map((value) => value ?? 0));
