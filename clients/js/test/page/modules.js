// Modules of the page, for Node. They are no part of a package that says that they are modules, and
// not every Node sees it itself. Those that are tested here import nothing.

import { readFile } from "node:fs/promises";

const PAGE = new URL("../../../../examples/page/", import.meta.url);

/** @param {string} name of the file */
async function module(name) {
  const text = await readFile(new URL(name, PAGE), "utf8");
  return import(`data:text/javascript,${encodeURIComponent(text)}`);
}

/** @type {typeof import("../../../../examples/page/columns.js")} */
export const { Columns } = await module("columns.js");

/** @type {typeof import("../../../../examples/page/kept.js")} */
export const { KeptChannel } = await module("kept.js");
