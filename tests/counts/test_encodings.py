"""A message is encoded and framed once for each dialect and window, whoever gets it."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import pytest
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from openapi.ws import Limits, Publisher, SocketsManager
from tests.counts.connections import Site, site
from tests.counts.encoders import encoding
from tests.counts.loops import CountingLoop
from tests.servers.nats import NatsServer
from tests.servers.valkey import ValkeyServer
from tests.wire_dialects import JSONRPC, NATIVE, PACKED
from tests.ws.peer import peer
from tests.ws.speaking import Speaker

#: So long that it is compressed.
TEXT: Final = "tea " * 200

Kind = tuple[str, int]
"""A dialect, and a window in bits or 0."""

KINDS: Final[list[Kind]] = [(NATIVE, 0), (NATIVE, 10), (NATIVE, 12), (PACKED, 0), (JSONRPC, 0)]


@asynccontextmanager
async def subscribed(server: Site, *kinds: Kind) -> AsyncIterator[list[Speaker]]:
    """Subscribers of these kinds to the channel ``c``."""
    speakers: list[Speaker] = []
    async with AsyncExitStack() as stack:
        for dialect, window in kinds:
            extensions = (
                [ClientPerMessageDeflateFactory(server_max_window_bits=window)] if window else []
            )
            connected = await stack.enter_async_context(
                peer(server.url, subprotocols=[dialect], extensions=extensions)
            )
            speaker = Speaker(connected.socket, dialect)
            await speaker.call("subscribe", {"channel": "c"})
            speakers.append(speaker)
        yield speakers


async def cost(publisher: SocketsManager | Publisher, some: list[Speaker]) -> Counter[str]:
    """What is encoded for one message, from its publication until all have it."""
    with encoding() as counts:
        await publisher.publish("c", "e", TEXT)
        for each in some:
            assert (await each.message())["data"] == TEXT
    return counts


@pytest.mark.parametrize("count", [1, 20])
async def test_a_message_is_encoded_once_for_each_dialect(loop: CountingLoop, count: int) -> None:
    async with site(loop) as server:
        async with subscribed(server, *[(NATIVE, 0)] * count) as some:
            assert await cost(server.sockets, some) == {"json": 1}
            async with subscribed(server, *[(PACKED, 0)] * count) as others:
                assert await cost(server.sockets, some + others) == {"json": 1, "msgpack": 1}


@pytest.mark.parametrize("count", [1, 10])
async def test_a_message_is_compressed_once_for_each_dialect_and_window(
    loop: CountingLoop, count: int
) -> None:
    kinds = [(NATIVE, 10), (NATIVE, 12), (PACKED, 10), (PACKED, 12)]
    async with site(loop, SocketsManager(deflate=True)) as server:
        async with subscribed(server, *kinds * count) as some:
            counts = await cost(server.sockets, some)
            assert counts == {"json": 1, "msgpack": 1, "deflate": 4}


async def test_a_message_is_one_frame_for_all_of_a_dialect_and_window(loop: CountingLoop) -> None:
    async with site(loop, SocketsManager(deflate=True)) as server:
        async with subscribed(server, *KINDS * 5) as some:
            await cost(server.sockets, some)
            frames = [each.writes[-1] for each in loop.accepted]
            assert len(frames) == 25
            assert len({id(frame) for frame in frames}) == len(KINDS)  # the very same bytes


@pytest.fixture(params=["redis", "nats"])
def broker(
    request: pytest.FixtureRequest, shared_valkey: ValkeyServer, shared_nats: NatsServer
) -> str:
    """The URL of a broker's server."""
    return (shared_valkey if request.param == "redis" else shared_nats).url


@pytest.mark.parametrize("count", [1, 10])
async def test_a_node_encodes_once_what_comes_from_another(
    loop: CountingLoop, broker: str, count: int
) -> None:
    sockets = SocketsManager(broker=broker, deflate=True, limits=Limits(node_interval=600))
    async with site(loop, sockets) as server, Publisher(broker) as publisher:
        async with subscribed(server, *[(NATIVE, 0), (NATIVE, 12)] * count) as some:
            for _ in range(3):  # all is open then, and nothing else is under way
                await cost(publisher, some)
            both = await cost(publisher, some)
            with encoding() as publishing:
                await publisher.publish("nobody's", "e", TEXT)
            assert both - publishing == {"json": 1, "deflate": 1}
            async with subscribed(server, *[(PACKED, 0)] * count) as others:
                packed = await cost(publisher, some + others)
                # what came as JSON is said in MessagePack, and framed
                assert (packed - both)["msgpack"] <= 2
                assert packed["json"] == both["json"]
