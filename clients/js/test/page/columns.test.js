// What the charts of the demo draw: it is bounded, and has gaps where nothing is known.

import assert from "node:assert/strict";
import { it } from "node:test";
import { Columns } from "./modules.js";

/** @param {number[]} moments @param {number} [seconds] */
function filled(moments, seconds = 10) {
  const columns = new Columns(seconds);
  for (const at of moments) columns.add(at, [at, -at]);
  return columns;
}

it("rows are columns of the same length", () => {
  const { at, values } = filled([1, 2, 3]);
  assert.deepEqual([at, values], [[1, 2, 3], [[1, 2, 3], [-1, -2, -3]]]);
});

it("a chart looks back so far, and no farther", () => {
  const columns = filled(Array.from({ length: 1000 }, (_, second) => second));
  assert.deepEqual([columns.at[0], columns.end, columns.at.length], [989, 999, 11]);
  assert.deepEqual(columns.values.map((column) => column.length), [11, 11]);
});

it("it is bounded however often something comes", () => {
  const columns = filled(Array.from({ length: 5000 }, (_, row) => row / 1000));
  assert.equal(columns.at.length, 40);
  assert.equal(columns.end, 4.999);
});

it("where nothing came for a while there is a gap", () => {
  const { at, values } = filled([1, 2, 6, 7]);
  assert.deepEqual([at, values[0]], [[1, 2, 3, 6, 7], [1, 2, null, 6, 7]]);
});

it("what comes twice, or late, is left out", () => {
  assert.deepEqual(filled([1, 2, 2, 1.5, 3]).at, [1, 2, 3]);
});

it("a clock that is put back by far begins anew", () => {
  assert.deepEqual(filled([1000, 1001, 5, 6]).at, [5, 6]);
});

it("rows of another width begin anew", () => {
  const columns = filled([1, 2]);
  columns.add(3, [7]);
  assert.deepEqual([columns.at, columns.values], [[3], [[7]]]);
});

it("what comes anew takes the place of what was there", () => {
  const columns = filled([1, 2, 3, 4]);
  columns.from(3);
  assert.deepEqual([columns.at, columns.values], [[1, 2], [[1, 2], [-1, -2]]]);
  columns.from(9);
  assert.equal(columns.end, 2);
});
