// The page of the demo, in Chromium, against the demo itself.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, describe, it } from "node:test";
import { WebSocket } from "ws";
import { connect } from "../../src/index.js";
import { launch, PATIENCE } from "../chromium/browser.js";
import { Monitor, Relay } from "./monitor.js";

/** @typedef {import("playwright-core").Page} Page */

const WIDE = { width: 1440, height: 900 };
const NARROW = { width: 390, height: 844 };

/** @type {import("../chromium/browser.js").Browser} */
let browser;
/** @type {Monitor} one that lives as long as the tests */
let monitor;

before(async () => {
  [browser, monitor] = await Promise.all([launch(), Monitor.start()]);
});

after(async () => {
  await browser.close();
  await monitor.stop();
});

/**
 * The page, until a test is over. Whatever its console calls an error fails the test, and so does
 * what the policy of the page refuses.
 *
 * @param {import("node:test").TestContext} t
 * @param {{ url?: string, expected?: RegExp, prepare?: (page: Page) => Promise<unknown> } &
 *   import("playwright-core").BrowserContextOptions} [options] `expected`: errors that are none
 * @returns {Promise<Page>}
 */
async function open(t, { url = monitor.url, expected, prepare, ...options } = {}) {
  const context = await browser.newContext({ viewport: WIDE, ...options });
  context.setDefaultTimeout(PATIENCE);
  const page = await context.newPage();
  /** @type {string[]} */
  const errors = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") errors.push(message.text());
  });
  /** @type {string[]} */
  const elsewhere = [];
  page.on("request", (request) => {
    if (!request.url().startsWith(url)) elsewhere.push(request.url());
  });
  t.after(async () => {
    await context.close();
    assert.deepEqual(elsewhere, []);
    assert.deepEqual(
      errors.filter((error) => !expected?.test(error)),
      [],
    );
  });
  await prepare?.(page);
  await page.goto(url);
  await shows(page, "#state", /^Connected$/);
  await page.evaluate("window.isTheSamePage = true");
  return page;
}

/** @param {Page} page @param {string} selector @param {RegExp} text */
async function shows(page, selector, text) {
  await page.locator(selector).filter({ hasText: text }).first().waitFor();
}

/** @param {Page} page @param {string} selector */
const text = async (page, selector) => (await page.locator(selector).textContent()) ?? "";

/** @param {Page} page @returns {Promise<number>} how many points each chart has, at least */
const points = async (page) => Number(await page.locator("#main[data-points]").getAttribute("data-points"));

/** @param {Page} page @param {number} seconds wait for so many more of the server's, four messages each */
async function watch(page, seconds) {
  await page.evaluate((more) => {
    const received = document.querySelector("#received");
    const count = () => Number(received?.textContent?.replaceAll(",", ""));
    const least = count() + more;
    return new Promise((resolve) => {
      const observer = new MutationObserver(() => {
        if (count() < least) return;
        observer.disconnect();
        resolve(null);
      });
      observer.observe(/** @type {Element} */ (received), { childList: true });
    });
  }, 4 * seconds);
}

/** @param {Page} page that all messages of the channel came, each once */
async function isWhole(page) {
  const [received, numbers, missing] = await page.evaluate(() =>
    ["#received", "#numbers", "#missing"].map((each) => document.querySelector(each)?.textContent ?? ""),
  );
  const [first = NaN, last = NaN] = (numbers ?? "").split("–").map(Number);
  assert.equal(last - first + 1, Number((received ?? "").replaceAll(",", "")), numbers);
  assert.equal(missing, "0");
}

/**
 * Another client of the same server.
 *
 * @param {import("node:test").TestContext} t
 * @param {import("../../src/index.js").Options} [options]
 */
async function another(t, options = {}) {
  const client = connect(`${monitor.url}stream`, { WebSocket: /** @type {any} */ (WebSocket), ...options });
  t.after(() => client.close());
  return client.opened();
}

const TIMEOUT = { timeout: 90_000 };

