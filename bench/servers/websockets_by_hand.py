"""What one writes with websockets alone: JSON is parsed, and nothing is validated."""

from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import orjson  # type: ignore[import-not-found] # it is in an environment of its own
import uvloop
from websockets.asyncio.server import ServerConnection, broadcast
from websockets.asyncio.server import serve as serve_websockets
from websockets.exceptions import ConnectionClosed

Method: TypeAlias = Callable[[ServerConnection, Any], Awaitable[object]]

CHANNELS: dict[str, set[ServerConnection]] = defaultdict(set)


async def order(connection: ServerConnection, payload: Any) -> object:
    """Compute the receipt of an order."""
    return {"id": payload["id"], "total": payload["price"] * 1.2, "text": payload["note"]}


async def subscribe(connection: ServerConnection, payload: Any) -> None:
    """Add a connection to those of a channel."""
    CHANNELS[payload["channel"]].add(connection)


async def publish(connection: ServerConnection, payload: Any) -> None:
    """Send a message to all connections of its channel."""
    broadcast(CHANNELS[payload["channel"]], orjson.dumps(payload), text=True)


METHODS: dict[str, Method] = {"order": order, "subscribe": subscribe, "publish": publish}


async def stream(connection: ServerConnection) -> None:
    """Answer the calls of one connection."""
    try:
        while True:
            # As bytes: its documentation advises it where JSON is read from these.
            call = orjson.loads(await connection.recv(decode=False))
            response = await METHODS[call["method"]](connection, call["payload"])
            answer = {"id": call["id"], "method": call["method"], "response": response}
            await connection.send(orjson.dumps(answer), text=True)
    except ConnectionClosed:
        pass  # the client has gone, or goes
    finally:
        for subscribed in CHANNELS.values():
            subscribed.discard(connection)


async def serve() -> None:
    """Serve on a free port of 127.0.0.1, until it is ended."""
    async with serve_websockets(
        stream, "127.0.0.1", 0, compression=None, ping_interval=None, backlog=4096
    ) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve())
