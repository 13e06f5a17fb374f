"""Every bound by attack: what is at the limit passes, and one more gets its code.

Those that take a clock, a loop or a transport are attacked where these are: ``outbox_bytes``,
``ping_interval``, ``pong_timeout``, ``close_timeout``, ``drain_window`` and ``shielded`` in
``tests/ws``, ``asked`` in ``tests/rpc``. ``batch`` is in ``test_batches.py``.
"""

import re
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from openapi.errors import CloseCode, ErrorCode
from openapi.protocol.frames import Codec
from openapi.protocol.limits import Limits
from openapi.protocol.native import JSON, JSON_CLIENT, MSGPACK, MSGPACK_CLIENT
from openapi.protocol.websocket import Broken, Event, TooBig, WebSocket, xor
from tests.protocol.talk import Talk

KEY = b"\x01\x02\x03\x04"


def socket(limits: Limits) -> WebSocket:
    """A parser with these limits."""
    return WebSocket(
        message_bytes=limits.message_bytes,
        discard_bytes=limits.discard_bytes,
        fragments=limits.fragments,
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


def nested(depth: int) -> dict[str, Any]:
    """A call that is nested so deep, its envelope included."""
    inner: Any = 1
    for _ in range(depth - 1):
        inner = {"x": inner}
    return {"id": 1, "method": "echo", "payload": inner}


def test_the_defaults_are_those_of_the_contract() -> None:
    limits = Limits()

    assert (limits.message_bytes, limits.discard_bytes) == (64 * 1024, 1024 * 1024)
    assert (limits.fragments, limits.json_depth, limits.calls) == (256, 64, 64)
    assert (limits.call_timeout, limits.batch) == (None, 64)
    assert (limits.shielded, limits.asked) == (1000, 64)
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

    talk = Talk(limits)
    talk.session.oversized(limit + 1)
    error = talk.error()
    assert error["code"] == ErrorCode.LIMIT_EXCEEDED
    assert error["data"] == {"limit": "message_bytes", "max": limit, "size": limit + 1}


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
@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=["json", "msgpack"])
def test_json_depth(limit: int, codec: Codec) -> None:
    talk = Talk(Limits(json_depth=limit), codec)

    assert len(talk.say(nested(limit))) == 1
    assert talk.say(nested(limit + 1)) == []

    assert talk.sent() == [
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
    assert talk.session.failures == 1


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=["json", "msgpack"])
def test_the_depth_of_whatever_comes_is_bounded(codec: Codec) -> None:
    talk = Talk(Limits(json_depth=3), codec)

    assert talk.say({"id": 1, "cancel": True, "x": nested(3)}) == []
    assert talk.say([nested(3)]) == []  # what it is at all is said first

    assert [frame["error"]["code"] for frame in talk.sent()] == [
        ErrorCode.LIMIT_EXCEEDED,
        ErrorCode.INVALID_REQUEST,
    ]
    assert talk.session.failures == 2


@pytest.mark.parametrize("frame", [{"channel": "c", "event": "e"}, {"event": "$reconnect"}])
@pytest.mark.parametrize("codec", [JSON_CLIENT, MSGPACK_CLIENT], ids=["json", "msgpack"])
def test_what_is_nested_too_deeply_for_a_client_is_ignored(
    codec: Codec, frame: dict[str, Any]
) -> None:
    talk = Talk(Limits(json_depth=3), codec)
    data = {"after": 1, "code": 1012}

    assert len(talk.say({**frame, "data": {**data, "x": {}}})) == 1
    assert talk.say({**frame, "data": {**data, "x": {"y": {}}}}) == []

    assert (talk.sent(), talk.session.failures, talk.session.ignored) == ([], 1, 1)


@pytest.mark.parametrize("limit", [1, 64])
def test_calls(limit: int) -> None:
    talk = Talk(Limits(calls=limit))
    calls = [talk.run(n) for n in range(limit)]

    assert talk.ask(limit) is None
    assert talk.error() == {
        "code": ErrorCode.TOO_MANY_CALLS,
        "message": f"{limit} calls are in flight, wait for an answer before the next",
        "data": {"limit": "calls", "max": limit},
    }

    talk.session.answer(calls[0], b"1")
    assert talk.ask(limit) is None  # it works on, and cleans up
    talk.session.done(calls[0])
    assert talk.ask(limit) is not None


def test_notifications_and_calls_that_wait_are_calls_in_flight_too() -> None:
    talk = Talk(Limits(calls=3))
    notification = talk.run(None)
    talk.run(1, "alone")
    talk.run(2, "alone")

    assert talk.ask(None) is None
    assert talk.session.dropped == 1
    assert talk.ask(3) is None
    assert talk.ask(3, "alone") is None
    assert [frame["id"] for frame in talk.sent()] == [3, 3]

    talk.session.done(notification)
    assert talk.ask(3) is not None


def test_streams_are_calls_in_flight_too() -> None:
    talk = Talk(Limits(calls=1))
    stream = talk.run(1, "tail")
    talk.session.item(stream, b"1", 1)

    assert talk.ask(2) is None


def test_errors_are_counted_for_whoever_closes() -> None:
    talk = Talk(Limits(errors=3))

    for _ in range(4):
        talk.say("rubbish")

    assert talk.session.failures == 4


def _broken(events: list[Event]) -> int:
    [event] = events
    assert isinstance(event, Broken)
    return event.code


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"batch": 0}, "Limits.batch must be an integer from 1, not 0"),
        ({"call_timeout": 0}, "Limits.call_timeout must be more than 0 seconds, not 0"),
        ({"call_timeout": "1"}, "Limits.call_timeout must be more than 0 seconds, not '1'"),
        ({"call_timeout": True}, "Limits.call_timeout must be more than 0 seconds, not True"),
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


def test_pings_and_the_deadline_of_all_calls_can_be_turned_off() -> None:
    limits = Limits(ping_interval=None, call_timeout=None)

    assert (limits.ping_interval, limits.call_timeout) == (None, None)
