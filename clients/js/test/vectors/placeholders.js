// What stands for something else in a conversation, and whether a message is what was expected. As
// in `wire/README.md`, section Vectors.

import assert from "node:assert/strict";
import { inspect, isDeepStrictEqual } from "node:util";

/** @typedef {Map<string, string>} Names the strings that have a name in this conversation */

/**
 * A text, or pieces of it: strings, repetitions, and the number of the repeated step.
 *
 * @param {any} value
 * @param {number} [n]
 * @returns {string}
 */
export function text(value, n = 0) {
  if (typeof value === "string") return value;
  if (Array.isArray(value)) return value.map((piece) => text(piece, n)).join("");
  if ("$n" in value) return String(value.$n + n);
  return value.repeat.repeat(value.times);
}

/**
 * JSON with its placeholders filled in, all but those that stand for several values.
 *
 * @param {any} value
 * @param {number} n
 * @param {Names} names
 * @returns {any}
 */
export function expand(value, n, names) {
  if (Array.isArray(value)) return value.map((item) => expand(item, n, names));
  if (!isObject(value)) return value;
  if ("$n" in value) return value.$n + n;
  if ("$text" in value) return text(value.$text, n);
  if ("$value" in value) return names.get(value.$value);
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, expand(item, n, names)]),
  );
}

/** @type {Record<string, (value: any) => boolean>} */
const TYPES = {
  string: (value) => typeof value === "string",
  integer: Number.isInteger,
  array: Array.isArray,
  object: isObject,
};

/**
 * Whether a message is what was expected: no key less, no key more.
 *
 * @param {any} expected
 * @param {any} got
 * @returns {boolean}
 */
export function matches(expected, got) {
  if (Array.isArray(expected)) {
    return (
      Array.isArray(got) &&
      got.length === expected.length &&
      expected.every((item, index) => matches(item, got[index]))
    );
  }
  if (!isObject(expected)) return isDeepStrictEqual(expected, got);
  if ("$bind" in expected) return typeof got === "string";
  if ("$any" in expected) return /** @type {any} */ (TYPES[expected.$any])(got);
  if ("$in_any_order" in expected) {
    return Array.isArray(got) && inSomeOrder(expected.$in_any_order, got);
  }
  const keys = Object.keys(expected);
  return (
    isObject(got) &&
    Object.keys(got).length === keys.length &&
    keys.every((key) => Object.hasOwn(got, key) && matches(expected[key], got[key]))
  );
}

/**
 * Fail unless a message is what was expected; remember what has a name there.
 *
 * @param {any} expected
 * @param {any} got
 * @param {Names} names
 */
export function compare(expected, got, names) {
  assert.ok(matches(expected, got), `expected ${short(expected)}\ngot ${short(got)}`);
  for (const [name, value] of named(expected, got)) {
    const known = [...names.values()].includes(value);
    assert.ok(!known, `${short(value)} is known already, it is no ${name}`);
    names.set(name, value);
  }
}

/**
 * A value, as it is told to people.
 *
 * @param {unknown} value
 */
export const short = (value) => inspect(value, { depth: 6, maxStringLength: 200 });

/**
 * @param {any} expected
 * @param {any} got
 * @returns {Generator<[string, string]>}
 */
function* named(expected, got) {
  if (isObject(expected) && "$bind" in expected) yield [expected.$bind, got];
  else if (Array.isArray(expected)) {
    for (const [index, item] of expected.entries()) yield* named(item, got[index]);
  } else if (isObject(expected) && isObject(got)) {
    for (const key of Object.keys(expected)) yield* named(expected[key], got[key]);
  }
}

/**
 * @param {any[]} expected
 * @param {any[]} got
 * @returns {boolean}
 */
function inSomeOrder([first, ...others], got) {
  if (first === undefined) return got.length === 0;
  return got.some(
    (item, index) => matches(first, item) && inSomeOrder(others, got.toSpliced(index, 1)),
  );
}

/**
 * @param {any} value
 * @returns {value is Record<string, any>}
 */
export function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
