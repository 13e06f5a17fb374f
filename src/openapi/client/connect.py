"""From a URL to a connected client."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, Literal

from aiohttp import ClientSession

from openapi.client.client import Client
from openapi.client.dialing import Dialer, Headers, Url, check_url
from openapi.client.handlers import Handler, check_listener, method_of
from openapi.client.keeper import Status
from openapi.client.wiring import Wiring
from openapi.protocol.backoff import Backoff
from openapi.protocol.methods import MethodTable
from openapi.protocol.native import JSON_CLIENT, MSGPACK_CLIENT

__all__ = ["connect"]

_CODECS: Final = {
    "json": ("wsrpc.v1.json", JSON_CLIENT),
    "msgpack": ("wsrpc.v1.msgpack", MSGPACK_CLIENT),
}
"""What an encoding is called as a subprotocol, and what speaks it."""

_OFFLINE: Final = ("wait", "fail")

_BACKOFF: Final = Backoff()


@asynccontextmanager
async def connect(
    url: Url,
    *,
    headers: Headers = None,
    session: ClientSession | None = None,
    encoding: Literal["json", "msgpack"] = "json",
    serve: Mapping[str, Handler] | None = None,
    reconnect: Backoff | None = _BACKOFF,
    offline: Literal["wait", "fail"] = "wait",
    wait_open: bool = True,
    on_state: Callable[[Status], object] | None = None,
    open_timeout: float = 10.0,
    close_timeout: float = 5.0,
    heartbeat: float | None = 20.0,
    message_bytes: int = 4 * 1024 * 1024,
    queue_bytes: int = 1024 * 1024,
    calls: int = 64,
    waiting: int = 1000,
) -> AsyncIterator[Client]:
    """Connect to a WebSocket endpoint: ``async with connect("ws://…") as client``.

    A connection that is lost is made anew, and subscriptions go on where they were. Leaving the
    block closes the client, after all that was said is sent, and waits for the handlers of calls of
    the server, which are cancelled.

    ``url``, ``headers``
        of the request, for example an ``Authorization``. Each may be a function, or a coroutine
        function, that makes it: it is called before each attempt, so that a token is fresh. The
        attempt waits for it, however long it takes.
    ``session``
        an aiohttp session to use, with its proxies, cookies and TLS settings; it is not closed.
    ``encoding``
        ``"json"``, or ``"msgpack"``: with it bytes, dates and large integers stay what they are.
    ``serve``
        functions that the server may call, by method: see :meth:`Client.serve`.
    ``reconnect``
        how long to wait before the next attempt; None: the first connection is the only one.
    ``offline``
        while there is no connection, calls, notifications and new subscriptions wait, or with
        ``"fail"`` raise ConnectionClosed at once.
    ``wait_open``
        whether to wait here for the first connection, and to raise why it could not be made.
        False: the block begins at once, and the first attempt is made again as any other.
    ``on_state``
        is called with a :class:`Status` whenever the state changes.
    ``open_timeout``, ``close_timeout``
        how long the server may take to accept, and to say goodbye: seconds.
    ``heartbeat``
        seconds without a message after which the server is pinged; if it does not answer within
        half of that, the connection is lost, as 1006. None: never.
    ``message_bytes``
        the longest message that the server may send; a longer one closes the connection, 1009.
    ``queue_bytes``
        bytes that may wait to be sent; past that, calls wait their turn.
    ``calls``
        calls in flight; past that, calls wait their turn.
    ``waiting``
        how many calls may wait, for their turn or for a connection; one more raises CallFailed,
        -32004.

    Raises ConnectionClosed if the server cannot be reached or refuses (HandshakeRefused), or does
    not speak the encoding; TimeoutError if it does not answer, ValueError for a URL or an option
    that is not valid, DeclarationError for a function that cannot serve, or an ``on_state`` that is
    a coroutine function.
    """
    if encoding not in _CODECS:
        raise ValueError(f"there is no encoding {encoding!r}: it is 'json' or 'msgpack'")
    if offline not in _OFFLINE:
        raise ValueError(f"there is no offline={offline!r}: it is 'wait' or 'fail'")
    sizes = {"calls": calls, "waiting": waiting, "queue_bytes": queue_bytes}
    for name, size in (sizes | {"message_bytes": message_bytes}).items():
        if size < 1:
            raise ValueError(f"there is no {name}={size!r}: it is an integer from 1")
    times = {"open_timeout": open_timeout, "close_timeout": close_timeout, "heartbeat": heartbeat}
    for name, seconds in times.items():
        if seconds is not None and not seconds > 0:
            raise ValueError(f"there is no {name}={seconds!r}: it is seconds, more than 0")
    check_listener("on_state", on_state)
    if not callable(url):
        check_url(url)
    subprotocol, codec = _CODECS[encoding]
    methods = MethodTable({name: method_of(name, each) for name, each in (serve or {}).items()})
    async with AsyncExitStack() as stack:
        if session is None:
            session = await stack.enter_async_context(ClientSession())
        dialer = Dialer(
            session=session,
            url=url,
            headers=headers,
            subprotocol=subprotocol,
            packed=codec.packed,
            open_timeout=open_timeout,
            close_timeout=close_timeout,
            heartbeat=heartbeat,
            message_bytes=message_bytes,
        )
        client = Client(
            Wiring(dialer, codec=codec, methods=methods, calls=calls, queue_bytes=queue_bytes),
            reconnect=reconnect,
            wait=offline == "wait",
            on_state=on_state,
            waiting=waiting,
        )
        try:
            await client.open(wait=wait_open)
            yield client
        finally:
            await client.close()
