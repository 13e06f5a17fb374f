"""What passes over the WebSocket of a client, and what is said there past the client.

    tap = Tap(DIALECTS["wsrpc.v1.json"])
    async with tap.session() as session, connect(url, session=session) as client:
        sent = tap.permit(lambda frame: frame["method"] == "add")
        call = asyncio.create_task(client.call("add", {"a": 1, "b": 2}))
        await sent                          # {"id": 1, "method": "add", …}: now it is on its way
        await tap.received.get()            # the answer, which the client has seen as well

Nothing that the client sends goes out without being asked for: what it says of its own accord, like
the cancel of a call whose time is over, waits, as if the network were slow.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

from aiohttp import (
    ClientHandlerType,
    ClientRequest,
    ClientResponse,
    ClientSession,
    ClientWebSocketResponse,
    WSMsgType,
)

from openapi.errors import CloseCode
from tests.wire_dialects import Dialect

__all__ = ["Came", "Frame", "Said", "Tap"]

Frame: TypeAlias = dict[str, Any]

PROTOCOLS = "Sec-WebSocket-Protocol"


@dataclass(frozen=True, slots=True)
class Came:
    """A message of the server, and what it says."""

    message: str | bytes
    frame: Any


@dataclass(frozen=True, slots=True)
class Said:
    """A message of the client, and what it says."""

    message: bytes
    kind: WSMsgType
    frame: Frame


class Tap:
    """The WebSocket of one client, which speaks one dialect.

    ``offers`` are the subprotocols to offer instead of the client's own.
    """

    def __init__(self, dialect: Dialect, offers: Sequence[str] | None = None) -> None:
        self.dialect = dialect
        self.offers = offers
        self.selected: str | None = None
        """The subprotocol that the server selected."""
        self.received: asyncio.Queue[Came] = asyncio.Queue()
        """What has come. The client has dealt with it when it is here."""
        self.closed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """The code of the server's closing frame, 1006 where there was none."""
        self.reason = ""
        """What the closing frame says besides, where the server was the first to close."""
        self.unasked: list[Said] = []
        """What the client said without being asked to."""
        self.withholds: Callable[[Any], bool] = lambda frame: False
        """What of what comes the client is not to see."""
        self.answered: set[Any] = set()
        """The ids of calls whose final frame has come."""
        self._permits: list[tuple[Callable[[Frame], bool], asyncio.Future[Said]]] = []
        self._socket: Tapped | None = None

    def session(self) -> ClientSession:
        """A session whose WebSocket is tapped."""

        class OfThisTap(Tapped):
            tap = self

        return ClientSession(ws_response_class=OfThisTap, middlewares=[self._shake_hands])

    @property
    def socket(self) -> "Tapped":
        """The WebSocket, once it is open."""
        assert self._socket is not None
        return self._socket

    def permit(self, fits: Callable[[Frame], bool]) -> "asyncio.Future[Said]":
        """Let the next frame out that fits. Returns it, as soon as it is on its way."""
        # What the client has said already, as the answer to a call that was cancelled, was meant.
        for said in self.unasked:
            if fits(said.frame):
                self.unasked.remove(said)
                return asyncio.create_task(self._let_out(said))
        permit: asyncio.Future[Said] = asyncio.get_running_loop().create_future()
        self._permits.append((fits, permit))
        return permit

    async def say(self, message: str | bytes) -> None:
        """Send a message past the client."""
        kind = WSMsgType.TEXT if isinstance(message, str) else WSMsgType.BINARY
        data = message.encode() if isinstance(message, str) else message
        await self.socket.pass_on(data, kind)

    def write(self, data: bytes) -> None:
        """Write bytes past the client, and past its WebSocket."""
        self.socket.transport.write(data)

    def read(self, reads: bool) -> None:
        """Whether the client reads from the network."""
        if reads:
            self.socket.transport.resume_reading()
        else:
            self.socket.transport.pause_reading()

    async def send(self, message: bytes, kind: WSMsgType) -> None:
        """The client sends this."""
        text = message.decode() if kind is WSMsgType.TEXT else message
        said = Said(message, kind, self.dialect.read(text))
        for each in self._permits:
            fits, permit = each
            if fits(said.frame):
                self._permits.remove(each)
                await self.socket.pass_on(message, kind)
                permit.set_result(said)
                return
        self.unasked.append(said)

    def take(self, message: str | bytes) -> bool:
        """The server sent this. Returns whether the client is to see it."""
        frame = self.dialect.read(message)
        self.received.put_nowait(Came(message, frame))
        match frame:
            case {"id": int() | str() as id, "response": _} | {
                "id": int() | str() as id,
                "error": _,
            }:
                self.answered.add(id)
        return not self.withholds(frame)

    def open(self, socket: "Tapped") -> None:
        """It is open."""
        self._socket = socket

    def end(self, code: int, reason: str = "") -> None:
        """It is closed."""
        if not self.closed.done():
            self.closed.set_result(code)
            self.reason = reason

    async def _let_out(self, said: Said) -> Said:
        await self.socket.pass_on(said.message, said.kind)
        return said

    async def _shake_hands(
        self, request: ClientRequest, handler: ClientHandlerType
    ) -> ClientResponse:
        if self.offers is not None:
            request.headers.popall(PROTOCOLS, None)
            if self.offers:
                request.headers[PROTOCOLS] = ", ".join(self.offers)
        response = await handler(request)
        self.selected = response.headers.get(PROTOCOLS)
        return response


class Tapped(ClientWebSocketResponse[Literal[True]]):
    """A WebSocket whose messages go through a tap."""

    tap: ClassVar[Tap]
    _reading: "asyncio.Task[Any] | None" = None
    _left = False  # whether the client was the first to close

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.tap.open(self)

    @property
    def transport(self) -> asyncio.Transport:
        """What carries it."""
        return self._writer.transport

    async def pass_on(self, message: bytes, kind: WSMsgType) -> None:
        """Send a message."""
        await super().send_frame(message, kind)

    async def send_frame(
        self, message: bytes, opcode: WSMsgType, compress: int | None = None
    ) -> None:
        await self.tap.send(message, opcode)

    async def receive(self, timeout: float | None = None) -> Any:
        self._reading = asyncio.current_task()
        while True:
            message = await super().receive(timeout)
            match message.type:
                case WSMsgType.TEXT | WSMsgType.BINARY:
                    if not self.tap.take(message.data):
                        continue
                case WSMsgType.CLOSE:
                    self.tap.end(message.data, message.extra or "")
                case WSMsgType.CLOSED | WSMsgType.ERROR if not self._left:
                    self.tap.end(CloseCode.ABNORMAL)
            return message

    async def close(self, *, code: int = CloseCode.NORMAL, message: bytes = b"") -> bool:
        if asyncio.current_task() is self._reading:  # what it answers to a closing frame
            return await super().close(code=code, message=message)
        self._left = True
        try:
            return await super().close(code=code, message=message)
        finally:
            self.tap.end(self.close_code or CloseCode.ABNORMAL)
