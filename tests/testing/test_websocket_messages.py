"""Which bytes are a message, however they are cut."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openapi.protocol.framing import CLOSE, CONTINUATION, FIN, MASKED, PING, PONG, TEXT
from openapi.testing.websocket_messages import Protocol, Speech, handshake_in


def frame(opcode: int, payload: bytes, *, masked: bool, fin: bool = True) -> bytes:
    """A frame of either end."""
    size, mask = len(payload), MASKED if masked else 0
    if size < 126:
        length = bytes([mask | size])
    elif size < 1 << 16:
        length = bytes([mask | 126]) + size.to_bytes(2)
    else:
        length = bytes([mask | 127]) + size.to_bytes(8)
    key = b"\x81\x01\x7e\xff" if masked else b""
    return bytes([opcode | (FIN if fin else 0)]) + length + key + payload


def speech(*times: int) -> tuple[Speech, Iterator[int]]:
    """One end that speaks WebSocket, and how often its messages are to come."""
    left = iter(times)
    one = Speech(lambda: next(left))
    one.protocol = Protocol.WEBSOCKET
    return one, left


sizes = st.sampled_from([0, 1, 125, 126, 65535, 65536])
fragments = st.lists(sizes, min_size=1, max_size=3)


@given(data=st.data(), messages=st.lists(st.tuples(fragments, st.integers(0, 2))))
def test_whole_messages_come_as_often_as_they_should_however_the_bytes_are_cut(
    data: st.DataObject, messages: list[tuple[list[int], int]]
) -> None:
    masked = data.draw(st.booleans())
    said, expected = b"", b""
    for number, (parts, times) in enumerate(messages):
        message = b""
        for at, size in enumerate(parts):
            opcode = CONTINUATION if at else TEXT
            piece = frame(opcode, bytes([number]) * size, masked=masked, fin=at == len(parts) - 1)
            message += piece
            said += piece
        expected += message * times
    one, left = speech(*(times for _, times in messages))
    heard = b""
    while said:
        cut = data.draw(st.sampled_from([1, 2, 7, 1000, len(said)]))
        heard += one.carried(said[:cut])
        said = said[cut:]
    assert heard == expected
    assert next(left, None) is None


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
@pytest.mark.parametrize("times", [0, 2])
def test_control_frames_within_a_message_come_once(opcode: int, times: int) -> None:
    one, _ = speech(times)
    first, last = (
        frame(TEXT, b"a", masked=False, fin=False),
        frame(CONTINUATION, b"b", masked=False),
    )
    control = frame(opcode, b"c", masked=False)
    heard = one.carried(first + control + last)
    assert heard == {0: control, 2: first + control + last + first + last}[times]


def test_what_is_carried_once_is_carried_as_it_comes() -> None:
    one, _ = speech(1)
    whole = frame(TEXT, b"abc", masked=True)
    assert [one.carried(bytes([byte])) for byte in whole] == [
        *([b""] * 5),
        whole[:6],
        b"a",
        b"b",
        b"c",
    ]


def test_a_message_is_not_kept_without_end_to_be_said_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("openapi.testing.websocket_messages._COPIED", 100)
    one, _ = speech(2, 2)
    long, short = frame(TEXT, b"x" * 101, masked=False), frame(TEXT, b"y", masked=False)
    assert one.carried(long + short) == long + short + short


def test_http_is_left_alone() -> None:
    one = Speech(lambda: 0)
    assert one.carried(b"GET / HTTP/1.1\r\n\r\n") == b"GET / HTTP/1.1\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (b"HTTP/1.1 101 Switching Protocols\r\nA: b\r\n\r\nrest", 42),
        (b"HTTP/1.1 200 OK\r\n\r\n", 0),
        (b"HTTP/1.1 1015 No\r\n\r\n", 0),
    ],
)
def test_a_handshake_ends_where_the_head_of_its_answer_does(data: bytes, size: int) -> None:
    assert handshake_in(data) == size
