// The client in a page: what a browser does to it, and what a server and a network do.
//
// Each test has a server, a broker and a network of its own, `tests/worlds/site.py`. Messages are
// published past the server, so they are there whether it is or not.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import { Worlds } from "../worlds.js";
import { launch, Shown, Tab } from "./browser.js";

const MODULE = new URL("../../../../src/openapi/browser/openapi.js", import.meta.url);

/** A client whose next attempt is due in ten minutes, if nothing has it hurry. */
const PATIENT = { first: 600_000, cap: 600_000, jitter: 0.999 };

/** A client whose next attempt is always due now. */
const IMPATIENT = { jitter: 0 };

/** @type {Worlds} */
let worlds;
/** @type {import("./browser.js").Browser} */
let browser;
/**
 * That of the tabs: no window of another test gets in front of them.
 *
 * @type {import("./browser.js").Browser}
 */
let window;

before(async () => {
  worlds = await Worlds.start();
  browser = await launch();
  window = await launch();
});

// also if not all were started: whatever is left would keep this process from ending
after(async () => {
  await browser?.close();
  await window?.close();
  await worlds?.stop();
});

/**
 * A test of a page, whose browser has no other.
 *
 * @param {string} name
 * @param {(shown: Shown, site: import("../worlds.js").World,
 *   context: import("playwright-core").BrowserContext) => Promise<void>} test
 */
function page(name, test) {
  it(name, { timeout: 60_000 }, async () => {
    const [site, context] = await Promise.all([worlds.open("site"), browser.newContext()]);
    try {
      const shown = new Shown(await context.newPage());
      await shown.during(() => test(shown, site, context), site);
    } finally {
      await context.close();
      await site.close();
    }
  });
}

/**
 * A test of a tab that is hidden while another is in front.
 *
 * @param {string} name
 * @param {(shown: Shown, site: import("../worlds.js").World, tabs: { hide: () => Promise<void>,
 *   show: () => Promise<void> }) => Promise<void>} test
 */
function tab(name, test) {
  it(name, { timeout: 60_000 }, async () => {
    const site = await worlds.open("site");
    const tested = await Tab.open(window);
    const other = await Tab.open(window);
    const shown = new Shown(tested);
    const show = () => tested.inFrontOf(other);
    const hide = () => other.inFrontOf(tested);
    try {
      await show();
      await shown.during(() => test(shown, site, { hide, show }), site);
    } finally {
      await tested.close();
      await other.close();
      await site.close();
    }
  });
}

