"""The endpoint: an aiohttp view that accepts WebSockets and answers their calls."""

import asyncio
import inspect
import json
import logging
import secrets
import time
from abc import ABCMeta
from collections.abc import Sequence
from typing import Any, ClassVar, Final

from aiohttp import HttpVersion11, web

from openapi.errors import CloseCode, DeclarationError
from openapi.protocol.forwarded import sent_to
from openapi.protocol.frames import Codec
from openapi.protocol.handshake import Refused, negotiate
from openapi.protocol.jsonrpc import JSONRPC
from openapi.protocol.methods import MethodNamespace, MethodTable
from openapi.protocol.native import JSON, MSGPACK, ObjectCodec
from openapi.protocol.websocket import WebSocket
from openapi.schema import encode_json, encode_msgpack
from openapi.ws.connection import Connection
from openapi.ws.handover import is_awaited, let_go
from openapi.ws.manager import SocketsManager
from openapi.ws.middleware import Middleware, check_middleware, takes
from openapi.ws.socket import Websocket
from openapi.ws.unmasking import unmask

__all__ = ["WsPathMixin"]

logger = logging.getLogger(__name__)

SUBPROTOCOLS: Final[dict[str, Codec]] = {
    "wsrpc.v1.json": JSON,
    "wsrpc.v1.msgpack": MSGPACK,
    "jsonrpc2.0": JSONRPC,
}
#: What an endpoint with a text format of its own selects.
_OWN_SUBPROTOCOLS: Final = ("wsrpc.v1.json",)

_HOOKS: Final = {
    "on_connect": ("self",),
    "on_disconnect": ("self", "code"),
    "authorize": ("self", "action", "channel", "event"),
}


class _Endpoint(ABCMeta):
    """Refuses, in the body of an endpoint class, a second method of one name."""

    @classmethod
    def __prepare__(
        cls, name: str, bases: tuple[type, ...], /, **options: Any
    ) -> dict[str, object]:
        return MethodNamespace(name)


class WsPathMixin(Websocket, web.View, metaclass=_Endpoint):
    """Makes a view a WebSocket endpoint: its ``ws_rpc_NAME`` methods are what clients can call.

    Each connection is an instance of the class. The order of this and its fellow bases is free.
    """

    SOCKETS_KEY: ClassVar[str | web.AppKey[Any]] = "web_sockets"
    """Where in the application the manager is."""
    middleware: ClassVar[Sequence[Middleware]] = ()
    """What runs around every call, the first outermost: see :mod:`openapi.ws.middleware`."""
    rpc_methods: ClassVar[MethodTable] = MethodTable({})
    """The methods, read from the class when it is defined."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.rpc_methods = MethodTable.of(cls)
        cls.middleware = check_middleware(cls.__qualname__, cls.middleware)
        for hook, arguments in _HOOKS.items():
            function = getattr(cls, hook)
            if not inspect.iscoroutinefunction(function) or not takes(function, *arguments):
                raise DeclarationError(
                    f"{cls.__qualname__}.{hook}: it must be"
                    f" `async def {hook}({', '.join(arguments)})`"
                )

    @property
    def sockets(self) -> SocketsManager:
        """The manager of this socket."""
        try:
            sockets: SocketsManager = self.request.app[self.SOCKETS_KEY]
        except KeyError:
            raise LookupError(
                f"{type(self).__qualname__} finds no manager:"
                f" set app[{self.SOCKETS_KEY!r}] = SocketsManager()"
            ) from None
        return sockets

    async def get(self) -> web.StreamResponse:
        """Open a WebSocket; returns when it is closed, or at once if nobody waits for that.

        400 if the request is no WebSocket's, 403 for a page of a foreign origin, 426 for another
        version of the protocol, 503 while the server shuts down.
        """
        request, sockets, own = self.request, self.sockets, self._own_codec()
        scheme, host = sent_to(request.headers, scheme=request.scheme, host=request.host)
        try:
            if request.version < HttpVersion11:
                raise Refused(400, "A WebSocket needs HTTP/1.1")  # RFC 6455 section 4.2.1
            accepted = negotiate(
                request.method,
                request.headers,
                scheme=scheme,
                host=host,
                origins=sockets.origins,
                subprotocols=tuple(SUBPROTOCOLS) if own is None else _OWN_SUBPROTOCOLS,
                deflate=sockets.deflate,
            )
        except Refused as refusal:
            return _refuse(refusal.status, refusal.message, refusal.headers)
        if sockets.draining:
            return _refuse(503, "The server is shutting down", {"Retry-After": "1"})
        response = web.StreamResponse(status=101, headers=accepted.headers)
        try:
            await response.prepare(request)
        except ConnectionError:
            return response  # it left during the handshake
        transport = request.transport
        if transport is None:  # or right behind it
            return response
        limits = sockets.limits
        codec = own or (SUBPROTOCOLS[accepted.subprotocol] if accepted.subprotocol else None)
        self.connection = Connection(
            self,
            sockets,
            transport,
            http=request.protocol,
            methods=self.rpc_methods,
            codec=codec,
            websocket=WebSocket(
                message_bytes=limits.message_bytes,
                discard_bytes=limits.discard_bytes,
                fragments=limits.fragments,
                deflate=accepted.deflate,
                unmask=unmask,
            ),
            window=accepted.deflate.window if accepted.deflate is not None else 0,
            middleware=(*sockets.middleware, *self.middleware),
        )
        self.started = time.time()
        self.socket_id = secrets.token_urlsafe(16)
        self.connection.start()
        try:
            sockets.connected(self, request)
            self.connection.greet()
        except Exception:
            # A subclass's own code; the client has its 101, and hears of this in a closing frame.
            logger.exception("adding socket %s failed", self)
            self.connection.close(CloseCode.INTERNAL_ERROR)
        # One that closes already may do so as the server ends, which waits for its handlers.
        if not (self.connection.gone or is_awaited(self, WsPathMixin.get)):
            await response.write_eof()
            let_go(request.protocol)
            return response
        request.protocol.keep_alive(False)  # its timer is for requests
        try:
            await self.connection.wait_closed()
        except asyncio.CancelledError:
            self.connection.restart()
            raise
        return response

    def decode_message(self, msg: str) -> Any:
        """Read a message; override it, and :meth:`encode_message`, for a text format of your own.

        Returns what JSON would have given. A ValueError means that ``msg`` is no message.
        """
        return json.loads(msg, parse_constant=_no_json)

    def encode_message(self, msg: Any) -> str:
        """Write a message, which is what JSON can say: dictionaries, lists, strings, numbers.

        An override is called for each socket; without one, a published message is encoded once.
        """
        return encode_json(msg).decode()

    async def write(self, msg: Any) -> None:
        """Send anything that has a JSON form to this socket. Raises Unserializable."""
        packed = self.connection.packed
        self.connection.send(encode_msgpack(msg) if packed else self.encode_message(msg))

    async def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Close this socket."""
        self.connection.close(code, reason)

    def _own_codec(self) -> Codec | None:
        """The text format of an endpoint that has its own; it speaks nothing else."""
        cls = type(self)
        if (
            cls.decode_message is WsPathMixin.decode_message
            and cls.encode_message is WsPathMixin.encode_message
        ):
            return None
        return ObjectCodec(self.decode_message, self.encode_message)


def _no_json(constant: str) -> object:
    raise ValueError(f"{constant} is no JSON")


def _refuse(status: int, message: str, headers: dict[str, str]) -> web.Response:
    return web.Response(
        status=status,
        headers=headers,
        body=encode_json({"message": message}),
        content_type="application/json",
    )
