/**
 * Bundle `src` into the one module that the Python package serves and the npm package exports.
 *
 *     node build.js             write it, and copy it to dist
 *     node build.js --check     fail if it is not what the sources make
 */

import { copyFile, mkdir, readFile, rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

/** @param {string} path */
const here = (path) => fileURLToPath(new URL(path, import.meta.url));

const MODULE = here("../../src/openapi/browser/openapi.js");

/**
 * What the files of the client call each other's things: names that neither the wire, nor an
 * application, nor a WebSocket has. They are shortened; the tests run with the built module too.
 */
const INTERNAL = `
  answered ask attempting began begin buffered connection deliver drain due end ended failed finish
  flush freed giveUp handlers heard idle itemTimeout leave lost need notification once online only open
  options over owner patterns pause pending ping probe put putBack ready refusal renew renewal running sent
  serving settle stop take text told undo write
`;

const check = process.argv.includes("--check");
const result = await build({
  entryPoints: [here("src/index.js")],
  outfile: MODULE,
  bundle: true,
  format: "esm",
  minify: true,
  target: "es2022",
  charset: "utf8",
  legalComments: "none",
  mangleProps: new RegExp(`^(_[a-z].*|${INTERNAL.trim().replace(/\s+/g, "|")})$`),
  banner: { js: "/* aio-openapi, BSD-3-Clause */" },
  write: !check,
});

if (check) {
  const [made] = result.outputFiles ?? [];
  const kept = await readFile(MODULE, "utf8").catch(() => "");
  if (made?.text !== kept) {
    console.error(`${MODULE} is stale: npm run build`);
    process.exit(1);
  }
} else {
  await rm(here("dist"), { recursive: true, force: true });
  await mkdir(here("dist"));
  await copyFile(MODULE, here("dist/openapi.js"));
  await copyFile(here("../../LICENSE"), here("dist/LICENSE"));
}
