"""A call that the client made, by which of its functions, and what that must come to."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from openapi.client import Client, Stream
from openapi.errors import ConnectionClosed, ErrorCode
from tests.client.vectors.results import (
    ITEMS,
    RETURNS,
    assert_failed,
    item_of,
    position_of,
    result_of,
    type_of,
)
from tests.client.vectors.speech import Way
from tests.client.vectors.subscriber import Subscriber
from tests.client.vectors.tap import Frame

__all__ = ["Call", "begin"]


@dataclass(slots=True, kw_only=True, eq=False)
class Call:
    """A call that the client made.

    ``outcome`` is what it comes to, ``task`` what makes it: to cancel that gives the call up.
    With ``timed`` the client gives it up by itself when its time is over. ``items`` are what was
    read of a stream, ``expected`` what has come.
    """

    way: Way
    method: str
    payload: Frame
    task: asyncio.Task[Any]
    outcome: asyncio.Future[Any]
    timed: bool = False
    cancelled: bool = False
    subscriber: Subscriber | None = None
    items: list[Any] = field(default_factory=list)
    expected: list[Any] = field(default_factory=list)

    @property
    def is_repeated(self) -> bool:
        """Whether it is made again where the server says when, or its connection has ended."""
        return self.way in (Way.HISTORY, Way.PRESENCE) or (
            self.way is Way.PUBLISH and self.payload.get("key") is not None
        )

    async def assert_ended(self, frame: Frame) -> None:
        """See that the application was told what the final frame says."""
        await asyncio.wait([self.outcome])
        if self.cancelled or self.way is Way.LEAVE:
            assert self.outcome.cancelled()
            return
        error = self.outcome.exception()
        expected = [item_of(self.method, item) for item in self.expected]
        if self.timed and isinstance(error, TimeoutError):  # before it was told to
            assert frame["error"]["code"] == ErrorCode.DEADLINE_EXCEEDED
            assert self.items == expected[: len(self.items)]
            return
        if "error" in frame:
            assert_failed(frame["error"], error)
        else:
            response = frame["response"]
            assert self.outcome.result() == result_of(self.way, self.method, response)
            if self.subscriber is not None:
                self.subscriber.agreed(response)
        assert self.items == expected

    async def assert_lost(self, code: int) -> None:
        """See that the application was told that the connection has ended."""
        await asyncio.wait([self.outcome])
        if self.cancelled or self.way is Way.LEAVE:
            assert self.outcome.cancelled()
            return
        error = self.outcome.exception()
        assert isinstance(error, ConnectionClosed)
        assert (error.code, error.may_have_run) == (code, True)
        assert self.items == [item_of(self.method, item) for item in self.expected]


def begin(client: Client, way: Way, method: str, sent: Frame | None, timeout: int | None) -> Call:
    """Call a function of the client's. ``timeout`` is in milliseconds."""
    payload = sent or {}
    seconds = None if timeout is None else timeout / 1000
    if way is Way.SUBSCRIBE:
        subscriber = Subscriber(client, payload, timeout=seconds)
        return Call(
            way=way,
            method=method,
            payload=payload,
            task=subscriber.task,
            outcome=subscriber.opened,
            timed=timeout is not None,
            subscriber=subscriber,
        )
    items: list[Any] = []
    making: Coroutine[Any, Any, Any]
    match way:
        case Way.STREAM:
            kind = ITEMS.get(method, Any)
            making = _read(client.stream(method, sent, type=kind, timeout=seconds), items)
        case Way.PUBLISH:
            making = client.publish(
                payload["channel"],
                payload.get("event") or "",
                payload["data"],
                key=payload.get("key"),
                timeout=seconds,
            )
        case Way.HISTORY:
            making = client.history(
                payload["channel"],
                since=position_of(payload.get("since")),
                limit=payload.get("limit"),
                reverse=payload.get("reverse") is True,
                type=type_of(payload["channel"]),
                timeout=seconds,
            )
        case Way.PRESENCE:
            making = client.presence(payload["channel"], timeout=seconds)
        case _:
            way, kind = Way.CALL, RETURNS.get(method, Any)
            making = client.call(method, sent, returns=kind, timeout=seconds)
    task = asyncio.create_task(making)
    return Call(
        way=way,
        method=method,
        payload=payload,
        task=task,
        outcome=task,
        timed=timeout is not None,
        items=items,
    )


async def _read(stream: Stream[Any], items: list[Any]) -> None:
    async for item in stream:
        items += [item]  # one by one: what came before a failure stays
