"""Code around every call: what it sees, what it may do, and what it cannot leave open."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import pytest
from yarl import URL

from openapi.errors import DeclarationError, InvalidData
from openapi.ws import (
    Call,
    Limits,
    Middleware,
    Next,
    RpcError,
    SocketsManager,
    WsPathMixin,
    ws_rpc,
)
from tests.conftest import Serve
from tests.ws.endpoints import Endpoint, application
from tests.ws.peer import Peer, peer
from tests.ws.raw import RawSocket

Payload = dict[str, Any]


class Target(Endpoint):
    """What the middleware of these tests is around."""

    log: list[str]
    ended: asyncio.Event

    async def ws_rpc_echo(self, payload: Payload) -> Payload:
        self.log.append("echo")
        return payload

    async def ws_rpc_add(self, payload: dict[str, int]) -> int:
        return sum(payload.values())

    @ws_rpc(timeout=60)
    async def ws_rpc_timed(self, payload: Payload) -> None: ...

    @ws_rpc(shield=True)
    async def ws_rpc_shielded(self, payload: Payload) -> str:
        return "shielded"

    async def ws_rpc_refuse(self, payload: Payload) -> str:
        raise RpcError(7, "refused")

    async def ws_rpc_hang(self, payload: Payload) -> None:
        await asyncio.Event().wait()

    async def ws_rpc_count(self, payload: Payload) -> AsyncIterator[int]:
        try:
            for number in range(payload.get("to", 1000)):
                yield number
            if payload.get("hang"):
                await asyncio.Event().wait()
        finally:
            self.log.append("count ended")
            self.ended.set()


class Served:
    """An endpoint and a manager with middleware."""

    def __init__(self, serve: Serve) -> None:
        self.log: list[str] = []
        self.ended = asyncio.Event()
        self.sockets = SocketsManager()
        self._serve = serve

    async def start(
        self, *outer: Middleware, inner: list[Middleware] | None = None, **limits: Any
    ) -> URL:
        class Fresh(Target):
            log = self.log
            ended = self.ended
            middleware = inner or []

        self.sockets = SocketsManager(middleware=outer, limits=Limits(**limits))
        return await self._serve(application(Fresh, self.sockets)) / "stream"


@pytest.fixture
def served(serve: Serve) -> Served:
    return Served(serve)


def named(name: str, log: list[str]) -> Middleware:
    """Middleware that notes when it is gone through, in both directions."""

    async def note(call: Call, next: Next) -> Any:
        log.append(f"into {name}")
        try:
            return await next(call)
        finally:
            log.append(f"out of {name}")

    return note


async def stream(client: Peer, payload: Payload) -> tuple[list[Any], Payload]:
    """Read a stream: its items and its final frame."""
    await client.send({"id": "it", "method": "count", "payload": payload})
    items = []
    while "item" in (frame := await client.receive()):
        items.append(frame["item"])
    return items, frame


# What it sees, and may do


async def test_the_first_is_the_outermost_and_the_managers_are_outside_of_the_endpoints(
    served: Served,
) -> None:
    log = served.log
    outer = [named("first", log), named("second", log)]
    inner = [named("third", log), named("fourth", log)]
    async with peer(await served.start(*outer, inner=inner)) as client:
        assert await client.call("echo", {"a": 1}) == {"a": 1}
    names = ("first", "second", "third", "fourth")
    assert log == [
        *(f"into {name}" for name in names),
        "echo",
        *(f"out of {name}" for name in reversed(names)),
    ]


async def test_it_sees_the_call(served: Served) -> None:
    seen: list[Call] = []
    remaining: list[float | None] = []

    async def look(call: Call, next: Next) -> Any:
        seen.append(call)
        remaining.append(call.remaining)
        return await next(call)

    async with peer(await served.start(look)) as client:
        (socket,) = served.sockets.sockets
        await client.send({"id": "a", "method": "echo", "payload": {"b": [1]}})
        await client.receive()
        await client.send({"id": None, "method": "echo"})
        await client.call("timed")
        await stream(client, {"to": 1})
    assert [call.id for call in seen] == ["a", None, 1, "it"]
    assert [call.method for call in seen] == ["echo", "echo", "timed", "count"]
    assert [call.payload for call in seen] == [{"b": [1]}, {}, {}, {"to": 1}]
    assert [call.stream for call in seen] == [False, False, False, True]
    assert {call.socket for call in seen} == {socket}
    assert repr(seen[0]) == f"<Call echo of {socket.socket_id}>"
    assert remaining[:2] == [None, None]
    assert remaining[2] is not None
    assert 0 < remaining[2] <= 60


async def test_it_is_not_asked_about_what_is_no_call(served: Served) -> None:
    async with peer(await served.start(named("it", served.log))) as client:
        assert (await client.error("unknown"))["code"] == -32601
        assert (await client.error("add", {"a": "one"}))["code"] == -32602
    assert served.log == []


async def test_it_may_change_the_payload_and_the_result(served: Served) -> None:
    async def change(call: Call, next: Next) -> Any:
        call.payload = {**call.payload, "b": 2}
        return {"changed": await next(call)}

    async with peer(await served.start(change)) as client:
        assert await client.call("echo", {"a": 1}) == {"changed": {"a": 1, "b": 2}}


async def test_what_it_makes_of_a_result_must_fit_its_type(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    async def change(call: Call, next: Next) -> Any:
        return str(await next(call))

    async with peer(await served.start(change)) as client:
        assert (await client.error("add", {"a": 1}))["code"] == -32603


async def test_it_may_answer_itself(served: Served) -> None:
    async def answer(call: Call, next: Next) -> Any:
        return {"from": "middleware"}

    async with peer(await served.start(answer)) as client:
        assert await client.call("echo") == {"from": "middleware"}
    assert served.log == []


async def test_it_may_refuse(served: Served) -> None:
    async def refuse(call: Call, next: Next) -> Any:
        if call.payload:
            raise InvalidData({"a": "not today"})
        raise RpcError(-32003, "slower", retry_after=10)

    async with peer(await served.start(refuse)) as client:
        assert await client.error("echo") == {
            "code": -32003,
            "message": "slower",
            "retry_after": 10,
        }
        assert (await client.error("echo", {"a": 1}))["errors"] == {"a": "not today"}
    assert served.log == []


async def test_it_may_turn_an_error_of_the_handler_into_something_else(served: Served) -> None:
    async def turn(call: Call, next: Next) -> Any:
        try:
            return await next(call)
        except RpcError as exc:
            return f"in spite of {exc.message}"

    async with peer(await served.start(turn)) as client:
        assert await client.call("refuse") == "in spite of refused"


async def test_it_may_try_again(served: Served) -> None:
    async def twice(call: Call, next: Next) -> Any:
        await next(call)
        return await next(call)

    async with peer(await served.start(twice)) as client:
        assert await client.call("echo") == {}
    assert served.log == ["echo", "echo"]


async def test_a_middleware_that_fails_is_an_internal_error(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(call: Call, next: Next) -> Any:
        raise KeyError("the secret of the middleware")

    async with peer(await served.start(fail)) as client:
        for method in ("echo", "shielded", "count"):
            error = await client.error(method)
            assert (error["code"], error["message"]) == (-32603, "Internal error")
            assert "secret" not in str(error)
            assert error["data"]["error_id"] in caplog.text


async def test_a_middleware_that_forgets_to_await_is_told_so_in_the_log(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    async def forgetful(call: Call, next: Next) -> Any:
        return next(call)

    async with peer(await served.start(forgetful)) as client:
        for method in ("echo", "shielded", "count"):
            caplog.clear()
            assert (await client.error(method))["code"] == -32603
            assert "forgetful" in caplog.text
            assert "returned a coroutine: write `await next(call)` there" in caplog.text
    assert served.log == []


async def test_a_cancelled_call_is_cancelled_in_its_middleware(served: Served) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()

    async def listen(call: Call, next: Next) -> Any:
        heard.put_nowait("began")
        try:
            return await next(call)
        finally:
            heard.put_nowait("ended")

    async with peer(await served.start(listen)) as client:
        await client.send({"id": "it", "method": "hang"})
        assert await heard.get() == "began"
        await client.send({"id": "it", "cancel": True})
        assert (await client.receive())["error"]["code"] == -32006
        assert await heard.get() == "ended"


async def test_it_is_around_shielded_calls_too_and_counted_with_them(served: Served) -> None:
    go = asyncio.Event()

    async def wait(call: Call, next: Next) -> Any:
        await go.wait()
        return await next(call)

    async with peer(await served.start(wait, shielded=1)) as client:
        await client.send({"id": "it", "method": "shielded"})
        assert (await client.error("shielded"))["code"] == -32004
        go.set()
        assert (await client.receive())["response"] == "shielded"


# Streams


async def test_it_may_wrap_the_items_of_a_stream(served: Served) -> None:
    async def double(call: Call, next: Next) -> Any:
        async def doubled() -> AsyncIterator[int]:
            async for item in items:
                yield item * 2

        items = await next(call)
        return doubled()

    async with peer(await served.start(double, double)) as client:
        items, end = await stream(client, {"to": 5})
        assert (items, end["response"]) == ([0, 4, 8, 12, 16], None)
    assert served.log == ["count ended"]


async def test_it_may_leave_the_items_of_a_stream_alone(served: Served) -> None:
    async with peer(await served.start(named("it", served.log))) as client:
        items, end = await stream(client, {"to": 3})
        assert (items, end["response"]) == ([0, 1, 2], None)
    assert served.log == ["into it", "out of it", "count ended"]


async def test_it_may_answer_a_stream_itself(served: Served) -> None:
    async def answer(call: Call, next: Next) -> Any:
        async def own() -> AsyncIterator[int]:
            yield 7
            raise RpcError(8, "no more")

        return own()

    async with peer(await served.start(answer)) as client:
        items, end = await stream(client, {})
        assert (items, end["error"]["code"]) == ([7], 8)
    assert served.log == []


async def test_it_may_answer_a_stream_with_an_object_of_its_own(served: Served) -> None:
    class Items:
        """Async iterable, and nothing more."""

        async def __aiter__(self) -> AsyncIterator[int]:
            try:
                yield 1
                yield 2
            finally:
                served.log.append("closed")

    async def answer(call: Call, next: Next) -> Any:
        return Items()

    async with peer(await served.start(answer)) as client:
        assert (await stream(client, {}))[0] == [1, 2]
    assert served.log == ["closed"]


async def test_what_is_no_async_iterable_is_no_answer_to_a_stream(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    async def answer(call: Call, next: Next) -> Any:
        items = await next(call)
        return [await anext(items)]

    async with peer(await served.start(answer)) as client:
        items, end = await stream(client, {})
        assert (items, end["error"]["code"]) == ([], -32603)
    assert served.log == ["count ended"]  # though it was pulled from
    assert "a middleware answered the stream 'count' with [0]: return an async iterator" in (
        caplog.text
    )


async def test_a_middleware_that_fails_behind_a_pull_closes_the_stream(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(call: Call, next: Next) -> Any:
        await anext(await next(call))
        raise KeyError

    async with peer(await served.start(fail)) as client:
        assert (await stream(client, {}))[1]["error"]["code"] == -32603
    assert served.log == ["count ended"]


async def test_a_middleware_that_takes_only_some_items_closes_the_stream(served: Served) -> None:
    async def few(call: Call, next: Next) -> Any:
        async def first_three() -> AsyncIterator[int]:
            async for item in items:
                yield item
                if item == 2:
                    return

        items = await next(call)
        return first_three()

    async with peer(await served.start(few)) as client:
        items, end = await stream(client, {})
        assert (items, end["response"]) == ([0, 1, 2], None)
    assert served.log == ["count ended"]


@pytest.mark.parametrize("end", ["cancel", "leave"])
async def test_all_that_wraps_a_stream_is_closed_with_it_the_handler_last(
    served: Served, end: str
) -> None:
    def wrapping(name: str) -> Middleware:
        async def wrap(call: Call, next: Next) -> Any:
            async def wrapped() -> AsyncIterator[int]:
                try:
                    async for item in items:
                        yield item
                finally:
                    served.log.append(f"{name} ended")

            items = await next(call)
            return wrapped() if call.stream else items

        return wrap

    url = await served.start(wrapping("first"), wrapping("second"))
    socket = await RawSocket.open(url, receive_buffer=4096)
    socket.send({"id": "it", "method": "count", "payload": {"to": 10**9}})
    await socket.receive()  # and then it reads no more: the stream waits for room
    async with peer(url) as other:
        for _ in range(300):
            await other.call("echo")
        served.log.clear()
        if end == "cancel":
            socket.send({"id": "it", "cancel": True})
        else:
            socket.reset()
        await served.ended.wait()
        assert served.log == ["first ended", "second ended", "count ended"]
    await socket.shut()


async def test_a_wrapper_that_was_begun_is_closed_though_nothing_of_it_was_sent(
    served: Served,
) -> None:
    pulled, go = asyncio.Event(), asyncio.Event()

    async def peek(call: Call, next: Next) -> Any:
        items = await next(call)
        await anext(items)
        pulled.set()
        await go.wait()
        return items

    async with peer(await served.start(peek)) as client:
        await client.send({"id": "it", "method": "count"})
        await pulled.wait()
        await client.send({"id": "it", "cancel": True})
        assert (await client.receive())["error"]["code"] == -32006
        await served.ended.wait()


async def test_a_wrapper_that_fails_to_close_does_not_keep_the_handler_open(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    async def wrap(call: Call, next: Next) -> Any:
        async def wrapped() -> AsyncIterator[int]:
            try:
                async for item in items:
                    yield item
            finally:
                raise KeyError("cannot close")

        items = await next(call)
        return wrapped()

    async with peer(await served.start(wrap)) as client:
        await client.send({"id": "it", "method": "count", "payload": {"to": 1, "hang": True}})
        await client.receive()
        await client.send({"id": "it", "cancel": True})
        await served.ended.wait()


async def test_a_stream_that_is_asked_for_twice_is_closed_twice(served: Served) -> None:
    async def both(call: Call, next: Next) -> Any:
        async def pairs() -> AsyncIterator[int]:
            while True:
                yield await anext(one)
                yield await anext(other)

        one, other = await next(call), await next(call)
        return pairs()

    async with peer(await served.start(both)) as client:
        await client.send({"id": "it", "method": "count", "payload": {"to": 2, "hang": True}})
        assert [(await client.receive())["item"] for _ in range(4)] == [0, 0, 1, 1]
    while served.log != ["count ended", "count ended"]:  # noqa: ASYNC110
        await asyncio.sleep(0)


# Declarations


async def with_too_little(call: Call) -> Any: ...


async def with_too_much(call: Call, next: Next, more: object) -> Any: ...


def not_async(call: Call, next: Next) -> Any: ...


async def a_generator(call: Call, next: Next) -> Any:
    yield


class NotAsync:
    def __call__(self, call: Call, next: Next) -> Any: ...


class Async:
    async def __call__(self, call: Call, next: Next) -> Any:
        return await next(call)


@pytest.mark.parametrize(
    "wrong",
    [with_too_little, with_too_much, not_async, a_generator, NotAsync(), NotAsync, Async, 7, None],
)
def test_what_is_no_middleware_is_refused_when_it_is_declared(wrong: Any) -> None:
    sentence = f"{wrong!r} is no middleware, write `async def middleware(call, next)`"
    with pytest.raises(DeclarationError) as refusal:
        SocketsManager(middleware=[wrong])
    assert str(refusal.value) == f"SocketsManager: {sentence}"
    with pytest.raises(DeclarationError) as refusal:

        class Wrong(WsPathMixin):
            middleware = (wrong,)

    assert str(refusal.value).endswith(f".Wrong: {sentence}")
    with pytest.raises(DeclarationError) as refusal:

        class Manager(SocketsManager):
            middleware = (wrong,)

    assert str(refusal.value).endswith(f".Manager: {sentence}")


@pytest.mark.parametrize("wrong", [7, "timing", {"a": 1}, Async()])
def test_what_is_no_list_of_middleware_is_refused_when_it_is_declared(wrong: Any) -> None:
    with pytest.raises(DeclarationError) as refusal:
        SocketsManager(middleware=wrong)
    assert str(refusal.value) == (
        f"SocketsManager: middleware is a list of functions, not {wrong!r}"
    )


@dataclass
class Counting:
    """Middleware with a state, and without a hash."""

    calls: list[str] = field(default_factory=list)

    async def __call__(self, call: Call, next: Next) -> Any:
        self.calls.append(call.method)
        return await next(call)

    async def method(self, call: Call, next: Next) -> Any:
        return await self(call, next)


async def test_an_object_a_method_and_a_partial_function_are_middleware_too(
    served: Served,
) -> None:
    one, other, third = Counting(), Counting(), Counting()  # equal, and not the same

    async def with_an_option(to: Counting, call: Call, next: Next) -> Any:
        return await to(call, next)

    async with peer(
        await served.start(one, other.method, partial(with_an_option, third))
    ) as client:
        assert await client.call("echo") == {}
        await stream(client, {"to": 1})
    assert one.calls == other.calls == third.calls == ["echo", "count"]


async def test_a_subclass_of_an_endpoint_keeps_its_middleware_or_has_its_own(
    serve: Serve,
) -> None:
    log: list[str] = []

    class Base(Endpoint):
        middleware: ClassVar[Sequence[Middleware]] = [named("base", log)]

        async def ws_rpc_echo(self, payload: Payload) -> Payload:
            return payload

    class Keeping(Base):
        pass

    class Adding(Base):
        middleware = (*Base.middleware, named("adding", log))

    for endpoint, names in ((Keeping, ["base"]), (Adding, ["base", "adding"])):
        async with peer(await serve(application(endpoint)) / "stream") as client:
            log.clear()
            await client.call("echo")
        assert log == [f"into {n}" for n in names] + [f"out of {n}" for n in reversed(names)]


async def test_a_subclass_of_the_manager_may_have_middleware_in_its_class(served: Served) -> None:
    class Around(SocketsManager):
        middleware = (named("around", served.log),)

    class Bare(Around):
        def __init__(self) -> None:
            pass

    class Fresh(Target):
        log = served.log

    for sockets in (Around(), Around(limits=Limits(calls=1)), Bare()):
        url = await served._serve(application(Fresh, sockets)) / "stream"
        async with peer(url) as client:
            served.log.clear()
            await client.call("echo")
            assert served.log == ["into around", "echo", "out of around"]


async def test_what_is_given_takes_the_place_of_what_the_class_has(served: Served) -> None:
    class Around(SocketsManager):
        middleware: Sequence[Middleware] = [named("around", served.log)]
        limits = Limits(calls=3)
        deflate = True
        origins: Collection[str] | None = ["https://example.com"]

    assert (len(Around().middleware), len(Around(middleware=[]).middleware)) == (1, 0)
    assert (Around().limits.calls, Around(limits=Limits()).limits.calls) == (3, 64)
    assert (Around().deflate, Around(deflate=False).deflate) == (True, False)
    assert Around().origins == ["https://example.com"]
    assert Around(origins=["*"]).origins == ["*"]
