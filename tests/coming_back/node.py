"""A server whose connections are cut all the time: ``node.py PORT BROKER HISTORY SEED``.

| | |
|---|---|
| `/stream` | an endpoint; the channel `news` keeps so much history |
| `POST /turn` | publishes the numbers of `publish`, and cuts `cut` connections meanwhile |
"""

import asyncio
import random
import socket
import struct
import sys
from typing import Final

from aiohttp import web

from openapi.ws import ChannelRule, SocketsManager, WsPathMixin
from openapi.ws.pubsub import Subscribe

__all__ = ["CHANNEL", "EVENT"]

CHANNEL: Final = "news"
EVENT: Final = "n"

_SOCKETS = web.AppKey("_SOCKETS", SocketsManager)
_RANDOM = web.AppKey("_RANDOM", random.Random)
_RUNNER = web.AppKey("_RUNNER", web.AppRunner)

_LINGER: Final = struct.pack("ii", 1, 0)  # to close is to reset

#: A cut comes so many turns of the loop behind the moment in which a message is published, at most.
_TURNS: Final = 40


class Stream(Subscribe, WsPathMixin):
    """Whoever comes."""

    SOCKETS_KEY = _SOCKETS


async def turn(request: web.Request) -> web.Response:
    """Answer where the messages are, how many connections were cut, and how many are there."""
    asked = await request.json()
    sockets = request.app[_SOCKETS]
    cuts = [asyncio.create_task(_cut_one(request)) for _ in range(asked["cut"])]
    offsets = []
    for number in asked["publish"]:
        position = await sockets.publish(CHANNEL, EVENT, number)
        assert position is not None
        offsets.append(position.offset)
    cut = sum(await asyncio.gather(*cuts))
    return web.json_response({"offsets": offsets, "cut": cut, "there": len(sockets.sockets)})


async def _cut_one(request: web.Request) -> bool:
    """Reset a connection, however far it is; returns whether there was one."""
    rng, server = request.app[_RANDOM], request.app[_RUNNER].server
    assert server is not None
    for _ in range(rng.randrange(_TURNS)):
        await asyncio.sleep(0)
    # Those of aiohttp are on their way to be one; among them is what tells the manager of the end.
    transports = [getattr(each, "transport", None) for each in server.connections]
    transports += [each.connection._transport for each in request.app[_SOCKETS].sockets]
    others = [
        each
        for each in transports
        if each is not None and each is not request.transport and not each.is_closing()
    ]
    if not others:
        return False
    transport = rng.choice(others)
    assert isinstance(transport, asyncio.Transport)
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
    transport.abort()
    return True


async def main(port: int, broker: str, history: int, seed: int) -> None:
    """Serve until the process is killed."""
    app = web.Application()
    app[_SOCKETS] = SocketsManager(broker=broker, channels=[ChannelRule(CHANNEL, history=history)])
    app[_RANDOM] = random.Random(seed)
    app.router.add_view("/stream", Stream)
    app.router.add_post("/turn", turn)
    app[_RUNNER] = runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