describe("in Chromium", { concurrency: true }, () => {
  describe("a page", { concurrency: 2 }, () => {
    page("has all that was published while its server was away, without a reload", async (shown, site) => {
      await shown.open(site.url);
      await site.act("publish", [1, 2, 3]);
      await shown.shows([1, 2, 3]);

      await site.act("kill");
      await shown.until(`tested.client.state !== "open"`);
      await site.act("publish", [4, 5, 6, 7, 8]);
      await site.act("start");
      await shown.untilIt("open");
      await site.act("publish", [9]);

      await shown.shows([1, 2, 3, 4, 5, 6, 7, 8, 9]);
      assert.deepEqual((await shown.log()).renewed, [true]);
    });

    page("makes no attempt while the browser is offline, and one when it is not", async (shown, site, context) => {
      await shown.open(site.url, IMPATIENT);
      await context.setOffline(true);
      await site.act("cut");
      await shown.until(`tested.client.state !== "open"`);
      const { attempts } = await shown.log();
      const taken = await site.act("taken");
      await site.act("publish", [1, 2]);
      assert.equal(await shown.page.evaluate(`tested.client.state`), "waiting");

      await context.setOffline(false);
      await shown.shows([1, 2]);
      assert.equal((await shown.log()).attempts, attempts + 1);
      assert.equal(await site.act("taken"), taken + 1);
    });

    page("comes back at once when the network does, whatever is due when", async (shown, site, context) => {
      await shown.open(site.url, PATIENT);
      await context.setOffline(true);
      await site.act("cut");
      await shown.untilIt("waiting");
      await site.act("publish", [1]);

      await context.setOffline(false);
      await shown.shows([1]);
      await site.act("publish", [2]);
      await shown.shows([1, 2]);
    });

    page("asks for a new token when its own has expired, and goes on", async (shown, site) => {
      await shown.open(site.url, { path: "members" });
      await site.act("publish", [1]);
      await shown.shows([1]);

      await fetch(`${site.url}expire`, { method: "POST" });
      await site.act("publish", [2]);
      await shown.shows([1, 2]);
      await site.act("publish", [3]);
      await shown.shows([1, 2, 3]);
      const { tokens, codes } = await shown.log();
      assert.equal(new Set(tokens).size, 2);
      assert.deepEqual([...new Set(codes)], [4001]);
    });

    page("stays away when it is not let in, and says why", async (shown, site) => {
      await shown.goto(site.url, { path: "members", token: "none", ...IMPATIENT });
      await shown.untilIt("closed");
      assert.match(await shown.text("reason"), /4500, Log in first/);
      assert.match(await shown.text("subscription"), /Log in first/);

      await shown.page.evaluate(`tested.client.hurry()`);
      await assert.rejects(() => shown.page.evaluate(`tested.client.call("echo")`), /Log in first/);
      const { attempts, states } = await shown.log();
      assert.equal(attempts, 1);
      assert.equal(states.at(-1), "closed");
    });

    page("uses the built module as it is", async (shown, site) => {
      await shown.open(site.url);
      const response = await fetch(`${site.url}openapi.js`);
      assert.match(response.headers.get("content-type") ?? "", /javascript/);
      assert.equal(await response.text(), readFileSync(MODULE, "utf8"));

      const answer = `tested.client.call("echo", { x: [1, "two", null] })`;
      assert.deepEqual(await shown.page.evaluate(answer), { x: [1, "two", null] });
      assert.deepEqual(
        await shown.page.evaluate(`import("/openapi.js").then((module) => Object.keys(module).sort())`),
        Object.keys(await import("../../src/index.js")).sort(),
      );
    });
  });

  // one at a time, as only one tab is in front
  describe("a hidden tab", () => {
    tab("comes back at once when it is shown, whatever is due when", async (shown, site, { hide, show }) => {
      await shown.open(site.url, PATIENT);
      await hide();
      await site.act("kill");
      await shown.untilIt("waiting");
      await site.act("publish", [1, 2]);
      await site.act("start");
      assert.equal(await shown.page.evaluate(`tested.client.state`), "waiting");
      assert.equal((await shown.log()).attempts, 1);

      await show();
      await shown.shows([1, 2]);
    });

    tab("finds out that its connection is dead when it is shown", async (shown, site, { hide, show }) => {
      await shown.open(site.url, IMPATIENT);
      await hide();
      await site.act("lose");
      await site.act("publish", [1, 2]);
      assert.equal(await shown.page.evaluate(`tested.client.state`), "open");

      await show();
      await shown.shows([1, 2]);
      assert.deepEqual([...new Set((await shown.log()).codes)], [4000]);
    });

    tab("has what it missed when its page was left, and is gone back to", async (shown, site, { show }) => {
      await shown.open(site.url);
      const tab = /** @type {Tab} */ (shown.page);
      await tab.goto(`${site.url}openapi.js`);
      while ((await tab.evaluate(`location.pathname + document.readyState`)) !== "/openapi.jscomplete");
      await site.act("publish", [1, 2]);
      await tab.back();
      while ((await tab.evaluate(`location.pathname`)) === "/openapi.js");
      await show();
      await shown.shows([1, 2]);
      assert.equal((await shown.log()).attempts, 2); // the browser has kept the page, and not its connection
    });

    tab("keeps a connection that is alive when it is shown", async (shown, site, { hide, show }) => {
      await shown.open(site.url, IMPATIENT);
      await hide();
      await site.act("publish", [1]);
      await shown.shows([1]);

      await show();
      await shown.page.evaluate(`tested.client.call("echo")`);
      assert.equal((await shown.log()).attempts, 1);
    });
  });
});

it("the module is small, and needs nothing", () => {
  const module = readFileSync(MODULE);
  const size = gzipSync(module, { level: 9 }).length;
  assert.ok(size <= 8192, `${size} bytes`);
  assert.doesNotMatch(module.toString(), /\bimport\b|\brequire\(/);
});
