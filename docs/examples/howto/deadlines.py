"""Calls that may not take for ever."""

import asyncio
from dataclasses import dataclass

from aiohttp import web

from openapi.client import connect
from openapi.errors import CallFailed, ErrorCode
from openapi.ws import Limits, SocketsManager, WsPathMixin, ws_rpc

SOCKETS = web.AppKey("SOCKETS", SocketsManager)

SHELVES = {"sea": 0.0, "cellar": 3600.0}
"""How long it takes to walk to each shelf, in seconds."""


@dataclass
class Query:
    word: str
    shelves: list[str]


@dataclass
class Found:
    titles: list[str]
    complete: bool


async def look(shelf: str, word: str) -> list[str]:
    """The titles on one shelf that have a word."""
    await asyncio.sleep(SHELVES[shelf])
    return [f"The {word}, from the {shelf}"]


class Library(WsPathMixin):
    SOCKETS_KEY = SOCKETS

    # [method]
    @ws_rpc(timeout=0.5)
    async def ws_rpc_search(self, payload: Query) -> list[str]:
        """The titles that have a word; half a second is enough"""
        titles = []
        for shelf in payload.shelves:
            titles += await look(shelf, payload.word)  # past the deadline, cancelled here
        return titles

    # [/method]

    # [remaining]
    async def ws_rpc_browse(self, payload: Query) -> Found:
        """What is found in the time that there is"""
        titles: list[str] = []
        for shelf in payload.shelves:
            if self.remaining is not None and self.remaining < SHELVES[shelf]:
                return Found(titles, complete=False)
            titles += await look(shelf, payload.word)
        return Found(titles, complete=True)

    # [/remaining]


# [app]
def create_app() -> web.Application:
    app = web.Application()
    app[SOCKETS] = SocketsManager(limits=Limits(call_timeout=10.0))
    app.router.add_view("/library", Library)
    return app


# [/app]


# [client]
async def search(url: str, word: str) -> list[str]:
    """The titles that have a word, or none if that takes too long."""
    async with connect(url) as client:
        payload = {"word": word, "shelves": ["cellar"]}
        try:
            return await client.call("search", payload, returns=list[str], timeout=5.0)
        except CallFailed as exc:  # the server's deadline
            if exc.code != ErrorCode.DEADLINE_EXCEEDED:
                raise
        except TimeoutError:  # its own
            pass
        return []


# [/client]
