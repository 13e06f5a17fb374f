"""The server of the pages that are tested in a browser: ``page.py PORT BROKER``.

It is a process, to be killed, and keeps nothing itself: history is in the broker.

| | |
|---|---|
| `/` | the pages |
| `/openapi.js` | the client, as the package has it |
| `/stream` | an endpoint; the channel `news` keeps history |
| `/members` | the same for those whose `token` of the query is good; closes with 4500 otherwise |
| `POST /token` | a new token, which is good until it expires |
| `POST /expire` | all tokens expire, and the connections with them: 4001 |
"""

import secrets
import sys
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from openapi.errors import CloseCode, ErrorCode
from openapi.ws import ChannelRule, RpcError, SocketsManager, WsPathMixin
from openapi.ws.pubsub import Publish, Subscribe

__all__ = ["CHANNELS", "application"]

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = ROOT / "clients/js/test/chromium/pages"
MODULE: Final = ROOT / "src/openapi/browser/openapi.js"

CHANNELS: Final = (ChannelRule("news", history=1000), ChannelRule("*"))

SOCKETS = web.AppKey("SOCKETS", SocketsManager)
MEMBERS: web.AppKey[dict[str, set["Members"]]] = web.AppKey("MEMBERS", dict)
"""Who is connected, by the tokens that are good."""


class Stream(Subscribe, Publish, WsPathMixin):
    """Whoever comes."""

    SOCKETS_KEY = SOCKETS

    async def ws_rpc_echo(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Answer the payload"""
        return payload


class Members(Stream):
    """Those who have a token."""

    async def on_connect(self) -> None:
        """Let in who has a good one"""
        members = self.request.app[MEMBERS].get(self.request.query.get("token", ""))
        if members is None:
            raise RpcError(ErrorCode.NOT_AUTHENTICATED, "Log in first")
        members.add(self)

    async def on_disconnect(self, code: int) -> None:
        """Forget them"""
        for members in self.request.app[MEMBERS].values():
            members.discard(self)


async def token(request: web.Request) -> web.Response:
    """Give a new token."""
    given = secrets.token_urlsafe()
    request.app[MEMBERS][given] = set()
    return web.json_response(given)


async def expire(request: web.Request) -> web.Response:
    """Let all tokens expire."""
    expired = [*request.app[MEMBERS].values()]
    request.app[MEMBERS].clear()
    for members in expired:
        for member in [*members]:
            await member.close(CloseCode.CREDENTIALS_EXPIRED, "the token has expired")
    return web.json_response(None)


async def module(_: web.Request) -> web.FileResponse:
    """The client."""
    return web.FileResponse(MODULE)


def application(broker: str) -> web.Application:
    """The application, whose messages go over the broker."""
    app = web.Application()
    app[SOCKETS] = SocketsManager(broker=broker, channels=CHANNELS)
    app[MEMBERS] = {}
    app.router.add_view("/stream", Stream)
    app.router.add_view("/members", Members)
    app.router.add_post("/token", token)
    app.router.add_post("/expire", expire)
    app.router.add_get("/openapi.js", module)
    app.router.add_static("/", PAGES)
    return app


if __name__ == "__main__":
    web.run_app(application(sys.argv[2]), host="127.0.0.1", port=int(sys.argv[1]), print=None)
