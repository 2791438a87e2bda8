// @ts-check
/** What the server says to a question that the page shows: asked anew when the question changes. */
import { latest, told } from "./api.js";
import { useEffect, useRef, useSignal } from "./base.js";

/**
 * The answer, or what went wrong; the last answer stays while the next is awaited.
 * @param {((signal: AbortSignal) => Promise<any>) | null} ask null asks nothing
 * @param {unknown[]} about what the question depends on
 */
export function useAnswer(ask, about) {
  const answer = useSignal(/** @type {any} */ (null));
  const error = useSignal("");
  const isBusy = useSignal(false);
  const asking = useRef(latest());
  useEffect(() => {
    const signal = asking.current();
    error.value = "";
    isBusy.value = ask !== null;
    ask?.(signal).then(
      (found) => {
        if (signal.aborted) return;
        answer.value = found;
        isBusy.value = false;
      },
      (problem) => {
        if (signal.aborted) return;
        error.value = told(problem);
        isBusy.value = false;
      },
    );
    return () => void asking.current();
  }, about);
  return { answer: answer.value, error: error.value, isBusy: isBusy.value };
}
