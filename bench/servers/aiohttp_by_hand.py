"""What one writes with aiohttp alone: JSON is parsed, and nothing is validated.

Text stays bytes, as its documentation advises where JSON is read from these and written to them.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import orjson  # type: ignore[import-not-found] # it is in an environment of its own
import uvloop
from aiohttp import WSMsgType, web

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
    message = orjson.dumps(payload)
    # One after the other: to gather them would cost a task for each.
    for each in list(CHANNELS[payload["channel"]]):
        try:
            await each.send_frame(message, WSMsgType.TEXT)
        except ConnectionError:
            continue  # One that is gone meanwhile is no fault of who publishes.


METHODS: dict[str, Method] = {"order": order, "subscribe": subscribe, "publish": publish}


async def stream(request: web.Request) -> web.WebSocketResponse:
    """Answer the calls of one connection."""
    ws = web.WebSocketResponse(compress=False, decode_text=False)
    await ws.prepare(request)
    try:
        async for message in ws:
            call = orjson.loads(message.data)
            response = await METHODS[call["method"]](ws, call["payload"])
            answer = {"id": call["id"], "method": call["method"], "response": response}
            await ws.send_frame(orjson.dumps(answer), WSMsgType.TEXT)
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
