"""What one writes with aiohttp alone: JSON is parsed, and nothing is validated."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import orjson  # type: ignore[import-not-found] # it is in an environment of its own
import uvloop
from aiohttp import web

Method: TypeAlias = Callable[[web.WebSocketResponse, Any], Awaitable[object]]

CHANNELS: dict[str, set[web.WebSocketResponse]] = defaultdict(set)


async def order(ws: web.WebSocketResponse, payload: Any) -> object:
    """Compute the receipt of an order."""
    return {"id": payload["id"], "total": payload["price"] * 1.2, "text": payload["note"]}


async def subscribe(ws: web.WebSocketResponse, payload: Any) -> None:
    """Add a connection to those of a channel."""
    CHANNELS[payload["channel"]].add(ws)


async def publish(ws: web.WebSocketResponse, payload: Any) -> None:
    """Send a message to all connections of its channel."""
    message = orjson.dumps(payload).decode()
    sends = (each.send_str(message) for each in CHANNELS[payload["channel"]])
    # One that is gone meanwhile is no fault of who publishes.
    await asyncio.gather(*sends, return_exceptions=True)


METHODS: dict[str, Method] = {"order": order, "subscribe": subscribe, "publish": publish}


async def stream(request: web.Request) -> web.WebSocketResponse:
    """Answer the calls of one connection."""
    ws = web.WebSocketResponse(compress=False)
    await ws.prepare(request)
    try:
        async for message in ws:
            call = orjson.loads(message.data)
            response = await METHODS[call["method"]](ws, call["payload"])
            answer = {"id": call["id"], "method": call["method"], "response": response}
            await ws.send_str(orjson.dumps(answer).decode())
    finally:
        for subscribed in CHANNELS.values():
            subscribed.discard(ws)
    return ws


async def serve() -> None:
    """Serve on a free port of 127.0.0.1, until it is ended."""
    app = web.Application()
    app.router.add_get("/stream", stream)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve())
