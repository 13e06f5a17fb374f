"""What one writes with python-socketio on aiohttp: rooms, and what handlers return as answers.

    python bench/servers/python_socketio.py [--broker URL]

With a broker, several of these are one, by its AsyncRedisManager. JSON is parsed, and nothing is
validated.
"""

import argparse
import asyncio
from typing import Any

import orjson  # type: ignore[import-not-found] # it is in an environment of its own
import socketio  # type: ignore[import-not-found]
import uvloop
from aiohttp import web


class Json:
    """orjson in the place of the standard library's module, which is slower."""

    loads = staticmethod(orjson.loads)

    @staticmethod
    def dumps(value: object, **options: object) -> str:
        """Write JSON; it is always as short as it can be."""
        text: str = orjson.dumps(value).decode()
        return text


async def serve(broker: str | None) -> None:
    """Serve on a free port of 127.0.0.1, until it is ended."""
    server = socketio.AsyncServer(
        async_mode="aiohttp",
        client_manager=socketio.AsyncRedisManager(broker) if broker else None,
        transports=["websocket"],
        json=Json,
        ping_interval=3600,
        # With a task for each event, what one publishes over Redis comes in another order.
        async_handlers=not broker,
    )

    async def connect(sid: str, environ: object) -> None:
        pass

    async def order(sid: str, payload: Any) -> object:
        return {"id": payload["id"], "total": payload["price"] * 1.2, "text": payload["note"]}

    async def subscribe(sid: str, channel: str) -> None:
        await server.enter_room(sid, channel)

    async def publish(sid: str, message: Any) -> None:
        channel = message["channel"]
        data = {"channel": channel, "data": message["data"]}
        await server.emit(message["event"], data, room=channel)

    for handler in (connect, order, subscribe, publish):
        server.on(handler.__name__, handler)
    app = web.Application()
    server.attach(app)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--broker")
    uvloop.run(serve(options.parse_args().broker))
