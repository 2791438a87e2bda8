// @ts-check
/** How wide a part of the page is. */
import { useEffect, useRef, useSignal } from "./base.js";

/**
 * A reference for an element, and its width in pixels between these bounds.
 * @param {number} narrowest
 * @param {number} widest
 * @returns {[{current: HTMLElement | null}, number]}
 */
export function useWidth(narrowest, widest) {
  const box = useRef(/** @type {HTMLElement | null} */ (null));
  const width = useSignal(widest);
  useEffect(() => {
    const watching = new ResizeObserver(([seen]) => {
      width.value = Math.min(widest, Math.max(narrowest, Math.round(seen.contentRect.width)));
    });
    if (box.current) watching.observe(box.current);
    return () => watching.disconnect();
  }, []);
  return [box, width.value];
}
