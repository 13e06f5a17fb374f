"""Bytes, dates and large integers as they are."""

from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from aiohttp import web

from openapi.client import connect
from openapi.ws import SocketsManager, WsPathMixin

SOCKETS = web.AppKey("SOCKETS", SocketsManager)


# [endpoint]
@dataclass
class Picture:
    taken: datetime
    pixels: bytes


class Album(WsPathMixin):
    SOCKETS_KEY = SOCKETS

    async def ws_rpc_digest(self, payload: Picture) -> bytes:
        """The digest of a picture"""
        return sha256(payload.pixels).digest()


# [/endpoint]


def create_app() -> web.Application:
    app = web.Application()
    app[SOCKETS] = SocketsManager()
    app.router.add_view("/album", Album)
    return app


# [client]
async def digest(url: str, pixels: bytes) -> bytes:
    """The digest of a picture that was taken now."""
    async with connect(url, encoding="msgpack") as client:
        picture = Picture(taken=datetime.now(UTC), pixels=pixels)
        return await client.call("digest", picture, returns=bytes)


# [/client]
