// @ts-check
/** The page's state in its address, so that a reload and a shared link show the same. */

/** @typedef {Record<string, string>} Address */

/** @returns {Address} what the address says */
export const read = () => Object.fromEntries(new URLSearchParams(location.search));

/**
 * The address of the page with these values; empty ones are left out.
 * @param {Record<string, string | number | null | undefined>} values
 */
export function link(values) {
  const params = new URLSearchParams();
  for (const [key, value] of Object.entries(values)) {
    if (value !== undefined && value !== null && value !== "") params.set(key, String(value));
  }
  const text = params.toString().replaceAll("%2C", ",").replaceAll("%3A", ":").replaceAll("%2F", "/").replaceAll("%3D", "=");
  return text ? `/?${text}` : "/";
}

/**
 * Write the address.
 * @param {Record<string, string | number | null | undefined>} values
 * @param {boolean} [push] whether the back button leads to the one before
 */
export function write(values, push = false) {
  const next = link(values);
  if (next === location.pathname + location.search) return;
  if (push) history.pushState(null, "", next);
  else history.replaceState(null, "", next);
}
