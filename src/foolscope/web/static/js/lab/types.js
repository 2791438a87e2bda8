// @ts-check
/**
 * The answers of the server that the lab works with, as docs/api.md describes them.
 *
 * @typedef {object} Picture
 * @property {string} id
 * @property {string} url
 * @property {string} thumbnail
 * @property {number} [width]
 * @property {number} [height]
 * @property {string} [truth] the ground truth of a preset
 * @property {string | null} [credit]
 * @property {string[]} [notes]
 *
 * @typedef {{set: string, title: string}} PresetSet
 * @typedef {{index: number, name: string}} Class
 * @typedef {{index: number, name: string, probability: number}} Share
 *
 * @typedef {object} Network
 * @property {string} model
 * @property {"shipped" | "imagenet" | "added"} group
 * @property {string} summary
 * @property {string | null} trained_on
 * @property {number | null} accuracy
 * @property {string | null} robust_accuracy
 * @property {(number | null)[] | null} input_shape
 * @property {"ready" | "download" | "unavailable" | "loading" | "failed"} state
 * @property {string} detail
 * @property {number | null} progress
 * @property {boolean} loaded
 *
 * @typedef {object} Prediction
 * @property {string} model
 * @property {Picture} shown
 * @property {string[]} notes
 * @property {Share[]} top
 * @property {Class | null} truth
 * @property {boolean | null} correct
 * @property {string} message
 * @property {import("../repeat.js").Reproduction} reproduce
 *
 * @typedef {object} Attacked
 * @property {string} model
 * @property {string} attack
 * @property {number} seed
 * @property {Class} truth
 * @property {Class | null} target
 * @property {Picture} original
 * @property {Picture} adversarial
 * @property {Picture} noise
 * @property {number | null} noise_factor
 * @property {Share[]} top_before
 * @property {Share[]} top
 * @property {boolean} success
 * @property {boolean} already
 * @property {boolean} broken whether the gradient was NaN or infinite on the way
 * @property {string} message
 * @property {Record<string, number | null>} distances
 * @property {number} forwards
 * @property {number} backwards
 * @property {number} seconds
 * @property {import("../repeat.js").Reproduction} reproduce
 * @property {string[]} notes
 *
 * @typedef {{id: string, title: string, saved: boolean, spec: string, steps: import("../spec.js").Step[]}} Chain
 * @typedef {{low: number, high: number, default: number}} Range
 * @typedef {{name: string, summary: string, takes_gray: boolean, strength: Range, intensity: Range}} Filter
 * @typedef {object} Kind an attack or a defense
 * @property {string} name
 * @property {string} summary
 * @property {string} source
 * @property {boolean} [needs_gradients]
 * @property {import("../spec.js").Parameter[]} parameters
 */
export {};
