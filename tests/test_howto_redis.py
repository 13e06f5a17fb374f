"""What the how-to page of Redis shows and says: docs/how-to/redis.md."""

import re
from collections.abc import Iterator

import pytest

import docs.examples.howto.over_redis as page
from openapi.protocol.stream import Retention
from openapi.ws import SocketsManager
from openapi.ws.broker import Member
from openapi.ws.brokers.redis import RedisBroker
from openapi.ws.brokers.redis.address import Address
from openapi.ws.brokers.redis.names import PARTITIONS, Names
from tests.cli.process import ROOT
from tests.conftest import Serve
from tests.servers.cluster import ValkeyCluster
from tests.servers.valkey import ValkeyServer
from tests.ws.broker_nodes import Node
from tests.ws.peer import peer

TEXT = (ROOT / "docs/how-to/redis.md").read_text("utf-8")
KEPT = Retention(messages=100, seconds=300.0)
PATIENCE = 10.0

#: Enough that some are at every node of a cluster.
CHANNELS = [f"c{number}" for number in range(12)]


def rights() -> list[list[str]]:
    """The commands of the page that give a user rights."""
    blocks = re.findall(r"```text\n(ACL .*?)```", TEXT, re.DOTALL)
    return [block.split() for block in blocks]


@pytest.fixture
def account(valkey: ValkeyServer) -> Iterator[str]:
    """A server's URL with the user of the page."""
    valkey.execute(*rights()[0])
    yield valkey.url.replace("redis://", "redis://shop:secret@")
    valkey.execute("ACL", "DELUSER", "shop")


@pytest.fixture
def cluster_account(cluster: ValkeyCluster) -> Iterator[str]:
    """A cluster's URL with the user of the page."""
    for node in cluster.nodes:
        for command in rights():
            node.execute(*command)
    yield cluster.url.replace("://", "://shop:secret@")
    for node in cluster.nodes:
        node.execute("ACL", "DELUSER", "shop")


async def do_everything(url: str) -> None:
    """All that a broker does. Fails where the server refuses any of it."""
    broker = page.broker_of_the_shop(url)
    node = Node(broker, PATIENCE)
    await node.open()
    assert broker.outage is None
    for channel in CHANNELS:
        await broker.subscribe(channel)
        await broker.publish(channel, "", 1)
        await broker.append(channel, "", 2, retention=KEPT, key="k")
        await broker.publish_once(channel, "", 3, key="k")
        await node.messages(channel, 3)
        expired = Retention(messages=100, seconds=0.0)
        await broker.append(channel, "", 4, retention=expired)
        for reverse in (False, True):
            await broker.history(channel, retention=KEPT, limit=10, reverse=reverse)
        await broker.enter(channel, {"1": Member("ada"), "2": Member("bob")}, ttl=60)
        await broker.refresh(channel, ["1"], ttl=60)
        assert len(await broker.members(channel)) == 2
        await broker.leave(channel, ["1", "2"])
        await broker.unsubscribe(channel)
    await broker.aclose()


async def test_the_application_of_the_page_carries_messages(
    serve: Serve, valkey: ValkeyServer
) -> None:
    one, other = [await serve(page.create_app(valkey.url)) / "stream" for _ in range(2)]
    async with peer(one) as ada, peer(other) as bob:
        await bob.call("subscribe", {"channel": "orders"})
        await ada.call("publish", {"channel": "orders", "event": "new", "data": 1})
        assert (await bob.message())["offset"] == 1


async def test_a_user_with_the_rights_of_the_page_may_do_everything(
    account: str, valkey: ValkeyServer
) -> None:
    await do_everything(account)
    assert valkey.execute("ACL", "LOG") == []


async def test_a_user_with_the_rights_of_the_page_may_do_everything_in_a_cluster(
    cluster_account: str, cluster: ValkeyCluster
) -> None:
    await do_everything(cluster_account)
    assert [node.execute("ACL", "LOG") for node in cluster.nodes] == [[], [], []]


async def test_keys_are_named_as_the_page_says_and_all_have_a_time_to_live(
    valkey: ValkeyServer,
) -> None:
    broker = RedisBroker(valkey.url)
    await broker.open(Node(broker, PATIENCE).deliver)
    await broker.subscribe("orders")
    await broker.append("orders", "", 1, retention=KEPT, key="k")
    await broker.enter("orders", {"1": Member("ada")}, ttl=60)
    buses = valkey.execute("PUBSUB", "CHANNELS")
    await broker.aclose()
    keys = valkey.execute("KEYS", "*")
    assert all(valkey.execute("PTTL", key) > 0 for key in keys)
    said = [re.escape(name).replace("…", ".+") for name in re.findall(r"`(openapi:[^`]+)`", TEXT)]
    for name in (*keys, *buses):
        assert any(re.fullmatch(pattern, name) for pattern in said), name
    assert "`openapi:{42}:m:orders`" in TEXT
    assert re.fullmatch(
        rb"openapi:\{\d+\}:m:orders", Names("openapi", partitions=PARTITIONS).stream("orders")[0]
    )


async def test_what_is_kept_takes_as_much_memory_as_the_page_says(valkey: ValkeyServer) -> None:
    broker = RedisBroker(valkey.url)
    await broker.open(Node(broker, PATIENCE).deliver)
    data = {"text": "x" * 180}  # 200 bytes with all that is around it
    await broker.history("read", retention=KEPT, limit=0)
    await broker.append("one", "", data, retention=KEPT)
    for _ in range(100):
        await broker.append("full", "", data, retention=KEPT)
    await broker.append("keyed", "", data, retention=KEPT, key="k")
    members = {f"{n:032x}": Member(f"u{n}", n, {"name": "Ada Lovelace"}) for n in range(100)}
    await broker.enter("room", members, ttl=60)
    await broker.aclose()

    def taken(*kinds: str) -> int:
        keys = [key for kind in kinds for key in valkey.execute("KEYS", f"openapi:{kind}")]
        return sum(valkey.execute("MEMORY", "USAGE", key, "SAMPLES", 0) for key in keys)

    said = re.sub(r"(\d+(?:\.\d)?) kB", lambda kb: f"{int(float(kb[1]) * 1000)} bytes", TEXT)
    (line,) = re.findall(r"A channel that was only read takes .*", said)
    read, one, full, _, member, key = map(int, re.findall(r"(\d+) bytes", line))
    found = {
        read: taken("m:read"),
        one: taken("m:one", "s:one"),
        full: taken("m:full", "s:full"),
        member: taken("p:room", "x:room") // 100,
        key: taken("k:*"),
    }
    for promised, bytes_ in found.items():
        assert promised * 0.7 < bytes_ < promised * 1.3, found


def test_each_url_of_the_page_can_be_read() -> None:
    urls = re.findall(r"`((?:redis|rediss)(?:\+cluster)?://[^`]+)`", TEXT)
    assert len(urls) >= 4
    for url in urls:
        assert Address(url).cluster is ("+cluster" in url)
    several = Address("redis+cluster://a:7000,b:7000,c:7000").nodes
    assert several == [("a", 7000), ("b", 7000), ("c", 7000)]


def test_the_options_of_the_page_are_the_defaults() -> None:
    shown, default = page.broker_of_the_shop("redis://localhost"), RedisBroker("redis://localhost")
    names = ("_timeout", "_probe_interval", "_epoch_ttl", "_trust_restarts")
    assert [getattr(shown, name) for name in names] == [getattr(default, name) for name in names]
    assert isinstance(page.create_app()[page.SOCKETS], SocketsManager)
