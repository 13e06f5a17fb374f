"""One connection of a conversation: a client, and the tap on its WebSocket."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from yarl import URL

from openapi.client import Backoff, Client, ClientState, Status, connect
from openapi.errors import ConnectionClosed, ErrorCode, RpcError
from tests.client.vectors.calls import Call, begin
from tests.client.vectors.handlers import Handled, Handlers
from tests.client.vectors.speech import Way, is_id, meaning, way_of
from tests.client.vectors.subscriber import Subscriber
from tests.client.vectors.tap import Frame, Said, Tap
from tests.wire_dialects import DIALECTS, PACKED
from tests.wire_replay import END, END_OF_IT, assert_match, expand, matches, named

__all__ = ["Connection", "connected"]

_IN_FLIGHT: Final = "A call with this id is in flight, use another id"

_OF_OURS: Final = frozenset({"response", "error", "item"})
"""What a frame has, if its id is that of a call of the client's."""

_NOT_OF_THE_CLIENT: Final = 10**9
"""Ids from here on are of calls that were said past the client."""

_FINAL: Final = frozenset({1000, 1002, 1003, *range(4500, 5000)})
"""Close codes behind which a client does not come back, as ``wire/README.md`` has them."""


class Connection:
    """What a client says on one connection, and what comes to it.

    ``names`` are the strings that have a name in the conversation, ``once`` is whether the client
    makes no other connection.
    """

    def __init__(
        self,
        client: Client,
        tap: Tap,
        handlers: Handlers,
        states: "asyncio.Queue[Status]",
        *,
        names: dict[str, str],
        once: bool,
    ) -> None:
        self.client = client
        self.tap = tap
        self._handlers = handlers
        self._states = states
        self._names = names
        self._once = once
        self._ids: dict[str, Any] = {}  # those on the wire, by those of the conversation as JSON
        self._calls: dict[Any, Call] = {}  # what the client said and is not over, by that id
        self._told: dict[Any, tuple[int, int]] = {}  # the milliseconds asked for, and those told
        self._made: list[Call] = []
        self._subscribers: list[Subscriber] = []
        self._refused: list[Any] = []  # ids in flight with which another call was said past it
        self._handled: dict[str, Handled] = {}  # calls of the server that are not answered
        self._closing: asyncio.Task[None] | None = None
        tap.withholds = self._is_of_refused

    # --- what the client says ---------------------------------------------------------------------

    async def say(self, value: Any, n: int = 0) -> None:
        """Say what the conversation has, or if the client cannot, say it past it."""
        frame = expand(value, n, self._names)
        way = way_of(frame)
        match way:
            case None:
                await self._say_past(frame)
            case Way.CANCEL:
                await self._cancel(frame)
            case Way.ANSWER:
                await self._answer(frame)
            case Way.NOTIFY:
                sent = self.tap.permit(
                    lambda said: said.get("id", 0) is None and said.get("method") == frame["method"]
                )
                await self.client.notify(frame["method"], frame.get("payload"))
                _assert_same(frame, await sent)
            case _ if self._is_in_flight(frame["id"]):
                self._refused.append(self._id_of(frame["id"]))
                await self._say_past(frame)
            case Way.LEAVE if (subscriber := self._to_be_left(frame["payload"])) is not None:
                await self._leave(subscriber, frame)
            case _:
                await self._call(way, frame)

    async def say_exactly(self, message: str | bytes) -> None:
        """Send this message past the client. Ids in it are no others on the wire."""
        self._ids = {key: id for key, id in self._ids.items() if id in self._calls}
        await self.tap.say(message)

    async def _say_past(self, frame: Any) -> None:
        if isinstance(frame, dict) and is_id(frame.get("id")) and not _is_answer(frame):
            key = json.dumps(frame["id"])
            is_meant = self._is_in_flight(frame["id"])
            is_meant = is_meant or (frame.get("cancel") is True and key in self._ids)
            if not is_meant and isinstance(frame["id"], int):
                self._ids[key] = _NOT_OF_THE_CLIENT + frame["id"]
            elif not is_meant:
                self._ids.pop(key, None)
            frame = {**frame, "id": self._id_of(frame["id"])}
        await self.tap.say(self.tap.dialect.write(frame))

    async def _cancel(self, frame: Frame) -> None:
        id = self._id_of(frame["id"])
        call = self._calls.get(id) if self._is_in_flight(frame["id"]) else None
        cancel = {"id": id, "cancel": True}
        is_over = id in self.tap.answered and all(s.frame != cancel for s in self.tap.unasked)
        if call is None or call.cancelled or is_over:
            await self._say_past(frame)
            return
        call.task.cancel()
        call.cancelled = True
        if call.way is Way.SUBSCRIBE:  # it tells how long it waits, and no more
            await self._say_past(frame)
        else:
            await self.tap.permit(lambda said: said == cancel)

    async def _answer(self, frame: Frame) -> None:
        handled = self._handled.pop(frame.get("id", ""), None)
        if handled is None:
            await self._say_past(frame)
            return
        sent = self.tap.permit(lambda said: said["id"] == frame["id"] and _is_answer(said))
        if handled.answer.cancelled():  # it has said so already
            assert _is_given_up((await sent).frame)
            return
        if "error" in frame:
            handled.answer.set_exception(RpcError(**frame["error"]))
        else:
            handled.answer.set_result(frame["response"])
        _assert_same(frame, await sent)

    def _to_be_left(self, payload: Frame) -> Subscriber | None:
        """The only open subscription that an ``unsubscribe`` means."""
        event = payload.get("event")
        meant = [
            each
            for each in self._subscribers
            if each.is_open
            and each.channel == payload["channel"]
            and event in (each.event, "", None)
        ]
        return meant[0] if len(meant) == 1 else None

    async def _leave(self, subscriber: Subscriber, frame: Frame) -> None:
        sent = self.tap.permit(lambda said: said.get("method") == "unsubscribe")
        subscriber.leave()
        said = await sent
        # To leave a channel is to take back its only pattern.
        payload = {"channel": subscriber.channel, "event": subscriber.event}
        _assert_same({**frame, "payload": payload}, said)
        leaving, method = subscriber.task, frame["method"]
        call = Call(way=Way.LEAVE, method=method, payload=payload, task=leaving, outcome=leaving)
        self._began(frame, said, call)

    async def _call(self, way: Way, frame: Frame) -> None:
        method, timeout = frame["method"], frame.get("timeout")
        sent = self.tap.permit(lambda said: said.get("method") == method and said["id"] is not None)
        call = begin(self.client, way, method, frame.get("payload"), timeout)
        if call.subscriber is not None:
            self._subscribers.append(call.subscriber)
        await asyncio.wait([sent, call.outcome], return_when=asyncio.FIRST_COMPLETED)
        assert sent.done(), f"it is not said: {call.outcome!r}"
        said = sent.result()
        _assert_same(frame, said)
        if timeout is not None:
            told = said.frame["timeout"]
            assert 1 <= told <= timeout
            self._told[said.frame["id"]] = (timeout, told)
        self._began(frame, said, call)

    def _began(self, frame: Frame, said: Said, call: Call) -> None:
        id = said.frame["id"]
        self._ids[json.dumps(frame["id"])] = id
        self._calls[id] = call
        self._made.append(call)

    # --- what comes -------------------------------------------------------------------------------

    async def expect(self, value: Any, n: int = 0) -> None:
        """The next message is this."""
        self._compare(self._expected(value, n), await self._receive())

    async def expect_binary(self, digits: str) -> None:
        """The next message has exactly these bytes."""
        came = await self.tap.received.get()
        assert isinstance(came.message, bytes)
        assert came.message.hex() == bytes.fromhex(digits).hex()
        await self._came(came.frame)

    async def expect_behind(self, value: Any, others: Any) -> None:
        """The next message is this, behind any number of others."""
        others, value = self._expected(others, 0), self._expected(value, 0)
        while matches(others, frame := await self._receive()):
            pass
        self._compare(value, frame)

    async def expect_in_any_order(self, values: list[Any]) -> None:
        """The next messages are these."""
        expected = [self._expected(value, n) for n, value in enumerate(values)]
        while expected:
            frame = await self._receive()
            found = [one for one in expected if matches(one, frame)]
            assert found, f"{frame} is none of {expected}"
            self._compare(found[0], frame)
            expected.remove(found[0])

    def _expected(self, value: Any, n: int) -> Any:
        frame = expand(value, n, self._names)
        if not (isinstance(frame, dict) and is_id(frame.get("id")) and frame.keys() & _OF_OURS):
            return frame
        id = self._id_of(frame["id"])
        match frame:
            case {"error": {"code": ErrorCode.DEADLINE_EXCEEDED, "message": text}}:
                # Some of its time may have been over before the call was sent.
                asked, told = self._told.get(id, (0, 0))
                text = text.replace(f" {asked / 1000:.12g} ", f" {told / 1000:.12g} ")
                frame = {**frame, "error": {**frame["error"], "message": text}}
        return {**frame, "id": id}

    def _compare(self, expected: Any, frame: Any) -> None:
        assert_match(expected, frame)
        for name, value in named(expected, frame):
            assert value not in self._names.values(), f"{value!r} is known already, it is no {name}"
            self._names[name] = value

    async def _receive(self) -> Any:
        came = await self.tap.received.get()
        await self._came(came.frame)
        return came.frame

    async def _came(self, frame: Any) -> None:
        """See that the client made of a message what it must."""
        if self._is_of_refused(frame):
            self._refused.remove(frame["id"])
            return
        match frame:
            case {"channel": _}:
                for subscriber in self._subscribers:
                    subscriber.came(frame)
            case {"event": "$reconnect", "data": {"after": after, "code": code}}:
                said = self.client.reconnect
                assert said is not None
                assert (said.after, said.code) == (after, code)
            case {"item": item}:
                if (call := self._calls.get(frame["id"])) is not None:
                    call.expected.append(item)
            case {"response": _} | {"error": _}:
                await self._ended(frame)
            case {"cancel": True}:
                handled = self._handled.get(frame["id"])
                if handled is not None:
                    await asyncio.wait([handled.answer])
                    assert handled.answer.cancelled()
            case {"method": _}:
                handled = await self._handlers.called.get()
                assert handled.payload == frame.get("payload", {})
                if frame["id"] is not None:
                    self._handled[frame["id"]] = handled
                else:
                    handled.answer.set_result(None)

    async def _ended(self, frame: Frame) -> None:
        call = self._calls.pop(frame.get("id"), None)
        if call is None or (call.is_repeated and "retry_after" in frame.get("error", {})):
            return
        await call.assert_ended(frame)

    def _is_of_refused(self, frame: Any) -> bool:
        """Whether it answers a call that was said past the client, with an id of the client's."""
        match frame:
            case {"id": id, "error": {"message": message}} if message == _IN_FLIGHT:
                return id in self._refused
        return False

    # --- how it ends ------------------------------------------------------------------------------

    def close(self, code: int) -> None:
        """The client closes."""
        self._closing = asyncio.create_task(self.client.close(code))

    async def closed(self, code: int) -> None:
        """With nothing in front of it, the server's closing frame has this code."""
        client, tap = self.client, self.tap
        assert await tap.closed == code
        assert tap.received.empty(), f"instead of being closed, got {tap.received.get_nowait()}"
        if self._closing is not None:
            await self._closing
        comes_back = not (self._once or self._closing or code in _FINAL)
        while client.state is ClientState.OPEN:
            await self._states.get()
        if comes_back:
            assert client.state in (ClientState.WAITING, ClientState.CONNECTING)
        else:
            assert client.state is ClientState.CLOSED
        why = client.closed or client.status.reason
        assert isinstance(why, ConnectionClosed)
        assert (why.code, why.reason) == (code, tap.reason)
        for call in self._calls.values():
            if not (comes_back and (call.is_repeated or call.way is Way.SUBSCRIBE)):
                await call.assert_lost(code)
        for handled in self._handled.values():
            await asyncio.wait([handled.answer])
            assert handled.answer.cancelled()
        for subscriber in self._subscribers:
            if subscriber.is_open and not comes_back:
                await asyncio.wait([subscriber.task])
                error = subscriber.task.exception()
                if self._closing is not None:
                    assert error is None
                else:
                    assert isinstance(error, ConnectionClosed)
                    assert error.code == code
            subscriber.check()
        self.check_silence()

    async def finish(self) -> None:
        """See that nothing else came, and that the client still works."""
        await self.say(END)
        await self.expect(END_OF_IT)
        assert self.client.state is ClientState.OPEN
        for subscriber in self._subscribers:
            subscriber.check()

    def check_silence(self) -> None:
        """See that the client said nothing of its own accord that nobody can explain.

        It may say that nobody waits for a call any more, or for messages; and that a call of the
        server has ended, as it was cancelled, or its time was over.
        """
        for said in self.tap.unasked:
            match said.frame:
                case {"cancel": True} | {"method": "unsubscribe"}:
                    pass
                case frame:
                    assert _is_given_up(frame), f"the client says {frame} of its own accord"

    async def let_go(self) -> None:
        """Whatever has become of it, close it."""
        await self.client.close()
        waiting = [*(each.task for each in self._made), *(each.task for each in self._subscribers)]
        for task in waiting:
            task.cancel()
        outcomes = (each.outcome for each in self._made)
        await asyncio.gather(*waiting, *outcomes, return_exceptions=True)

    def _is_in_flight(self, id: Any) -> bool:
        """Whether a call of the client has this id in the conversation."""
        return self._ids.get(json.dumps(id)) in self._calls

    def _id_of(self, id: Any) -> Any:
        """The id on the wire of one in the conversation."""
        return self._ids.get(json.dumps(id), id)


