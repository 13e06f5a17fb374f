"""The file in Python: how it looks, what a type checker says of it, and that it works."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from openapi.client import Member, connect
from openapi.types import Channels, Endpoint, python
from tests.cli.process import ROOT
from tests.conftest import Serve
from tests.types import shop
from tests.types.written import fixed, formatted, imported, in_python, of_channels, written

USE = """
from decimal import Decimal
from typing import Any, Literal, assert_type

from openapi.client import History, Member, Stream, Subscription, connect
from written_client import (
    Circle, Colour, Forest, Order, OrderInput, Owner, Point, ShopItem, ShopShopClient, Size,
    Square, StockItem, Top, Tree, Up,
)


async def use() -> None:
    async with connect("ws://localhost/shop") as client:
        shop = ShopShopClient(client)
        item = ShopItem(name="tea", price=Decimal(2), colour=Colour.RED)
        order = await shop.order(OrderInput(items=[item]), timeout=None, idempotent=True)
        assert_type(order, Order)
        assert_type(order.made.year, int)
        assert_type(await shop.list(), list[ShopItem])
        assert_type(await shop.shape(Circle(radius=1)), Circle | Square | None)
        assert_type(await shop.move({"a": Up(by=1)}), tuple[Point, Up])
        assert_type(await shop.item(StockItem(count=1)), set[Size])
        assert_type(await shop.kind(), Literal["a", "b"])
        assert_type(await shop.slow(), int | None)
        assert_type(await shop.untyped({"a": 1}), Any)
        assert_type(shop.lines(Top(limit=1)), Stream[ShopItem])
        async for line in shop.lines():
            assert_type(line, ShopItem)
        assert_type(shop.subscribe_orders_of("7", "paid"), Subscription[Order])
        assert_type(shop.subscribe_orders_of("7", presence=True), Subscription[Order | Member])
        async with shop.subscribe_prices_2() as prices:
            async for message in prices:
                assert_type(message.data, ShopItem)
        assert_type(await shop.history_orders_of("7"), History[Order])
        await shop.publish_trees("a", "grown", Tree(value=1))
        await shop.publish_trees("a", "grown", None)
        await shop.publish_channel("a", "grown", Forest(trees={}))
        # What a type checker refuses: an ignore that it does not need is an error.
        await shop.publish_trees("a", "grown", "b")  # type: ignore[arg-type]
        await shop.order(OrderInput())  # type: ignore[call-arg]
        await shop.list(1)  # type: ignore[call-arg]
