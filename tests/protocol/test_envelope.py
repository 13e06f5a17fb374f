"""Messages between processes: what is written is read, and nothing else is taken for a message."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openapi.errors import Unserializable
from openapi.protocol.envelope import VERSION, Envelope, Unreadable
from openapi.protocol.publication import Data
from openapi.protocol.stream import Position

MOST = 10_000

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def read(raw: bytes, most: int = MOST) -> Envelope:
    return Envelope.read(raw, most=most)


def body(*parts: object) -> bytes:
    return b"1\n" + msgspec.msgpack.encode(parts)


@given(
    event=st.text(),
    data=JSON | st.binary() | st.datetimes(timezones=st.just(None) | st.timezones()),
)
def test_a_message_is_read_as_it_was_written(event: str, data: object) -> None:
    written = Envelope.write(event, data)
    envelope = read(written, len(written))
    expected = Data.of(data)
    assert (envelope.event, envelope.position, envelope.at) == (event, None, 0.0)
    assert envelope.data.json == expected.json
    assert envelope.data.packed == expected.packed


@given(offset=st.integers(0, 2**53 - 1), at=st.integers(0, 2**42))
def test_a_position_and_a_time_are_read_as_they_were_written(offset: int, at: int) -> None:
    position = Position(offset, "aB3_-")
    envelope = read(Envelope.write("e", 1, position, at / 1000))
    assert (envelope.position, envelope.at) == (position, at / 1000)


def test_the_header_is_text_that_a_script_can_write() -> None:
    assert VERSION == b"1"
    assert Envelope.write("e", 1).startswith(b"1\n")
    assert Envelope.write("e", 1, Position(42, "ab"), 1.5).startswith(b"1 42 ab 1500\n")


def test_messagepack_is_written_only_where_it_does_not_follow_from_the_json_text() -> None:
    raw = {"raw": b"\x00"}
    assert msgspec.msgpack.decode(Envelope.write("e", {"a": [1.0, None]})[2:])[2:] == [None]
    assert msgspec.msgpack.decode(Envelope.write("e", raw)[2:])[2] == msgspec.msgpack.encode(raw)


def test_why_there_is_no_messagepack_is_told_as_it_was() -> None:
    with pytest.raises(Unserializable) as before:
        _ = Data.of(2**70).packed
    with pytest.raises(Unserializable) as behind:
        _ = read(Envelope.write("e", 2**70)).data.packed
    assert str(behind.value) == str(before.value)


def test_what_has_no_json_form_is_not_written() -> None:
    with pytest.raises(Unserializable):
        Envelope.write("e", object())


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "version"),
        (b"1", "version"),
        (b"2\n" + body("e", b"1", None)[2:], "version"),
        (b"\n" + body("e", b"1", None)[2:], "version"),
        (b"1" * 200 + b"\n", "version"),
        (b"1 \n\x94", "position"),
        (b"1 1 e\n\x94", "position"),
        (b"1 1 e 1 1\n\x94", "position"),
        (b"1 x e 1\n\x94", "position"),
        (b"1 -1 e 1\n\x94", "position"),
        (b"1 9007199254740992 e 1\n\x94", "position"),
        (b"1 1 \xff 1\n\x94", "position"),
        (b"1 1 e 1.5\n\x94", "position"),
        (b"1\n", "body"),
        (body(), "body"),
        (body("e", b"1"), "body"),
        (body("e", b"1", None, None), "body"),
        (body(1, b"1", None), "body"),
        (body("e", "1", None)[:-1], "body"),
        (body("e", b"1", b"\xc1"), "body"),
        (body("e", b"1", b""), "body"),
        (body("e", b"1", b"\x01\x01"), "body"),
        (body("e", b"", None), "JSON"),
        (body("e", b"{", None), "JSON"),
        (body("e", b"NaN", None), "JSON"),
        (body("e", b"1 1", None), "JSON"),
        (body("e", b'"\xff"', None), "JSON"),
        (body("e", b"[" * 5000 + b"]" * 5000, None)[:MOST], "body"),
    ],
)
def test_what_is_no_message_is_refused_and_says_why(raw: bytes, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        read(raw)


def test_what_is_larger_than_may_be_is_refused_before_it_is_looked_at() -> None:
    written = Envelope.write("e", "x" * 100)
    assert read(written, len(written)).event == "e"
    with pytest.raises(Unreadable, match=f"{len(written)} bytes, more than {len(written) - 1}"):
        read(written, len(written) - 1)


def test_data_that_is_nested_too_deeply_is_refused() -> None:
    with pytest.raises(Unreadable, match="JSON"):
        read(body("e", b"[" * 100_000 + b"]" * 100_000, None), most=300_000)


@given(st.binary(max_size=60))
def test_whatever_comes_is_a_message_or_unreadable(raw: bytes) -> None:
    for each in (raw, b"1\n" + raw, b"1\n\x94\xa1e" + raw):
        try:
            envelope = read(each)
        except Unreadable as exc:
            assert str(exc)
        else:
            assert isinstance(envelope.data.json, bytes)