@asynccontextmanager
async def connected(
    url: URL,
    *,
    offers: Sequence[str] | None,
    selects: str | None,
    speaks: str,
    methods: Iterable[str],
    names: dict[str, str],
    once: bool,
) -> AsyncIterator[Connection]:
    """A client of an endpoint, which has one connection.

    ``offers``, ``selects`` and ``speaks`` are those of the conversation. ``methods`` may be called
    by the server. With ``once`` it does not try to come back when that has ended, without it tries
    for ever.
    """
    tap, handlers = Tap(DIALECTS[speaks], offers), Handlers()
    states: asyncio.Queue[Status] = asyncio.Queue()
    urls = [url]

    async def where() -> URL:
        if not urls:
            await asyncio.Event().wait()
        return urls.pop()

    async with (
        tap.session() as session,
        connect(
            where,
            session=session,
            encoding="msgpack" if speaks == PACKED else "json",
            serve=dict.fromkeys(methods, handlers.handle),
            reconnect=None if once else Backoff(),
            on_state=states.put_nowait,
            heartbeat=None,
            calls=200,
        ) as client,
    ):
        assert tap.selected == selects
        connection = Connection(client, tap, handlers, states, names=names, once=once)
        try:
            yield connection
        finally:
            await connection.let_go()


def _assert_same(expected: Frame, said: Said) -> None:
    """See that the client says what the conversation has."""
    assert meaning(said.frame) == meaning(expected)


def _is_answer(frame: Frame) -> bool:
    return "response" in frame or "error" in frame


def _is_given_up(frame: Frame) -> bool:
    """Whether it answers a call that nobody waits for any more."""
    code = frame.get("error", {}).get("code")
    return code in (ErrorCode.CANCELLED, ErrorCode.DEADLINE_EXCEEDED)