"""


@pytest.fixture
def client() -> Iterator[Any]:
    """The file for the shop, as a module."""
    yield imported(written(python))
    del sys.modules["written_client"]


def test_it_is_as_ruff_leaves_it() -> None:
    text = written(python)
    assert formatted(text) == text
    assert fixed(text) == text


def test_it_is_the_same_each_time() -> None:
    assert written(python) == written(python)


def test_a_type_checker_finds_nothing_in_it_and_every_mistake_in_its_use(tmp_path: Path) -> None:
    (tmp_path / "written_client.py").write_text(written(python), "utf-8")
    (tmp_path / "use.py").write_text(USE, "utf-8")
    options = ["--strict", "--config-file", "", "--cache-dir", str(tmp_path / "cache")]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "written_client.py", "use.py"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PATH": "", "MYPYPATH": str(ROOT / "src")},
        timeout=55,
    )
    assert (done.stdout, done.returncode) == ("Success: no issues found in 2 source files\n", 0)


async def test_its_methods_call_those_of_the_endpoint(client: Any, serve: Serve) -> None:
    url = await serve(shop.create_app()) / "inner/shop"
    async with connect(url) as connected:
        its = client.ShopShopClient(connected)
        assert its.client is connected
        tea = client.ShopItem(
            name="tea",
            price=Decimal("2.50"),
            colour=client.Colour.NEARLY_BLUE,
            id=UUID(int=7),
            size=client.Size.LARGE,
        )
        given = client.OrderInput(items=[tea], seal=b"\x00\xff", date=date(2026, 12, 24))
        order = await its.order(given)
        assert type(order) is client.Order
        assert (order.items, order.seal, order.date) == ([tea], b"\x00\xff", date(2026, 12, 24))
        assert order.made.tzinfo is not None
        assert order.list == ()
        assert await its.list() == [client.ShopItem(name="tea", price=Decimal("2.50"))]
        assert await its.import_() is None
        assert await its.import_(client.Stream(wide=client.Circle(radius=1.5))) is None
        content = client.BoxOfListOfInt(content=[1, 2])
        assert await its.long_name(content) == client.BoxOfStrOrNone(content="12")
        square = client.Square(side=1, corner=client.Point(1, 2))
        assert await its.shape(square) == square
        moved = await its.move({"a": client.Up(by=1), "b": client.Down()})
        assert moved == ((1, 0), client.Up(by=2))
        tree = client.Tree(value=1, more=[client.Tree(value=2)])
        assert await its.tree(tree) == {"tree": tree}
        named = client.Renamed(first_name="Ada", is_from="London")
        assert await its.rename(named) == named
        born = datetime(2020, 1, 1, tzinfo=UTC)
        owner = await its.own(client.OwnerInput(fullName="Ada", pet=client.Dog(born=born)))
        assert owner == client.Owner(fullName="Ada", pet=client.Dog(born=born), friends=[])
        when = {"day": date(2026, 1, 1), "at": time(8), "for_": timedelta(hours=8)}
        assert await its.open(when) == {"from": 1, "class": None}
        assert await its.item(client.StockItem(count=1)) == {client.Size.SMALL}
        assert await its.untyped({"a": [1]}) == {"a": [1]}
        assert await its.untyped() == {}
        assert await its.kind() == "a"
        assert await its.slow() is None
        assert await its.endless() == {}
        assert await its.subscribe_prices() is True
        assert [each async for each in its.count()] == [1]
        assert [each.name async for each in its.lines()] == ["10"]
        assert [each.name async for each in its.lines(client.Top(limit=3))] == ["3"]
        assert [each async for each in its.anything()] == [1]


async def test_its_channels_are_those_of_the_rules(client: Any, serve: Serve) -> None:
    url = await serve(shop.create_app()) / "inner/shop"
    async with connect(url) as connected:
        its = client.ShopShopClient(connected)
        tea = client.ShopItem(name="tea", price=Decimal(2))
        async with its.subscribe_orders_of("7", "p*", presence=True) as orders:
            position = await its.publish_orders_of("7", "paid", client.OrderInput(items=[tea]))
            joined, paid = [await anext(orders) for _ in range(2)]
            assert isinstance(joined.data, Member)
            assert (paid.channel, paid.event, paid.data.items) == ("orders:7", "paid", [tea])
            assert paid.position == position
        history = await its.history_orders_of("7", limit=1, reverse=True)
        assert [message.data for message in history.messages] == [paid.data]
        async with its.subscribe_live_scores_2("a") as scores, its.subscribe_channel("x") as trees:
            assert await its.publish_live_scores_2("a", "goal", "home") is None
            await its.publish_channel("x", "grown", client.Forest(trees={}))
            assert (await anext(scores)).data == "home"
            assert (await anext(trees)).data == client.Forest(trees={})
        async with its.subscribe_prices_2() as prices:
            await connected.publish("prices", "new", {"name": "cake", "price": 3})
            assert (await anext(prices)).data == client.ShopItem(name="cake", price=Decimal(3))


async def test_what_an_endpoint_makes_of_what_is_published_is_not_known(
    client: Any, serve: Serve
) -> None:
    url = await serve(shop.create_app()) / "inner"
    async with (
        connect(url / "wrapping") as wrapping,
        connect(url / "shop") as connected,
        client.ShopShopClient(connected).subscribe_channel("x") as forests,
    ):
        await client.WrappingClient(wrapping).publish_channel("x", "grown", "abc")
        assert list((await anext(forests)).data.trees) == ["a", "b", "c"]


def test_an_endpoint_without_anything_is_a_class_all_the_same(client: Any) -> None:
    assert client.SilentClient.__doc__ == "It is served at `/silent`."
    text = in_python(Endpoint(name=("app", "Empty"), paths=()))
    assert text.endswith(
        "\nfrom typing import Final\n\nfrom openapi.client import Client\n\n\nclass EmptyClient:\n"
        "    def __init__(self, client: Client) -> None:\n        self.client: Final = client\n"
    )


@pytest.mark.parametrize(
    ("rule", "channel"),
    [
        ("news", '"news"'),
        ("news:*", 'f"news:{name}"'),
        ('a"{b}\\*', "'a\"{b}\\\\' + name"),
        ("*", "channel"),
    ],
)
def test_a_channel_is_found_by_its_rule(rule: str, channel: str) -> None:
    text = in_python(of_channels(Channels(rule=rule, data=int, takes=int)))
    assert f".publish({channel}, event, data, key=key, timeout=timeout)" in text
    assert formatted(text) == text


def test_what_a_client_cannot_do_there_has_no_method() -> None:
    def methods(**rights: Any) -> list[str]:
        text = in_python(of_channels(Channels(rule="news:*", data=int, takes=int, **rights)))
        return [word for word in ("subscribe_", "publish_", "history_") if f"def {word}" in text]

    assert methods(history=False) == ["subscribe_", "publish_"]
    assert methods(subscribe=False, history=True) == ["publish_"]
    assert methods(publish=False, history=True) == ["subscribe_", "history_"]


def test_channels_of_one_noun_have_methods_of_their_own() -> None:
    rules = ("news*", "news", "news:*", "news:", "New_s", "a:*", "a.*")
    text = in_python(of_channels(*(Channels(rule=rule, data=int, takes=int) for rule in rules)))
    names = [line.split("_", 1)[1].rstrip("(") for line in text.splitlines() if "def sub" in line]
    assert names == ["news_of", "news", "news_of_2", "news_2", "new_s", "a", "a_of"]
