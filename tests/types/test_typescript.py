"""The file in TypeScript: what its compiler says of it, and that it works."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from openapi.types import Channels, typescript
from tests.conftest import Serve
from tests.types import shop
from tests.types.compiler import PACKAGE, check, project, run_tool
from tests.types.written import in_typescript, of_channels, written

USE = """
import type { Client, History, Member, Position, Stream as Items, Subscription } from "aio-openapi";
import {
  type Circle, type Order, type OrderInput, type Point, type ShopItem, type Size, type Square,
  type Up, ShopShopClient,
} from "./shop.ts";

type Is<A> = <T>() => T extends A ? 1 : 2;
type Same<A, B> = Is<A> extends Is<B> ? true : never;
function is<B>() { return <A>(_value: A, _same: Same<A, B>): void => {}; }

export async function use(client: Client): Promise<void> {
  const shop = new ShopShopClient(client);
  const given: OrderInput = { items: [{ name: "tea", price: "2.50" }] };
  const order = await shop.order(given, { timeout: 1000, idempotent: true });
  is<Order>()(order, true);
  is<string>()(order.made, true);
  is<ShopItem[]>()(await shop.list(), true);
  is<Circle | Square | null>()(await shop.shape({ type: "Circle", radius: 1 }), true);
  is<[Point, Up]>()(await shop.move({ a: ["up", 1], b: ["down"] }), true);
  is<Size[]>()(await shop.item({ count: 1 }), true);
  is<unknown>()(await shop.untyped(), true);
  is<void>()(await shop.import({ field: 1 }), true);
  is<Items<ShopItem>>()(shop.lines({ limit: 1 }, { queueBytes: 1 }), true);
  for await (const item of shop.lines()) is<ShopItem>()(item, true);
  is<Subscription<Order>>()(shop.subscribeOrdersOf("7", { event: "paid" }), true);
  is<Subscription<Order>>()(shop.subscribeOrdersOf("7"), true);
  is<Subscription<Order | Member>>()(shop.subscribeOrdersOf("7", { presence: true }), true);
  shop.subscribePrices2({ onmessage: ({ data }) => is<ShopItem>()(data, true) });
  for await (const { data } of shop.subscribePrices2()) is<ShopItem>()(data, true);
  is<History<Order>>()(await shop.historyOrdersOf("7", { limit: 1 }), true);
  is<Position | null>()(await shop.publishOrders("paid", given, { key: "a" }), true);
  await shop.publishTrees("a", "grown", null);
  // @ts-expect-error a string is no tree
  await shop.publishTrees("a", "grown", "b");
  // @ts-expect-error no items
  await shop.order({});
  // @ts-expect-error null is no string
  await shop.order({ items: [], made: null });
  // @ts-expect-error it takes nothing
  await shop.list({ a: 1 });
}
"""

RUN = """
import WebSocket from "ws";
import { connect } from "aio-openapi";
import { ShopShopClient } from "./shop.ts";

const client = connect(process.argv[2], { WebSocket });
const shop = new ShopShopClient(client);
const items = [{ name: "tea", price: "2.50" }];
const { made, ...order } = await shop.order({ items, seal: "AP8=" });
const lines = [];
for await (const { name } of shop.lines({ limit: 3 })) lines.push(name);
const orders = shop.subscribeOrdersOf("7", { event: "paid" });
await orders.opened();
const position = await shop.publishOrdersOf("7", "paid", { items: [] });
const heard = (await orders.next()).value;
const { messages } = await shop.historyOrdersOf("7");
console.log(JSON.stringify({
  order, lines, position, heard, messages,
  made: !Number.isNaN(Date.parse(made)),
  shape: await shop.shape({ type: "Square", side: 1, corner: [1] }),
  moved: await shop.move({ a: ["up", 1] }),
  nothing: [await shop.import(), await shop.slow(), await shop.untyped()],
}));
await client.close();
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the file, and the package that it is for."""
    folder = project(tmp_path_factory.mktemp("typescript"))
    (folder / "shop.ts").write_text(written(typescript), "utf-8")
    return folder


def test_the_compiler_finds_nothing_in_it_and_every_mistake_in_its_use(folder: Path) -> None:
    (folder / "use.ts").write_text(USE)
    check(folder, "shop.ts", "use.ts")


def test_it_is_the_same_each_time() -> None:
    assert written(typescript) == written(typescript)


def test_its_lines_are_not_longer_than_they_need_be() -> None:
    assert [line for line in written(typescript).splitlines() if len(line) > 100] == []


async def test_its_methods_call_those_of_the_endpoint(
    folder: Path, serve: Serve, node: str
) -> None:
    (folder / "run.ts").write_text(RUN)
    run_tool(
        "esbuild",
        "run.ts",
        "--bundle",
        "--platform=node",
        "--format=esm",
        "--log-level=error",
        f"--alias:aio-openapi={PACKAGE / 'src/index.js'}",
        f"--alias:ws={PACKAGE / 'node_modules/ws/wrapper.mjs'}",
        "--banner:js=import {createRequire} from 'module';"
        " const require = createRequire(import.meta.url);",
        "--outfile=run.js",
        folder=folder,
    )
    url: URL = await serve(shop.create_app()) / "inner/shop"
    process = await asyncio.create_subprocess_exec(
        node, str(folder / "run.js"), str(url), stdout=-1, stderr=-1
    )
    out, err = await asyncio.wait_for(process.communicate(), 50)
    assert (err, process.returncode) == (b"", 0)
    said = json.loads(out)
    assert said["order"] == {
        "items": [
            {
                "name": "tea",
                "price": "2.50",
                "colour": "red",
                "size": 1,
                "tags": [],
                "grade": "a",
                "kind": "tea",
                "id": None,
            }
        ],
        "date": None,
        "list": [],
        "note": "none",
        "seal": "AP8=",
        "left": 0.5,
    }
    assert said["made"] is True
    assert said["lines"] == ["3"]
    assert said["heard"]["position"] == said["position"]
    assert [said["heard"]] == said["messages"]
    assert said["heard"]["data"]["items"] == []
    assert said["shape"] == {"type": "Square", "side": 1, "corner": [1, 0]}
    assert said["moved"] == [[1, 0], ["up", 2]]
    assert said["nothing"] == [None, None, {}]


@pytest.mark.parametrize(
    ("rule", "channel"),
    [
        ("news", '"news"'),
        ("news:*", "`news:${name}`"),
        ("a`${b}\\*", '"a`${b}\\\\" + name'),
        ("*", "channel"),
    ],
)
def test_a_channel_is_found_by_its_rule(rule: str, channel: str) -> None:
    text = in_typescript(of_channels(Channels(rule=rule, data=int, takes=int)))
    assert f".publish({channel}, event, data, options)" in text


def test_what_a_client_cannot_do_there_has_no_method() -> None:
    def methods(**rights: Any) -> list[str]:
        text = in_typescript(of_channels(Channels(rule="news:*", data=int, takes=int, **rights)))
        return re.findall(r"^  (\w+)News\(", text, re.MULTILINE)

    assert methods(history=False) == ["subscribe", "publish"]
    assert methods(subscribe=False, history=True) == ["publish"]
    assert methods(publish=False, history=True) == ["subscribe", "history"]
