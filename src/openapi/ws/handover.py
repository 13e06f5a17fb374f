"""What aiohttp has of a request whose transport is taken over, and when it can let go of it.

A handler that waits for the end of its socket costs two tasks, their frames, the parser of HTTP and
a timer, which is more than all else that an idle connection has. So the handler returns behind the
handshake, and aiohttp is told that the connection is gone: to it, it is.

Not where somebody would notice: code of the application's may stand behind the end of ``get``, in
an override, in a handler around the endpoint or in a middleware of aiohttp's, and it shall run when
the socket is closed.
"""

from collections.abc import Callable
from typing import Any, cast

from aiohttp import web

__all__ = ["is_awaited", "let_go", "taken_from"]


class _Behind:
    """Collects what aiohttp has read behind the handshake."""

    data = b""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.data += data
        return False, b""

    def feed_eof(self) -> None:
        pass


def taken_from(http: web.RequestHandler) -> bytes:
    """What came right behind the handshake."""
    behind = _Behind()
    http.set_parser(behind)  # type: ignore[arg-type] # it wants a WebSocketReader, and uses this
    return behind.data


def is_awaited(view: web.View, get: Callable[[Any], object]) -> bool:
    """Whether anything but aiohttp waits for the end of a view's ``get``, which is that function.

    Also where the server cancels handlers whose client is gone: it would cancel this one.
    """
    request, cls = view.request, type(view)
    server = cast("web.Server", request.protocol._manager)  # private, as in shutdown.py
    return (
        cls.get is not get  # type: ignore[attr-defined] # a view has the methods that it has
        or request.match_info.handler is not cls
        or any(app.middlewares for app in request.match_info.apps)
        or server.handler_cancellation
    )


def let_go(http: web.RequestHandler) -> None:
    """Tell aiohttp that a connection is gone, as its transport has another protocol now.

    The request goes on to know the transport, with its addresses and certificates.
    """
    server = cast("web.Server", http._manager)
    http.keep_alive(False)  # which lets go of a timer, too
    transport, http.transport = http.transport, None  # or it would be closed
    http.connection_lost(None)
    # It forgets it when the handler has ended, a few turns later. If it ends meanwhile, it cuts it.
    server.connection_lost(http)
    http.transport = transport
