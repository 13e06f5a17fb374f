"""Calls as tasks, on a loop whose order and time the test decides."""

import asyncio
import gc
import json
import logging
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import pytest

from openapi.errors import (
    CallFailed,
    ConnectionClosed,
    ErrorCode,
    InvalidData,
    RpcError,
    UnexpectedData,
    Unserializable,
)
from openapi.protocol.incoming import Incoming
from openapi.protocol.jsonrpc import JSONRPC
from openapi.protocol.limits import Limits
from openapi.protocol.methods import ws_rpc
from openapi.protocol.native import JSON_CLIENT, MSGPACK, MSGPACK_CLIENT, ObjectCodec
from openapi.rpc.asking import deadline
from openapi.rpc.peer import Peer
from openapi.rpc.running import current
from tests.rpc.pair import Pair
from tests.shuffled import run, running_loop

Payload = dict[str, Any]
SEEDS = range(5)


def each_order(scenario: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[int], None]:
    """Run a test in a few orders of its events."""

    @pytest.mark.parametrize("seed", SEEDS)
    def test(seed: int) -> None:
        run(seed, scenario)

    test.__doc__ = scenario.__doc__
    return test


@dataclass
class Total:
    """A sum."""

    sum: int


class Handlers:
    """Handlers that note what happens to them."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.gate = asyncio.Event()
        self.peer: Peer | None = None

    async def ws_rpc_add(self, payload: Payload) -> Total:
        """Add"""
        return Total(payload["a"] + payload["b"])

    async def ws_rpc_wait(self, payload: Payload) -> Any:
        """Wait for the gate"""
        self.log.append("begun")
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.log.append("cancelled")
            raise
        self.log.append("ended")
        return payload

    @ws_rpc(shield=True)
    async def ws_rpc_pay(self, payload: Payload) -> Any:
        """Wait for the gate, come what may"""
        return await self.ws_rpc_wait(payload)

    @ws_rpc(shield=True)
    async def ws_rpc_leave(self, payload: Payload) -> Any:
        """End the connection in the first step"""
        assert self.peer is not None
        self.peer.end(1000)
        self.log.append("left")
        return await self.ws_rpc_wait(payload)

    async def ws_rpc_exits(self, payload: Payload) -> None:
        """Raise what a generator gets when it is closed"""
        raise GeneratorExit

    @ws_rpc(lane=True)
    async def ws_rpc_queue(self, payload: Payload) -> Any:
        """Wait for the gate, one after another"""
        self.log.append(f"begun {payload['n']}")
        await self.gate.wait()
        return payload["n"]

    async def ws_rpc_refuse(self, payload: Payload) -> None:
        """Refuse"""
        raise RpcError(7, "no", data=payload.get("data"))

    async def ws_rpc_opaque(self, payload: Payload) -> object:
        """Answer what has no form"""
        return object()

    async def ws_rpc_invalid(self, payload: Payload) -> None:
        """Find fault with its payload by itself"""
        raise InvalidData({"name": "taken"})

    async def ws_rpc_awaits_cancelled(self, payload: Payload) -> None:
        """Await a task that somebody cancelled"""
        task = asyncio.get_running_loop().create_future()
        task.cancel()
        await task

    async def ws_rpc_gives_up(self, payload: Payload) -> None:
        """Be cancelled by its own doing"""
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(1)

    async def ws_rpc_remaining(self, payload: Payload) -> Any:
        """How much time is left, now and a second later"""
        running = current()
        assert running is not None
        before = running.remaining
        await asyncio.sleep(1)
        return [before, running.remaining]

    async def ws_rpc_count(self, payload: Payload) -> AsyncIterator[int]:
        """Count to n"""
        try:
            for n in range(payload["n"]):
                self.log.append(f"pulled {n}")
                yield n
        finally:
            await asyncio.sleep(1)
            self.log.append("closed")

    async def ws_rpc_misfit(self, payload: Payload) -> AsyncIterator[int]:
        """Yield what is no integer"""
        yield 1
        yield "two"  # type: ignore[misc] # the fault under test

    @ws_rpc(timeout=3)
    async def ws_rpc_slow_items(self, payload: Payload) -> AsyncIterator[int]:
        """Take longer for each item"""
        try:
            for n in range(10):
                await asyncio.sleep(n)
                yield n
        finally:
            self.log.append("closed")

    async def ws_rpc_deaf(self, payload: Payload) -> AsyncIterator[int]:
        """Yield on though it was cancelled"""
        n = 0
        while True:
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                self.log.append("cancelled")
            n += 1
            yield n


async def items_of(
    peer: Peer, method: str, payload: Payload, *, timeout: float | None = None
) -> tuple[list[int], object]:
    """The items of a stream, and how it ended."""
    items: list[int] = []
    ended: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    await peer.begin(
        method,
        payload,
        ended.set_result,
        item=lambda item: items.append(int(item)),
        timeout=timeout,
    )
    return items, await ended


@each_order
async def test_a_call_is_answered_as_the_type_asked_for() -> None:
    pair = Pair(Handlers())
    total = await pair.client.call("add", {"a": 1, "b": 2}, returns=Total, timeout=5)
    assert total == Total(3)
    pair.end()


@each_order
async def test_msgpack_carries_what_json_cannot() -> None:
    handlers = Handlers()
    pair = Pair(handlers, codecs=(MSGPACK, MSGPACK_CLIENT))
    payload = {"bytes": b"\x00\xff", "big": 2**60}
    waiting = asyncio.create_task(pair.client.call("wait", payload, returns=Any, timeout=None))
    await asyncio.sleep(1)
    handlers.gate.set()
    assert await waiting == payload
    pair.end()


@each_order
async def test_what_goes_wrong_reaches_the_caller_with_its_code() -> None:
    pair = Pair(Handlers())
    codes = {
        "refuse": 7,
        "opaque": ErrorCode.INTERNAL_ERROR,
        "invalid": ErrorCode.INVALID_PARAMETERS,
        "awaits_cancelled": ErrorCode.INTERNAL_ERROR,
        "gives_up": ErrorCode.CANCELLED,
        "nowhere": ErrorCode.METHOD_NOT_FOUND,
    }
    for method, code in codes.items():
        with pytest.raises(CallFailed) as caught:
            await pair.client.call(method, {}, returns=Any, timeout=5)
        assert caught.value.code == code
    with pytest.raises(CallFailed) as caught:  # an error that cannot be written either
        await pair.client.call("refuse", {"data": 1}, returns=Any, timeout=5)
    assert caught.value.data == 1
    pair.end()


@each_order
async def test_a_payload_without_a_form_and_a_response_of_another_type_are_the_callers() -> None:
    pair = Pair(Handlers())
    with pytest.raises(Unserializable):
        await pair.client.call("add", {"a": object()}, returns=Any, timeout=5)
    with pytest.raises(Unserializable, match=r"the payload of 'add' is no object: \[1, 2\]"):
        await pair.client.call("add", [1, 2], returns=Any, timeout=5)
    with pytest.raises(Unserializable, match="the name of a method is a string, 5 is none"):
        pair.client.notify(5, {})  # type: ignore[arg-type] # as somebody may without types
    with pytest.raises(UnexpectedData):
        await pair.client.call("add", {"a": 1, "b": 2}, returns=str, timeout=5)
    with pytest.raises(UnexpectedData, match="stream"):
        await pair.client.call("count", {"n": 3}, returns=Any, timeout=5)
    pair.end()


@each_order
async def test_who_gives_up_is_told_in_words_and_the_handler_is_cancelled() -> None:
    handlers = Handlers()
    pair = Pair(handlers)
    with pytest.raises(TimeoutError, match="'wait' was not answered within 2 seconds"):
        async with deadline(2, "'wait' was not answered"):
            await pair.client.ask("wait", {})
    await asyncio.sleep(1)
    assert handlers.log == ["begun", "cancelled"]
    finals = [frame for frame in pair.to_client.frames() if "error" in frame]
    assert [frame["error"]["code"] for frame in finals] == [ErrorCode.CANCELLED]
    with pytest.raises(TimeoutError, match="mine"):
        async with deadline(2, "it was not answered"):
            raise TimeoutError("mine")
    pair.end()


@each_order
async def test_the_deadline_that_a_caller_tells_is_kept_by_the_server() -> None:
    handlers = Handlers()
    pair = Pair(handlers)
    with pytest.raises(CallFailed) as caught:
        await pair.client.ask("wait", {}, timeout=2)
    assert caught.value.code == ErrorCode.DEADLINE_EXCEEDED
    await asyncio.sleep(1)
    assert handlers.log == ["begun", "cancelled"]
    remaining = pair.client.call
    assert await remaining("remaining", {}, returns=Any, timeout=5) == [5, 4]
    assert await remaining("remaining", {}, returns=Any, timeout=None) == [None, None]
    assert await remaining("remaining", {}, returns=Any, timeout=1e30) == [None, None]
    pair.end()


@each_order
async def test_a_shielded_call_ends_its_work_though_its_caller_and_the_connection_are_gone() -> (
    None
):
    handlers = Handlers()
    pair = Pair(handlers)
    giving_up = asyncio.create_task(pair.client.call("pay", {}, returns=Any, timeout=None))
    expired = asyncio.create_task(pair.client.ask("pay", {}, timeout=1))
    await asyncio.sleep(3)
    giving_up.cancel()
    with pytest.raises(CallFailed):
        await expired
    await asyncio.sleep(1)
    codes = [frame["error"]["code"] for frame in pair.to_client.frames()]
    assert codes == [ErrorCode.DEADLINE_EXCEEDED, ErrorCode.CANCELLED]
    assert pair.server.session.in_flight == 2
    pair.end()
    assert len(pair.outlived) == 2
    handlers.gate.set()
    await asyncio.wait(pair.outlived)
    assert handlers.log == ["begun", "begun", "ended", "ended"]


@each_order
async def test_a_shielded_call_that_ends_its_own_connection_goes_on() -> None:
    handlers = Handlers()
    pair = Pair(handlers)
    handlers.peer = pair.server
    pair.server.receive('{"id": 1, "method": "leave"}')
    await asyncio.sleep(1)
    handlers.gate.set()
    await asyncio.wait(pair.outlived)
    assert handlers.log == ["left", "begun", "ended"]
    assert pair.server.running == 0
    pair.end()


@each_order
async def test_a_shielded_call_with_the_end_right_behind_it_is_worked_on() -> None:
    handlers = Handlers()
    handlers.gate.set()
    pair = Pair(handlers)
    pair.server.receive('{"id": 1, "method": "pay"}')
    pair.end()
    await asyncio.sleep(1)
    assert handlers.log == ["begun", "ended"]
    assert pair.server.running == 0


@each_order
async def test_shielded_work_whose_task_is_cancelled_before_its_first_step_is_let_go_of() -> None:
    pair = Pair(Handlers())
    pair.server.receive('{"id": 1, "method": "pay"}')
    pair.end()
    for task in pair.outlived:
        task.cancel()
    await asyncio.sleep(1)
    assert pair.server.running == 0


@each_order
async def test_what_is_behind_the_end_in_one_batch_leaves_no_timer() -> None:
    handlers = Handlers()
    pair = Pair(handlers, codecs=(JSONRPC, JSON_CLIENT))
    handlers.peer = pair.server
    forever = {"jsonrpc": "2.0", "method": "wait", "params": {}, "timeout": 2**53 - 1}
    calls = [{"jsonrpc": "2.0", "id": 0, "method": "leave", "params": {}}]
    pair.server.receive(json.dumps([*calls, *({**forever, "id": n} for n in range(1, 9))]))
    await asyncio.sleep(1)
    handlers.gate.set()
    await asyncio.sleep(1)
    assert pair.server.running == 0
    assert not [timer for timer in running_loop()._scheduled if not timer.cancelled()]
    pair.end()


@each_order
async def test_a_handler_that_raises_what_ends_generators_is_answered_too() -> None:
    pair = Pair(Handlers())
    with pytest.raises(CallFailed) as caught:
        await pair.client.call("exits", {}, returns=Any, timeout=5)
    assert caught.value.code == ErrorCode.INTERNAL_ERROR
    pair.end()


@each_order
async def test_nobody_owns_what_would_outlive_the_connection_so_it_is_cancelled() -> None:
    handlers = Handlers()
    pair = Pair(object(), handlers)  # the client's side of a pair adopts nothing
    asking = asyncio.create_task(pair.server.call("pay", {}, returns=Any, timeout=None))
    await asyncio.sleep(1)
    pair.end()
    with pytest.raises(ConnectionClosed):
        await asking
    await asyncio.sleep(1)
    assert handlers.log == ["begun", "cancelled"]
    assert pair.client.running == 0


@each_order
async def test_a_call_whose_task_did_not_begin_is_gone_with_the_connection() -> None:
    handlers = Handlers()
    pair = Pair(handlers)
    for id, method in enumerate(["wait", "pay", "count"]):
        pair.server.receive(f'{{"id": {id}, "method": "{method}", "payload": {{"n": 1}}}}')
    said = [*pair.to_client.said]  # of tasks that are started eagerly, an item
    pair.end()
    handlers.gate.set()
    await asyncio.sleep(5)
    assert pair.server.running == 0
    assert pair.to_client.said == said
    count = handlers.log.count
    assert count("begun") == count("cancelled") + count("ended")


@each_order
async def test_a_call_that_is_cancelled_before_its_first_step_is_answered_and_forgotten() -> None:
    handlers = Handlers()
    pair = Pair(handlers)
    pair.server.receive('{"id": 1, "method": "wait"}')
    pair.server.receive('{"id": 1, "cancel": true}')
    await asyncio.sleep(1)
    assert [frame["error"]["code"] for frame in pair.to_client.frames()] == [ErrorCode.CANCELLED]
    assert (pair.server.running, pair.server.session.in_flight) == (0, 0)
    pair.end()


@each_order
async def test_the_next_of_a_lane_that_is_cancelled_as_its_turn_comes_does_not_run() -> None:
    handlers = Handlers()

    def cancel_the_next(call: Incoming) -> None:
        if call.id == 1:
            pair.server.receive('{"id": 2, "cancel": true}')

    pair = Pair(handlers, done=cancel_the_next)
    for n in (1, 2, 3):
        pair.server.receive(f'{{"id": {n}, "method": "queue", "payload": {{"n": {n}}}}}')
    handlers.gate.set()
    await asyncio.sleep(1)
    assert handlers.log == ["begun 1", "begun 3"]
    assert {frame["id"]: "error" in frame for frame in pair.to_client.frames()} == {
        1: False,
        2: True,
        3: False,
    }
    assert (pair.server.running, pair.server.session.in_flight) == (0, 0)
    pair.end()


@each_order
async def test_a_batch_in_one_lane_is_answered_though_its_first_call_ends_at_once() -> None:
    handlers = Handlers()
    handlers.gate.set()
    pair = Pair(handlers, codecs=(JSONRPC, JSON_CLIENT))
    calls = [{"jsonrpc": "2.0", "id": n, "method": "queue", "params": {"n": n}} for n in range(3)]
    pair.server.receive(json.dumps(calls))
    await asyncio.sleep(1)
    assert handlers.log == ["begun 0", "begun 1", "begun 2"]
    (answers,) = map(json.loads, pair.to_client.said)
    assert [answer["result"] for answer in answers] == [0, 1, 2]
    assert (pair.server.running, pair.server.session.in_flight) == (0, 0)
    pair.end()


@each_order
async def test_a_batch_that_cancels_what_is_held_before_it_calls_in_the_same_lane_is_answered() -> (
    None
):
    handlers = Handlers()
    handlers.gate.set()
    pair = Pair(handlers, codecs=(JSONRPC, JSON_CLIENT))
    pair.server.pause()
    call = {"jsonrpc": "2.0", "method": "queue"}
    pair.server.receive(json.dumps({**call, "id": 1, "params": {"n": 1}}))
    cancel = {"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": 1}}
    pair.server.receive(json.dumps([cancel, {**call, "id": 2, "params": {"n": 2}}]))
    pair.server.resume()
    await asyncio.sleep(1)
    assert handlers.log == ["begun 2"]
    assert len(pair.to_client.said) == 2
    assert (pair.server.running, pair.server.session.in_flight) == (0, 0)
    pair.end()


@each_order
async def test_a_dialect_that_cannot_say_what_went_wrong_ends_the_work_all_the_same() -> None:
    def written(message: dict[str, Any]) -> str:
        if "error" in message or "cancel" in message:
            raise ValueError("it has no word for that")
        return json.dumps(message)

    own = ObjectCodec(json.loads, written)
    handlers, asked = Handlers(), Handlers()
    pair = Pair(handlers, asked, codecs=(own, JSON_CLIENT))
    pair.server.receive('{"id": 1, "method": "wait", "timeout": 1000}')
    asking = asyncio.create_task(pair.server.call("wait", {}, returns=Any, timeout=None))
    await asyncio.sleep(3)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert handlers.log == ["begun", "cancelled"]
    assert (pair.server.running, pair.server.session.in_flight) == (0, 0)
    pair.end()


@each_order
async def test_a_long_lane_of_short_calls_goes_no_deeper_with_each() -> None:
    handlers = Handlers()
    handlers.gate.set()
    pair = Pair(handlers, limits=Limits(calls=5000))
    for n in range(5000):
        pair.server.receive(f'{{"id": {n}, "method": "queue", "payload": {{"n": {n}}}}}')
    await asyncio.sleep(1)
    assert [frame["response"] for frame in pair.to_client.frames()] == list(range(5000))
    pair.end()


@each_order
async def test_calls_that_are_held_run_in_their_order_and_can_be_cancelled_and_expire() -> None:
    handlers = Handlers()
    pair = Pair(handlers)
    pair.server.pause()
    pair.server.receive('{"id": 1, "method": "add", "payload": {"a": 1, "b": 1}}')
    pair.server.receive('{"id": 2, "method": "wait"}')
    pair.server.receive('{"id": 3, "method": "wait", "timeout": 1000}')
    pair.server.receive('{"id": 4, "method": "queue", "payload": {"n": 4}}')
    pair.server.receive('{"id": 5, "method": "queue", "payload": {"n": 5}}')
    pair.server.receive('{"id": 2, "cancel": true}')
    pair.server.receive('{"id": 4, "cancel": true}')
    await asyncio.sleep(2)
    assert handlers.log == []
    codes = {frame["id"]: frame["error"]["code"] for frame in pair.to_client.frames()}
    cancelled = ErrorCode.CANCELLED
    assert codes == {2: cancelled, 3: ErrorCode.DEADLINE_EXCEEDED, 4: cancelled}
    assert pair.server.running == 2
    handlers.gate.set()
    pair.server.resume()
    await asyncio.sleep(1)
    assert handlers.log == ["begun 5"]
    assert {frame["id"] for frame in pair.to_client.frames()} == {1, 2, 3, 4, 5}
    assert pair.server.running == 0
    pair.end()


@each_order
async def test_the_end_forgets_calls_that_are_held() -> None:
    pair = Pair(Handlers())
    pair.server.pause()
    pair.server.receive('{"id": 1, "method": "add", "payload": {"a": 1, "b": 1}}')
    pair.end()
    pair.server.resume()
    await asyncio.sleep(1)
    assert (pair.server.running, pair.to_client.said) == (0, [])


@each_order
async def test_items_come_in_order_and_the_generator_is_closed_before_the_call_is_done() -> None:
    handlers = Handlers()
    pair = Pair(handlers)
    items, ended = await items_of(pair.client, "count", {"n": 100})
    assert (items, ended) == (list(range(100)), b"null")
    assert [frame.get("seq") for frame in pair.to_client.frames()] == [*range(1, 101), None]
    assert handlers.log[-1] == "closed"
    pair.end()


@each_order
async def test_a_stream_is_pulled_only_while_there_is_room() -> None:
    handlers = Handlers()
    full: list[asyncio.Event] = []

    def room() -> Coroutine[Any, Any, object] | None:
        if len(full) < 3 and handlers.log[-1:] == [f"pulled {len(full)}"]:
            full.append(asyncio.Event())
            return full[-1].wait()
        return None

    pair = Pair(handlers, room=room)
    reading = asyncio.create_task(items_of(pair.client, "count", {"n": 5}))
    for pulled in (1, 2, 3):
        await asyncio.sleep(5)
        assert len([line for line in handlers.log if line != "closed"]) == pulled
        full[-1].set()
    assert (await reading)[0] == [0, 1, 2, 3, 4]
    pair.end()


@each_order
async def test_items_of_streams_that_were_pulled_at_once_wait_for_room_one_by_one() -> None:
    handlers = Handlers()
    full = asyncio.Event()

    def room() -> Coroutine[Any, Any, object] | None:
        return full.wait() if pair.to_client.said and not full.is_set() else None

    pair = Pair(handlers, room=room)
    for id in range(9):
        pair.server.receive(f'{{"id": {id}, "method": "count", "payload": {{"n": 3}}}}')
    await asyncio.sleep(5)
    assert len(pair.to_client.said) == 1
    full.set()
    await asyncio.sleep(5)
    assert len(pair.to_client.said) == 9 * 4
    pair.end()


@each_order
async def test_a_stream_that_is_cancelled_while_it_waits_for_room_is_closed_by_its_own_task() -> (
    None
):
    handlers = Handlers()
    never, logs = asyncio.Event(), list[list[str]]()
    pair = Pair(
        handlers,
        room=lambda: never.wait() if handlers.log else None,
        done=lambda call: logs.append([*handlers.log]),
    )
    pair.server.receive('{"id": 1, "method": "count", "payload": {"n": 9}}')
    await asyncio.sleep(2)
    assert handlers.log == ["pulled 0"]
    pair.server.receive('{"id": 1, "cancel": true}')
    await asyncio.sleep(2)
    assert logs == [["pulled 0", "closed"]]
    pair.end()


@each_order
async def test_a_generator_that_would_not_hear_of_its_end_is_closed_all_the_same() -> None:
    handlers = Handlers()
    pair = Pair(handlers)
    pair.server.receive('{"id": 1, "method": "deaf"}')
    await asyncio.sleep(2.5)
    pair.server.receive('{"id": 1, "cancel": true}')
    await asyncio.sleep(5)
    assert handlers.log == ["cancelled"]
    assert (pair.server.running, pair.server.session.in_flight) == (0, 0)
    assert [frame.get("seq") for frame in pair.to_client.frames()] == [1, 2, None]
    pair.end()


@each_order
async def test_an_item_of_a_wrong_type_ends_the_stream_behind_those_that_were_right() -> None:
    pair = Pair(Handlers())
    items, ended = await items_of(pair.client, "misfit", {})
    assert items == [1]
    assert isinstance(ended, CallFailed)
    assert ended.code == ErrorCode.INTERNAL_ERROR
    pair.end()


@each_order
async def test_the_deadline_of_a_stream_begins_anew_with_each_item() -> None:
    handlers = Handlers()
    pair = Pair(handlers)
    items, ended = await items_of(pair.client, "slow_items", {})
    assert items == [0, 1, 2]  # these took three seconds together, the next takes them alone
    assert isinstance(ended, CallFailed)
    assert ended.code == ErrorCode.DEADLINE_EXCEEDED
    await asyncio.sleep(1)
    assert handlers.log == ["closed"]
    pair.end()


@each_order
async def test_time_in_which_there_is_no_room_is_not_the_handlers() -> None:
    handlers = Handlers()
    opened = asyncio.Event()
    asyncio.get_running_loop().call_later(100, opened.set)
    pair = Pair(handlers, room=lambda: None if opened.is_set() else opened.wait())
    items, _ = await items_of(pair.client, "slow_items", {})
    assert items == [0, 1, 2]
    pair.end()


@each_order
async def test_who_asks_too_much_waits_and_all_places_come_back() -> None:
    handlers = Handlers()
    pair = Pair(handlers, limits=Limits(asked=2, calls=2))
    tasks = [
        asyncio.create_task(pair.client.call("wait", {"n": n}, returns=Any, timeout=None))
        for n in range(6)
    ]
    await asyncio.sleep(1)
    assert len(pair.to_server.said) == 2
    tasks[3].cancel()  # it waits for its turn
    await asyncio.sleep(1)
    tasks[0].cancel()  # it runs
    await asyncio.sleep(1)
    handlers.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(result, asyncio.CancelledError) for result in results] == [
        n in (0, 3) for n in range(6)
    ]
    assert await pair.client.call("wait", {}, returns=Any, timeout=5) == {}
    pair.end()
    for _ in range(4):  # each gives its place back
        with pytest.raises(ConnectionClosed):
            await pair.client.call("wait", {}, returns=Any, timeout=None)


@each_order
async def test_a_notification_runs_and_is_never_answered() -> None:
    handlers = Handlers()
    pair = Pair(handlers)
    pair.client.notify("wait", None)
    pair.client.notify("count", {"n": 3})
    pair.client.notify("refuse", None)
    await asyncio.sleep(1)
    handlers.gate.set()
    await asyncio.sleep(5)
    assert "ended" in handlers.log
    assert "closed" in handlers.log
    assert pair.to_client.said == []
    pair.end()
    with pytest.raises(ConnectionClosed):
        pair.client.notify("wait", {})


@each_order
async def test_a_call_that_waited_for_another_has_nothing_of_its_context() -> None:
    whose: ContextVar[str] = ContextVar("whose", default="the connection's")
    seen: list[str] = []

    class Visitors:
        @ws_rpc(lane=True)
        async def ws_rpc_visit(self, payload: Payload) -> None:
            """Look whose context it is, and leave a name in it"""
            seen.append(whose.get())
            whose.set("another call's")
            await asyncio.sleep(payload["seconds"])

    pair = Pair(Visitors())
    for seconds in (0, 1, 0):
        pair.client.notify("visit", {"seconds": seconds})
    await asyncio.sleep(5)
    assert seen == ["the connection's"] * 3
    pair.end()


@each_order
async def test_a_dialect_with_a_fault_of_its_own_ends_the_work_and_the_log_says_so() -> None:
    def written(message: dict[str, Any]) -> str:
        raise ZeroDivisionError("a fault of the dialect's own")

    pair = Pair(Handlers(), codecs=(ObjectCodec(json.loads, written), JSON_CLIENT))
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign,assignment] # only to see them
    log = logging.getLogger("openapi.rpc.peer")
    log.addHandler(handler)
    pair.server.receive('{"id": 1, "method": "refuse"}')
    await asyncio.sleep(1)
    log.removeHandler(handler)
    assert [record.getMessage() for record in records] == ["a call could not be answered"]
    assert (pair.server.running, pair.server.session.in_flight) == (0, 0)
    pair.end()


@each_order
async def test_a_connection_whose_calls_are_over_keeps_no_tables_of_theirs() -> None:
    pair = Pair(Handlers())
    for _ in range(2):
        await pair.client.call("add", {"a": 1, "b": 2}, returns=Total, timeout=5)
    empty = sys.getsizeof({})
    server, client = pair.server, pair.client
    tables = [
        server._running,
        server.session._taken,
        server.session.calls,
        client.session.pending._calls,
    ]
    assert [sys.getsizeof(table) for table in tables] == [empty] * 4
    assert server.session._lanes is None
    pair.end()


@pytest.mark.parametrize("later", [False, True])
def test_a_handler_that_exits_ends_the_loop_and_nothing_else_is_reported(later: bool) -> None:
    class Exits:
        async def ws_rpc_exit(self, payload: Payload) -> None:
            """Exit, later or at once"""
            if later:
                await asyncio.sleep(0)
            raise SystemExit(3)

    reports: list[dict[str, Any]] = []
    pairs: list[Pair] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, report: reports.append(report))
        pairs.append(Pair(Exits()))
        pairs[0].server.receive('{"id": 1, "method": "exit"}')
        await asyncio.Event().wait()

    with pytest.raises(SystemExit):
        asyncio.run(main())
    assert (pairs[0].server.running, pairs[0].server.session.in_flight) == (0, 0)
    gc.collect()
    assert reports == []
