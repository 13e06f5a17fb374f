// The module that was built: it is what the sources make, small, and does what they do.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, it } from "node:test";
import { gzipSync } from "node:zlib";

const MODULE = new URL("../../../src/openapi/browser/openapi.js", import.meta.url);
const HERE = fileURLToPath(new URL("..", import.meta.url));

/** @param {string[]} given @param {Record<string, string>} [env] */
const node = (given, env = {}) => {
  const { NODE_TEST_CONTEXT: _, ...rest } = process.env;
  const done = spawnSync(process.execPath, given, { cwd: HERE, encoding: "utf8", env: { ...rest, ...env } });
  return { status: done.status, output: done.stdout + done.stderr };
};

describe("the built module", () => {
  it("is what the sources make", () => {
    const { status, output } = node(["build.js", "--check"]);
    assert.equal(status, 0, output);
  });

  it("has at most 8192 bytes when it is compressed", () => {
    const size = gzipSync(readFileSync(MODULE), { level: 9 }).length;
    assert.ok(size <= 8192, `${size} bytes`);
  });

  it("exports what the sources do", async () => {
    const [built, sources] = await Promise.all([import(MODULE.href), import("../src/index.js")]);
    assert.deepEqual(Object.keys(built).sort(), Object.keys(sources).sort());
  });

  it("does what the sources do, though it calls things by shorter names", () => {
    const files = ["connecting", "calls", "streams", "subscriptions", "moving", "serving", "page", "unreadable"];
    const tests = files.map((name) => `test/${name}.test.js`);
    const { status, output } = node(["--test", ...tests], { AIO_OPENAPI_MODULE: MODULE.href });
    assert.equal(status, 0, output);
  });
});
