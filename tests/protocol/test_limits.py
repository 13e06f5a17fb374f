"""Every bound by attack: what is at the limit passes, and one more gets its code.

Those that take a clock or a transport are attacked where these are: ``outbox_bytes``,
``ping_interval``, ``pong_timeout``, ``close_timeout`` and ``drain_window`` in ``tests/ws``.
"""

import json
import re
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from openapi.errors import CloseCode, ErrorCode
from openapi.protocol.limits import Limits
from openapi.protocol.methods import MethodTable
from openapi.protocol.session import Incoming, Session
from openapi.protocol.websocket import Broken, Event, TooBig, WebSocket, xor

KEY = b"\x01\x02\x03\x04"


class Methods:
    """What the peer may call."""

    async def ws_rpc_echo(self, payload: dict[str, Any]) -> Any:
        """Never run here."""


def session(limits: Limits) -> tuple[Session, list[Any]]:
    """A session, and what it sent."""
    sent: list[Any] = []
    table = MethodTable.of(Methods)
    return Session(table, send=lambda frame: sent.append(json.loads(frame)), limits=limits), sent


def socket(limits: Limits) -> WebSocket:
    """A parser with these limits."""
    return WebSocket(
        max_message=limits.message_bytes,
        discard=limits.discard_bytes,
        max_fragments=limits.fragments,
    )


def frame(payload: bytes, first: int = 0x81) -> bytes:
    """A frame as a client writes it."""
    size = len(payload)
    if size < 126:
        length = bytes((0x80 | size,))
    elif size < 1 << 16:
        length = b"\xfe" + size.to_bytes(2)
    else:
        length = b"\xff" + size.to_bytes(8)
    return bytes((first,)) + length + KEY + xor(KEY, payload)


def fragmented(count: int) -> bytes:
    """A message of so many fragments of one byte."""
    frames = [frame(b"x", 0x01)] + [frame(b"x", 0x00)] * (count - 2) + [frame(b"x", 0x80)]
    return b"".join(frames)


def nested(depth: int) -> str:
    """A call that is nested so deep, its envelope included."""
    inner = depth - 2
    return '{"id": 1, "method": "echo", "payload": {"x": ' + "[" * inner + "]" * inner + "}}"


def test_the_defaults_are_those_of_the_contract() -> None:
    limits = Limits()

    assert (limits.message_bytes, limits.discard_bytes) == (64 * 1024, 1024 * 1024)
    assert (limits.fragments, limits.json_depth, limits.calls) == (256, 64, 64)
    assert (limits.channels, limits.patterns, limits.name_bytes) == (128, 16, 255)
    assert (limits.outbox_bytes, limits.errors) == (1024 * 1024, 100)
    assert (limits.ping_interval, limits.pong_timeout) == (25.0, 10.0)
    assert (limits.close_timeout, limits.drain_window) == (5.0, 30.0)


def test_limits_are_given_by_name_and_do_not_change() -> None:
    limits = Limits(calls=5)

    assert replace(limits, errors=1) == Limits(calls=5, errors=1)
    with pytest.raises(FrozenInstanceError):
        setattr(limits, "calls", 6)  # noqa: B010 # a plain assignment is refused by mypy already
    with pytest.raises(TypeError):
        Limits(5)  # type: ignore[call-arg] # what is being tested


@pytest.mark.parametrize("limit", [10, 125, 126, 65_535, 64 * 1024])
def test_message_bytes(limit: int) -> None:
    limits = Limits(message_bytes=limit)

    assert socket(limits).receive(frame(b"x" * limit)) == ["x" * limit]
    assert socket(limits).receive(frame(b"x" * (limit + 1))) == [TooBig(limit + 1)]

    talk, sent = session(limits)
    talk.oversized(limit + 1)
    assert sent[0]["error"]["code"] == ErrorCode.LIMIT_EXCEEDED
    assert sent[0]["error"]["data"] == {"limit": "message_bytes", "max": limit, "size": limit + 1}


