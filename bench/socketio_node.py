"""The same as bench/node.py by python-socketio: `python bench/socketio_node.py URL`.

Every client is in the room "c". What a client sends as "publish" is emitted to the room. It is run
by an interpreter of its own, which has neither this project nor its requirements.
"""

import asyncio
import sys
from typing import Any

import socketio  # type: ignore[import-not-found] # it is in an environment of its own
from aiohttp import web


async def serve(broker: str) -> None:
    """Serve on a free port of 127.0.0.1, until it is ended."""
    manager = socketio.AsyncRedisManager(broker)
    server = socketio.AsyncServer(
        async_mode="aiohttp", client_manager=manager, transports=["websocket"], ping_interval=3600
    )

    async def connect(sid: str, environ: object) -> None:
        await server.enter_room(sid, "c")

    async def publish(sid: str, data: Any) -> None:
        await server.emit("tick", data, room="c")

    server.on("connect", connect)
    server.on("publish", publish)
    app = web.Application()
    server.attach(app)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
