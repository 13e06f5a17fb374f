"""What the how-to page of NATS shows and says: docs/how-to/nats.md."""

import re
from pathlib import Path

import pytest

import docs.examples.howto.over_nats as page
from openapi.protocol.stream import Retention
from openapi.ws.broker import Member
from openapi.ws.brokers.nats import NatsBroker
from openapi.ws.brokers.nats.address import Address
from openapi.ws.brokers.nats.names import Names
from tests.servers.fixtures import StartNats
from tests.ws.broker_nodes import Message, Node
from tests.ws.tcp import Client, served

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs/how-to/nats.md").read_text("utf-8")
KEPT = Retention(messages=100, seconds=60.0)


def settings(what: str) -> str:
    """The configuration that the page shows and that begins so."""
    (text,) = re.findall(rf"```text\n({what} .*?)```", TEXT, re.DOTALL)
    return str(text)


async def test_two_applications_over_one_server_are_one(start_nats: StartNats) -> None:
    url = start_nats().url
    async with served(page.create_app(url)) as one, served(page.create_app(url)) as other:
        reader, writer = await Client.open(other), await Client.open(one)
        joined = await reader.call("subscribe", {"channel": "orders"})
        await writer.call("publish", {"channel": "orders", "event": "new", "data": 7})
        found = await reader.call("history", {"channel": "orders", "limit": 10})
        assert (joined["offset"], len(found["messages"])) == (0, 1)
        for client in (reader, writer):
            client.reset()


def test_the_defaults_are_what_the_page_says() -> None:
    shown, default = page.broker_of_the_shop("nats://localhost"), NatsBroker("nats://localhost")
    for name in ("_timeout", "_probe_interval", "_trust_restarts", "replicated"):
        assert getattr(shown._server, name) == getattr(default._server, name)
    assert shown.most == default.most
    for broker, prefix in ((shown, "shop"), (default, "openapi")):
        assert broker._names.prefix == prefix
        assert broker._names.partitions == 4
    said = str(shown._server._streams._wanted).replace("shop", "openapi")
    assert said == str(default._server._streams._wanted)


def test_the_urls_of_the_page_can_be_read() -> None:
    urls = re.findall(r"^\| `((?:nats|tls)://[^`]+)`", TEXT, re.MULTILINE)
    assert len(urls) == 4
    for url in urls:
        Address(url)


def test_the_names_of_the_page_are_those_of_the_broker() -> None:
    names = Names("shop", 4)
    assert names.partition("orders:7") == 3
    for name in (
        names.live("orders:7"),
        names.log("orders:7"),
        names.logs[3],
        names.key("orders:7", "").rpartition(".")[0] + ".",
        names.once("orders:7", "").rpartition(".")[0] + ".",
        names.onces,
        names.roster("orders:7"),
        names.own("")[:-1],
    ):
        assert f"`{name}" in TEXT


async def test_the_rights_of_the_page_are_enough(
    start_nats: StartNats, caplog: pytest.LogCaptureFixture
) -> None:
    config = settings("authorization")
    server = start_nats(config=config, user="shop", password="secret")
    for messages in (100, 200):  # the second has the streams keep more
        node = Node(NatsBroker(server.url, prefix="shop", history_messages=messages), 10.0)
        await node.open()
        assert node.supervised.outage is None
        await node.broker.subscribe("c")
        await node.broker.publish("c", "", 1)
        await node.once.publish_once("c", "", 2, key=str(messages))
        for number in (3, 4):
            await node.history.append("c", "", number, retention=KEPT, key=f"{messages} {number}")
        assert await node.presence.enter("c", {"1": Member("ada")}, ttl=60)
        assert await node.presence.leave("c", ["1"])
        found = await node.history.history("c", retention=KEPT, limit=10)
        assert len(found.messages) == found.top.offset
        heard = await node.so_far("c", node)
        assert [each.data for each in heard] == [1, 2, 3, 4]
        assert isinstance(heard[0], Message)
        await node.broker.aclose()
    assert not [each for each in caplog.records if "refuses" in each.message]


async def test_the_server_takes_the_settings_that_the_page_shows(start_nats: StartNats) -> None:
    config = settings("jetstream").replace("store_dir: /var/lib/nats", "")  # it is an option here
    assert start_nats(config=config).runs