@pytest.mark.parametrize("limit", [1000, 1024 * 1024])
def test_discard_bytes(limit: int) -> None:
    limits = Limits(message_bytes=100, discard_bytes=limit)

    assert socket(limits).receive(frame(b"x" * limit)) == [TooBig(limit)]
    assert _broken(socket(limits).receive(frame(b"x" * (limit + 1)))) == CloseCode.TOO_BIG


@pytest.mark.parametrize("limit", [2, 256])
def test_fragments(limit: int) -> None:
    limits = Limits(fragments=limit)

    assert socket(limits).receive(fragmented(limit)) == ["x" * limit]
    assert _broken(socket(limits).receive(fragmented(limit + 1))) == CloseCode.TOO_BIG


@pytest.mark.parametrize("limit", [3, 64, 300])
def test_json_depth(limit: int) -> None:
    talk, sent = session(Limits(json_depth=limit))

    assert talk.receive(nested(limit)) is not None
    assert talk.receive(nested(limit + 1)) is None

    assert sent == [
        {
            "id": 1,
            "method": "echo",
            "error": {
                "code": ErrorCode.LIMIT_EXCEEDED,
                "message": f"The message is nested more than {limit} deep",
                "data": {"limit": "json_depth", "max": limit},
            },
        }
    ]


@pytest.mark.parametrize("limit", [1, 64])
def test_calls(limit: int) -> None:
    talk, sent = session(Limits(calls=limit))
    calls = [_call(talk, n) for n in range(limit)]

    assert all(calls)
    assert _call(talk, limit) is None
    assert sent[0]["error"] == {
        "code": ErrorCode.TOO_MANY_CALLS,
        "message": f"{limit} calls are in flight, wait for an answer before the next",
        "data": {"limit": "calls", "max": limit},
    }
    assert calls[0] is not None
    talk.answer(calls[0], b"1")
    assert _call(talk, limit) is not None


def test_notifications_are_calls_in_flight_too() -> None:
    talk, sent = session(Limits(calls=2))
    notification = _call(talk, None)
    assert notification is not None
    assert _call(talk, 1) is not None

    assert _call(talk, None) is None
    assert talk.dropped == 1
    assert _call(talk, 2) is None
    assert len(sent) == 1

    talk.answer(notification, b"1")
    assert _call(talk, 2) is not None


def test_errors_are_counted_for_whoever_closes() -> None:
    talk, _ = session(Limits(errors=3))

    for _ in range(4):
        talk.receive("rubbish")

    assert talk.failures == 4


def _call(talk: Session, id: int | None) -> Incoming | None:
    return talk.receive(json.dumps({"id": id, "method": "echo"}))


def _broken(events: list[Event]) -> int:
    [event] = events
    assert isinstance(event, Broken)
    return event.code


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"calls": 0}, "Limits.calls must be an integer from 1, not 0"),
        ({"outbox_bytes": -1}, "Limits.outbox_bytes must be an integer from 1, not -1"),
        ({"errors": 1.5}, "Limits.errors must be an integer from 1, not 1.5"),
        ({"channels": True}, "Limits.channels must be an integer from 1, not True"),
        ({"pong_timeout": 0}, "Limits.pong_timeout must be more than 0 seconds, not 0"),
        ({"close_timeout": None}, "Limits.close_timeout must be more than 0 seconds, not None"),
        (
            {"drain_window": float("inf")},
            "Limits.drain_window must be more than 0 seconds, not inf",
        ),
        ({"ping_interval": -5}, "Limits.ping_interval must be more than 0 seconds, not -5"),
    ],
)
def test_a_bound_that_bounds_nothing_is_refused(wrong: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        Limits(**wrong)


def test_pings_can_be_turned_off() -> None:
    assert Limits(ping_interval=None).ping_interval is None
