// @ts-check
/** The one place where the server is asked; docs/api.md describes the answers. */
import { signal } from "./base.js";

const ROOT = "/api/v1";

/** What is told where no answer came. */
export const GONE = "The server does not answer. Is 'foolscope serve' still running?";

/** Whether the server refused for want of its token. */
export const tokenWanted = signal(false);

/** An error that the server explained in one line, or that the connection made. */
export class ApiError extends Error {
  /** @param {string} detail @param {number} status @param {string} kind */
  constructor(detail, status, kind) {
    super(detail);
    this.status = status;
    this.kind = kind;
  }
}

/**
 * Ask the server.  Rejects with `ApiError`, or with the browser's AbortError where `signal` was aborted.
 * @param {string} path below /api/v1
 * @param {{method?: string, json?: unknown, body?: BodyInit, signal?: AbortSignal}} [options]
 * @returns {Promise<Response>}
 */
export async function ask(path, options = {}) {
  const { method = "GET", json, body, signal } = options;
  /** @type {Record<string, string>} */
  const headers = json === undefined ? {} : { "Content-Type": "application/json" };
  const content = json === undefined ? body : JSON.stringify(json);
  let response;
  try {
    response = await fetch(ROOT + path, { method, headers, body: content, signal });
    await response.clone().arrayBuffer(); // the answer is here as a whole: a connection may break in its middle
  } catch {
    if (signal?.aborted) throw signal.reason; // even where the connection broke before the abort was heard
    throw new ApiError(GONE, 0, "gone");
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  if (response.status === 401) tokenWanted.value = true;
  throw new ApiError(problem.detail ?? `The server answered ${response.status}.`, response.status, problem.kind ?? "");
}

/** @param {string} path @param {AbortSignal} [signal] @returns {Promise<any>} */
export const get = async (path, signal) => (await ask(path, { signal })).json();

/** @param {string} path @param {unknown} json @param {AbortSignal} [signal] @returns {Promise<any>} */
export const post = async (path, json, signal) => (await ask(path, { method: "POST", json, signal })).json();

/**
 * What to show for something that was thrown: the server's own line.  An abort shows nothing.
 * @param {unknown} error
 * @returns {string}
 */
export function told(error) {
  if (error instanceof DOMException && error.name === "AbortError") return "";
  if (error instanceof ApiError) return error.message;
  console.error(error);
  return "Something went wrong in this page; its console says what.";
}

/**
 * A query string of what is neither empty nor undefined.
 * @param {Record<string, string | number | null | undefined>} values
 */
export function query(values) {
  const kept = Object.entries(values).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return "?" + new URLSearchParams(kept.map(([key, value]) => [key, String(value)]));
}

/**
 * One request at a time: a new one aborts the one before.
 * @returns {() => AbortSignal}
 */
export function latest() {
  let last = new AbortController();
  return () => {
    last.abort();
    last = new AbortController();
    return last.signal;
  };
}
