// The types of the package, as TypeScript reads them.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { it } from "node:test";

const HERE = fileURLToPath(new URL("..", import.meta.url));

/** @param {string[]} given */
function tsc(given) {
  const command = join(HERE, "node_modules/typescript/bin/tsc");
  const { status, stdout, stderr } = spawnSync(process.execPath, [command, ...given], { cwd: HERE, encoding: "utf8" });
  assert.equal(status, 0, stdout + stderr);
}

it("an application in TypeScript has types that are strict", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "aio-openapi-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const home = join(folder, "node_modules/aio-openapi");
  mkdirSync(join(home, "dist"), { recursive: true });
  copyFileSync(join(HERE, "package.json"), join(home, "package.json"));
  tsc(["--project", "tsconfig.types.json", "--outDir", join(home, "dist/types")]);
  copyFileSync(join(HERE, "test/consumer.ts"), join(folder, "consumer.ts"));
  writeFileSync(join(folder, "package.json"), '{"type": "module"}');
  const strict = {
    strict: true,
    noUncheckedIndexedAccess: true,
    exactOptionalPropertyTypes: true,
    target: "es2022",
    lib: ["es2022", "dom", "dom.iterable"],
    types: [],
    noEmit: true,
  };
  for (const resolution of [{ module: "nodenext" }, { module: "esnext", moduleResolution: "bundler" }]) {
    const compilerOptions = { ...strict, ...resolution };
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["consumer.ts"] }));
    tsc(["--project", folder]);
  }
});