describe("the page of the demo", () => {
  it("draws the last minutes when it is opened, and goes on", TIMEOUT, async (t) => {
    const first = await open(t);
    await watch(first, 4);
    const page = await open(t);
    assert.ok((await points(page)) >= 4);
    for (const id of ["cpu", "cores", "memory", "disk", "network"]) {
      await page.locator(`#${id} canvas`).waitFor();
      await shows(page, `#${id} .now`, /\d (%|[KM]iB\/s)/);
    }
    const isDrawn = await page.evaluate(() => {
      const canvas = /** @type {HTMLCanvasElement} */ (document.querySelector("#cpu canvas"));
      const pixels = canvas.getContext("2d")?.getImageData(0, 0, canvas.width, canvas.height).data ?? [];
      let blue = 0;
      for (let at = 0; at < pixels.length; at += 4) {
        if ((pixels[at + 3] ?? 0) > 200 && (pixels[at + 2] ?? 0) > (pixels[at] ?? 0) + 100) blue++;
      }
      return blue > 4;
    });
    assert.ok(isDrawn, "there is no line");
    await watch(page, 2);
    await isWhole(page);
  });

  it("shows the values of the moment that one points at", TIMEOUT, async (t) => {
    const page = await open(t);
    await watch(page, 2);
    const plot = await page.locator("#cpu .u-over").boundingBox();
    assert.ok(plot);
    await page.mouse.move(plot.x + plot.width - 4, plot.y + 20);
    await shows(page, "#cpu .more", /^at \d\d:\d\d:\d\d$/);
    await shows(page, "#memory .more", /^at \d\d:\d\d:\d\d$/);
    await page.mouse.move(2, 2);
    await shows(page, "#cpu .more", /^load /);
  });

  it("sorts the processes by what is asked for", TIMEOUT, async (t) => {
    const page = await open(t);
    const column = async (/** @type {number} */ number) => {
      const texts = await page.locator(`#processes tbody td:nth-child(${number})`).allTextContents();
      return texts.filter((each) => each.trim()).map((each) => Number(each.replaceAll(",", "")));
    };
    const isSorted = (/** @type {number[]} */ numbers) =>
      assert.deepEqual(numbers, numbers.toSorted((a, b) => b - a));

    await shows(page, "#processes .hint", /most of the CPU/);
    isSorted(await column(3));
    await page.getByRole("button", { name: "MiB" }).click();
    await shows(page, "#processes .hint", /most of the memory/);
    const sizes = await column(4);
    isSorted(sizes);
    assert.ok(sizes.length > 1);
    assert.equal(await page.locator("th[data-by=memory]").getAttribute("aria-sort"), "descending");
    assert.equal(await page.locator("th[data-by=cpu]").getAttribute("aria-sort"), null);
    await page.getByRole("button", { name: "CPU %" }).press("Enter");
    await shows(page, "#processes .hint", /most of the CPU/);
  });

  it("shows what others wrote as text, whatever it is", TIMEOUT, async (t) => {
    const page = await open(t);
    const markup = `<img src="/x" onerror="window.isHarmed = true"><b>bold</b>`;
    const client = await another(t);
    await client.publish("notes", "note", { text: 7 });
    await client.publish("notes", "note", null);
    await client.publish("notes", "note", { text: markup, author: markup, at: markup });
    await client.publish("questions", "answered", { text: markup, votes: [null, {}, { yes: markup }] });
    await shows(page, "#notes li .text", /onerror/);
    await shows(page, "#questions li .text", /onerror/);
    assert.equal(await page.locator("#notes li .text").first().textContent(), markup);
    assert.equal(await page.locator("#notes li b").first().textContent(), markup);
    assert.equal(await page.locator("main img, main li b b").count(), 0);
    assert.equal(await page.evaluate("window.isHarmed"), undefined);
  });

  it("posts a note, which every page shows, also one that is opened later", TIMEOUT, async (t) => {
    const page = await open(t);
    const words = `from a form at ${Date.now()}`;
    await page.getByLabel("Name").fill("Ada");
    await page.getByLabel("Note", { exact: true }).fill(words);
    await page.getByRole("button", { name: "Post" }).click();
    await shows(page, "#notes li.note", new RegExp(`Ada.*${words}`));
    assert.equal(await page.getByLabel("Note", { exact: true }).inputValue(), "");
    const later = await open(t, { viewport: NARROW });
    await shows(later, "#notes li.note", new RegExp(words));
  });

  it("is asked by the server, and answers", TIMEOUT, async (t) => {
    const page = await open(t);
    const client = await another(t);
    await shows(page, "#questions .now", /here/);
    const votes = client.call("confirm", { text: "<i>Lunch?</i>" });
    const question = page.getByRole("group", { name: "You are asked" });
    assert.equal(await question.locator(".text").textContent(), "<i>Lunch?</i>");
    assert.match(await page.title(), /^\(1\) /);
    await question.getByRole("button", { name: "Yes" }).click();
    assert.deepEqual((await votes).map((/** @type {any} */ vote) => vote.yes), [true]);
    await shows(page, "#questions li.note", /1 yes · 0 no/);
    assert.equal(await question.count(), 0);
    assert.doesNotMatch(await page.title(), /\(/);
  });

  it("takes a question away that nobody waits for any more", TIMEOUT, async (t) => {
    const page = await open(t);
    const client = await another(t);
    const votes = client.call("confirm", { text: "Quick?", seconds: 0.5 });
    const question = page.getByRole("group", { name: "You are asked" });
    await question.waitFor();
    assert.match((await votes)[0].error, /was not answered within/);
    await question.waitFor({ state: "detached" });
    await shows(page, "#questions li.note", /1 without an answer/);
  });

  it("asks everyone else", TIMEOUT, async (t) => {
    const page = await open(t);
    const client = await another(t, { serve: { confirm: () => ({ yes: false }) } });
    await client.subscribe("questions").opened();
    await shows(page, "#questions .now", /^1 other is here$/);
    await page.getByLabel("Ask everyone else").fill("Tea?");
    await page.getByRole("button", { name: "Ask" }).click();
    await shows(page, "#questions li.note", /0 yes · 1 no.*Tea\?/);
    await shows(page, "#questions .hint", /^1 answer came\.$/);
  });

  it("follows the log of the server", TIMEOUT, async (t) => {
    const page = await open(t);
    await shows(page, "#log li", /the monitor starts|subscribe done/);
    const client = await another(t);
    await client.call("info");
    await shows(page, "#log li", /info done in/);
  });

  it("misses nothing when its connection is cut", TIMEOUT, async (t) => {
    const relay = new Relay(monitor.port);
    const page = await open(t, { url: await relay.start() });
    t.after(() => relay.stop());
    await watch(page, 2);
    relay.cut();
    await shows(page, "#reconnects", /^1$/);
    await shows(page, "#verdict", /Nothing was missed\./);
    await watch(page, 2);
    await isWhole(page);
    await shows(page, "#events li", /The connection is lost/);
    assert.equal(await page.evaluate("window.isTheSamePage"), true);
  });

  it("can be cut off by hand, waits in view, and catches up", TIMEOUT, async (t) => {
    const page = await open(t);
    await watch(page, 2);
    await page.getByRole("button", { name: "Cut the line" }).click();
    await shows(page, "#countdown", /^Next attempt in \d+\.\d s$/);
    await shows(page, "#reason", /You cut the line/);
    await shows(page, "#events li", /attempts? ha(s|ve) failed/);
    const client = await another(t);
    const words = `meanwhile, at ${Date.now()}`;
    await client.publish("notes", "note", { text: words });

    await page.getByRole("button", { name: "Mend the line" }).click();
    await shows(page, "#state", /^Connected$/);
    await shows(page, "#verdict.whole", /Nothing was missed\.\s+\d+ messages? came late/);
    await shows(page, "#notes li.note", new RegExp(words));
    await isWhole(page);
  });

  it("says that messages were lost when the server was started anew, and shows what there is", TIMEOUT, async (t) => {
    const server = await Monitor.start();
    t.after(() => server.stop());
    const page = await open(t, { url: server.url, expected: /ERR_CONNECTION_REFUSED/ });
    await page.getByLabel("Note", { exact: true }).fill("This will be forgotten.");
    await page.getByRole("button", { name: "Post" }).click();
    await shows(page, "#notes li.note", /forgotten/);
    await watch(page, 2);
    const before = await points(page);

    await server.kill();
    await shows(page, "#countdown", /^Next attempt in \d+\.\d s$/);
    await shows(page, "#events li", /attempts? ha(s|ve) failed/);
    await server.start();
    await shows(page, "#state", /^Connected$/);
    await shows(page, "#verdict.lost", /Messages were lost\.\s.*has loaded what there is now/);
    await shows(page, "#missing", /^some$/);
    await shows(page, "#notes li", /There are no notes yet/);
    assert.equal(await page.locator("#notes li.note").count(), 0);
    await shows(page, "#log li", /the monitor starts/);
    await watch(page, 1);
    assert.ok((await points(page)) > before, "what it had is drawn no more");
    assert.match(await text(page, "#numbers"), /^\d+–\d+$/);
    assert.equal(await page.evaluate("window.isTheSamePage"), true);
  });

  it("says why it is closed for good, and what to do", TIMEOUT, async (t) => {
    /** @type {import("playwright-core").WebSocketRoute[]} */
    const sockets = [];
    const page = await open(t, {
      prepare: (page) =>
        page.routeWebSocket(/\/stream$/, (socket) => {
          socket.connectToServer();
          sockets.push(socket);
        }),
    });
    await watch(page, 1);
    await Promise.all(sockets.map((socket) => socket.close({ code: 4500, reason: "Log in first" })));
    await shows(page, "#state", /^Closed$/);
    await shows(page, "#reason", /The server says: Log in first \(4500\)\./);
    await shows(page, "#verdict", /reload it/);
    await shows(page, "#notes .hint", /not shown any more/);
    await shows(page, "#questions .hint", /Nothing is asked here any more/);
    await shows(page, "#cpu .now", /\d %$/);
    assert.ok(await page.getByRole("button", { name: "Cut the line" }).isDisabled());
    await page.getByRole("button", { name: "Reload" }).click();
    await shows(page, "#state", /^Connected$/);
    assert.equal(await page.evaluate("window.isTheSamePage"), undefined);
  });

  for (const [name, viewport] of Object.entries({ WIDE, NARROW })) {
    for (const colorScheme of /** @type {const} */ (["light", "dark"])) {
      it(`fits, stands still and can be read: ${name.toLowerCase()}, ${colorScheme}`, TIMEOUT, async (t) => {
        const page = await open(t, {
          viewport,
          colorScheme,
          prepare: (page) =>
            page.addInitScript(() => {
              const shifts = /** @type {number[]} */ ([]);
              Object.assign(window, { shifts });
              new PerformanceObserver((list) => {
                for (const entry of list.getEntries()) shifts.push(/** @type {any} */ (entry).value);
              }).observe({ type: "layout-shift", buffered: true });
            }),
        });
        await watch(page, 2);
        await page.getByRole("button", { name: "Cut the line" }).click();
        await shows(page, "#events li", /attempts? ha(s|ve) failed/);
        await page.getByRole("button", { name: "Mend the line" }).click();
        await shows(page, "#verdict.whole", /Nothing was missed/);
        const [wider, shifts] = await page.evaluate(() => [
          document.documentElement.scrollWidth - innerWidth,
          /** @type {any} */ (window).shifts.reduce((/** @type {number} */ sum, /** @type {number} */ each) => sum + each, 0),
        ]);
        assert.ok(wider <= 0, `it is ${wider} px wider than the window`);
        assert.ok(shifts < 0.02, `it jumps: ${shifts}`);
        assert.deepEqual(await page.evaluate(pale), []);
        assert.deepEqual(await page.evaluate(nameless), []);
      });
    }
  }

  it("has the chart library as its package has it", async () => {
    const uplot = new URL("../../node_modules/uplot/", import.meta.url);
    const vendor = new URL("../../../../examples/page/vendor/", import.meta.url);
    for (const [kept, original] of [
      ["uPlot.esm.js", "dist/uPlot.esm.js"],
      ["uPlot.esm.d.ts", "dist/uPlot.d.ts"],
      ["uPlot.min.css", "dist/uPlot.min.css"],
      ["LICENSE", "LICENSE"],
    ]) {
      const [ours, theirs] = await Promise.all([readFile(new URL(kept ?? "", vendor)), readFile(new URL(original ?? "", uplot))]);
      assert.ok(ours.equals(theirs), `${kept} is not that of the package`);
    }
  });
});

/** Texts, in the page, whose contrast is less than WCAG's AA wants. */
function pale() {
  /** @param {string} colour */
  const channels = (colour) => (colour.match(/[\d.]+/g) ?? []).map(Number);
  /** @param {number[]} rgb */
  const luminance = (rgb) => {
    const [r = 0, g = 0, b = 0] = rgb.slice(0, 3).map((each) => {
      const part = each / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  /** @param {Element | null} element @returns {number[]} */
  const behind = (element) => {
    if (!element) return [255, 255, 255];
    const colour = channels(getComputedStyle(element).backgroundColor);
    return colour.length === 3 ? colour : behind(element.parentElement);
  };
  const found = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!element || !texts.currentNode.textContent?.trim() || element.closest("noscript, script, :disabled")) continue;
    const [light = 0, dark = 0] = [luminance(channels(getComputedStyle(element).color)), luminance(behind(element))].sort((a, b) => b - a);
    const contrast = (light + 0.05) / (dark + 0.05);
    if (contrast < 4.5) found.push(`${element.outerHTML.slice(0, 80)}: ${contrast.toFixed(2)}`);
  }
  return found;
}

/** What can be used, or looked at, and has no name for who does not see it. */
function nameless() {
  const usable = [...document.querySelectorAll("button, input, canvas, [tabindex='0'], section, img")];
  return usable
    .filter((each) => {
      const labels = (each.getAttribute("aria-labelledby") ?? "").split(" ").map((id) => id && document.getElementById(id)?.textContent);
      const named = each instanceof HTMLInputElement ? each.labels?.length : each.textContent?.trim() && each instanceof HTMLButtonElement;
      const around = each.closest("[role='img'][aria-label]");
      return !(named || around || labels.some(Boolean) || each.getAttribute("aria-label") || each.getAttribute("alt") === "");
    })
    .map((each) => each.outerHTML.slice(0, 80));
}
