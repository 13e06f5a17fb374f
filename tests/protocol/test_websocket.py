import gc
import os
import tracemalloc
import zlib
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openapi.protocol.deflate import Deflate
from openapi.protocol.framing import (
    binary_frame,
    close_frame,
    framer,
    ping_frame,
    pong_frame,
    text_frame,
)
from openapi.protocol.websocket import (
    Broken,
    Closed,
    Event,
    Ping,
    Pong,
    State,
    TooBig,
    WebSocket,
    xor,
)

KEY = b"\x37\xfa\x21\x3d"  # of RFC 6455 section 5.7
DEFLATE = Deflate(12)

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
FIN, COMPRESSED = 0x80, 0x40


def masked(first: int, payload: bytes = b"", *, key: bytes = KEY) -> bytes:
    """Frame as a client does; ``first`` is the header's first byte."""
    size = len(payload)
    if size < 126:
        header = bytes((first, 0x80 | size))
    elif size < 1 << 16:
        header = bytes((first, 0x80 | 126)) + size.to_bytes(2)
    else:
        header = bytes((first, 0x80 | 127)) + size.to_bytes(8)
    return header + key + bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))


def deflated(payload: bytes) -> bytes:
    """Compress as a client does."""
    stream = zlib.compressobj(wbits=-15)
    return (stream.compress(payload) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]


def websocket(
    *,
    message_bytes: int = 1000,
    discard_bytes: int = 10_000,
    fragments: int = 16,
    deflate: Deflate | None = None,
) -> WebSocket:
    return WebSocket(
        message_bytes=message_bytes,
        discard_bytes=discard_bytes,
        fragments=fragments,
        deflate=deflate,
    )


def receive(*data: bytes, deflate: Deflate | None = None) -> list[Event]:
    """Receive on a new connection, all at once."""
    return websocket(deflate=deflate).receive(b"".join(data))


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(position % (len(data) + 1) for position in cuts), len(data)]
    return [data[begin:end] for begin, end in pairwise(edges)]


def told(connection: WebSocket, pieces: list[bytes]) -> list[Event]:
    return [event for piece in pieces for event in connection.receive(piece)]


def state(connection: WebSocket) -> State:
    """Read the state in a way that the type checker does not remember."""
    return connection.state


def breach(*data: bytes, deflate: Deflate | None = None) -> int:
    """Receive what breaks the protocol, which must show in no more than one event, the last."""
    connection = websocket(deflate=deflate)
    *_, event = connection.receive(b"".join(data))
    assert isinstance(event, Broken)
    assert state(connection) is State.CLOSING
    assert connection.receive(masked(FIN | TEXT, b"more")) == []
    assert connection.close(event.code, event.reason) == close_frame(event.code, event.reason)
    assert event.reason.encode() in close_frame(event.code, event.reason)
    assert state(connection) is State.CLOSED
    return event.code


# --- messages -------------------------------------------------------------------------------------


def test_the_masked_message_of_the_rfc_is_read() -> None:
    assert receive(bytes.fromhex("818537fa213d7f9f4d5158")) == ["Hello"]


def test_text_is_a_str_and_binary_is_bytes() -> None:
    assert receive(masked(FIN | TEXT, "grün 🙂".encode()), masked(FIN | BINARY, b"\xff\x00")) == [
        "grün 🙂",
        b"\xff\x00",
    ]


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 125, 126, 127, 1000])
@pytest.mark.parametrize("first", [FIN | TEXT, FIN | BINARY])
def test_messages_of_any_size_are_read(first: int, size: int) -> None:
    payload = bytes(range(128)) * 8
    (event,) = receive(masked(first, payload[:size]))
    assert (event.encode() if isinstance(event, str) else event) == payload[:size]


def test_a_message_with_a_64_bit_length_is_read() -> None:
    payload = os.urandom(70_000)
    assert websocket(message_bytes=70_000).receive(masked(FIN | BINARY, payload)) == [payload]


def test_many_messages_in_one_read_are_read_in_order() -> None:
    texts = [str(number) * number for number in range(200)]
    data = b"".join(masked(FIN | TEXT, text.encode()) for text in texts)
    assert receive(data) == texts


def test_fragments_are_put_together_around_control_frames() -> None:
    assert receive(
        masked(TEXT, b"Hel"),
        masked(FIN | PING, b"here?"),
        masked(CONTINUATION, b""),
        masked(FIN | PONG),
        masked(FIN | CONTINUATION, b"lo"),
        masked(BINARY),
        masked(FIN | CONTINUATION, b"\xff"),
    ) == [Ping(b"here?"), Pong(b""), "Hello", b"\xff"]


def test_a_character_may_be_cut_by_fragments() -> None:
    smile = "🙂".encode()
    assert receive(masked(TEXT, smile[:1]), masked(FIN | CONTINUATION, smile[1:])) == ["🙂"]


def test_messages_may_begin_with_an_empty_fragment() -> None:
    assert receive(masked(TEXT), masked(FIN | CONTINUATION, b"Hello")) == ["Hello"]


def test_a_compressed_message_is_inflated() -> None:
    payload = b'{"id": 1}' * 100
    frames = masked(FIN | COMPRESSED | TEXT, deflated(payload)), masked(FIN | TEXT, b"plain")
    assert receive(*frames, deflate=DEFLATE) == [payload.decode(), "plain"]


def test_a_compressed_message_may_be_fragmented() -> None:
    compressed = deflated(b"Hello" * 10)
    assert receive(
        masked(COMPRESSED | BINARY, compressed[:3]),
        masked(FIN | PING),
        masked(CONTINUATION, compressed[3:]),
        masked(FIN | CONTINUATION),
        deflate=DEFLATE,
    ) == [Ping(b""), b"Hello" * 10]


def test_the_compressed_example_of_the_rfc_without_context_is_read() -> None:
    compressed = bytes.fromhex("f248cdc9c90700")
    frame = masked(FIN | COMPRESSED | TEXT, compressed)
    assert receive(frame, frame, deflate=DEFLATE) == ["Hello", "Hello"]


def test_a_faster_mask_function_is_used_when_given() -> None:
    calls = []

    def unmask(key: bytes, payload: bytes) -> bytes:
        calls.append((key, len(payload)))
        return xor(key, payload)

    connection = WebSocket(message_bytes=100, discard_bytes=100, fragments=1, unmask=unmask)
    frame = masked(FIN | TEXT, b"Hello, world")
    assert connection.receive(frame + frame[:9]) == ["Hello, world"]
    assert connection.receive(frame[9:]) == ["Hello, world"]
    # The key is turned to where the rest of the payload begins.
    assert calls == [(KEY, 12), (KEY, 3), (KEY[3:] + KEY[:3], 9)]


@given(st.binary(min_size=4, max_size=4), st.binary())
def test_masking_is_its_own_inverse(key: bytes, payload: bytes) -> None:
    assert xor(key, payload) == bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))
    assert xor(key, xor(key, payload)) == payload


# --- what breaks the protocol: RFC 6455 section 5 -------------------------------------------------


@pytest.mark.parametrize("first", [FIN | TEXT, FIN | BINARY, TEXT, FIN | PING, FIN | CLOSE])
def test_an_unmasked_frame_is_refused(first: int) -> None:
    assert breach(bytes((first, 2)) + b"hi") == 1002
    assert breach(bytes((first, 0))) == 1002


@pytest.mark.parametrize("bit", [0x40, 0x20, 0x10])
@pytest.mark.parametrize("opcode", [FIN | TEXT, FIN | BINARY, TEXT, FIN | PING, FIN | CLOSE])
def test_reserved_bits_are_refused(opcode: int, bit: int) -> None:
    assert breach(masked(opcode | bit)) == 1002


@pytest.mark.parametrize("bits", [0x20, 0x10, 0x60, 0x50, 0x70])
def test_reserved_bits_beside_compression_are_refused(bits: int) -> None:
    assert breach(masked(FIN | TEXT | bits), deflate=DEFLATE) == 1002


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
def test_a_compressed_control_frame_is_refused(opcode: int) -> None:
    assert breach(masked(FIN | COMPRESSED | opcode), deflate=DEFLATE) == 1002


def test_the_bit_of_compression_on_a_continuation_is_refused() -> None:
    begun = masked(COMPRESSED | TEXT, deflated(b"Hello"))
    assert breach(begun, masked(FIN | COMPRESSED | CONTINUATION), deflate=DEFLATE) == 1002


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF])
@pytest.mark.parametrize("final", [0, FIN])
def test_reserved_opcodes_are_refused(opcode: int, final: int) -> None:
    assert breach(masked(final | opcode)) == 1002


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
def test_a_fragmented_control_frame_is_refused(opcode: int) -> None:
    assert breach(masked(opcode)) == 1002


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
def test_a_control_frame_of_more_than_125_bytes_is_refused_before_it_is_here(opcode: int) -> None:
    assert breach(masked(FIN | opcode, bytes(126))[:2]) == 1002


def test_a_control_frame_of_125_bytes_is_read() -> None:
    assert receive(masked(FIN | PING, bytes(125))) == [Ping(bytes(125))]


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("begun", [b"", b"begun"])
def test_a_new_message_inside_a_fragmented_one_is_refused(opcode: int, begun: bytes) -> None:
    assert breach(masked(TEXT, begun), masked(FIN | opcode, b"new")) == 1002
    assert breach(masked(BINARY, begun), masked(opcode, b"new")) == 1002


@pytest.mark.parametrize("final", [0, FIN])
def test_a_continuation_of_nothing_is_refused(final: int) -> None:
    assert breach(masked(final | CONTINUATION, b"more")) == 1002
    assert breach(masked(FIN | TEXT, b"all"), masked(final | CONTINUATION, b"more")) == 1002


@pytest.mark.parametrize(
    "length",
    [
        "fe007d",  # 125 in 16 bits
        "fe0000",
        "ff000000000000ffff",  # 65535 in 64 bits
        "ff0000000000000005",
        "ff8000000000000000",  # a sign bit
        "ffffffffffffffffff",
    ],
)
def test_a_malformed_length_is_refused(length: str) -> None:
    assert breach(b"\x81" + bytes.fromhex(length) + KEY) == 1002


@pytest.mark.parametrize(
    "payload",
    [
        b"\xff",
        b"\x80",
        b"\xc0\x80",  # more bytes than needed
        b"\xed\xa0\x80",  # half of a surrogate pair
        b"\xf4\x90\x80\x80",  # past the last character
        b"Hello \xf0\x9f\x99",  # cut
    ],
)
def test_text_that_is_not_utf_8_is_refused(payload: bytes) -> None:
    assert breach(masked(FIN | TEXT, payload)) == 1007
    assert breach(masked(TEXT, payload), masked(FIN | CONTINUATION)) == 1007
    compressed = masked(FIN | COMPRESSED | TEXT, deflated(payload))
    assert breach(compressed, deflate=DEFLATE) == 1007
    assert receive(masked(FIN | BINARY, payload)) == [payload]


def test_text_that_is_not_utf_8_is_refused_at_the_first_wrong_byte() -> None:
    connection = websocket()
    assert connection.receive(masked(TEXT, b"Hello \xf4")) == []
    frame = masked(FIN | CONTINUATION, b"\x90 and more")
    assert connection.receive(frame[:6]) == []
    assert connection.receive(frame[6:7]) == [Broken(1007, "a text message is not UTF-8")]


def test_messages_before_a_breach_are_read() -> None:
    connection = websocket()
    events = connection.receive(masked(FIN | TEXT, b"fine") + b"\x81\x00" + masked(FIN | TEXT))
    assert events == ["fine", Broken(1002, "a frame of a client must be masked")]


@pytest.mark.parametrize("payload", [b"", b"\xff\xff", b"\x06\x05", deflated(b"Hello")[:-2]])
def test_a_malformed_compressed_message_is_refused(payload: bytes) -> None:
    assert breach(masked(FIN | COMPRESSED | TEXT, payload), deflate=DEFLATE) == 1007
    fragments = masked(COMPRESSED | TEXT, payload), masked(FIN | CONTINUATION)
    assert breach(*fragments, deflate=DEFLATE) == 1007


# --- closing --------------------------------------------------------------------------------------

GOOD_CODES = [*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4503, 4999]
BAD_CODES = [0, 1, 125, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]


@pytest.mark.parametrize("code", GOOD_CODES)
def test_the_peers_closing_frame_is_told_and_answered(code: int) -> None:
    connection = websocket()
    frame = masked(FIN | CLOSE, code.to_bytes(2) + "adiós".encode())
    assert connection.receive(frame + b"rubbish") == [Closed(code, "adiós")]
    assert state(connection) is State.CLOSING
    assert connection.receive(b"rubbish") == []
    assert connection.close(code) == bytes((0x88, 2)) + code.to_bytes(2)
    assert state(connection) is State.CLOSED
    assert connection.close(code) == b""
    assert connection.receive(b"rubbish") == []


def test_a_closing_frame_without_a_code_is_answered_with_one() -> None:
    connection = websocket()
    assert connection.receive(masked(FIN | CLOSE)) == [Closed(1005, "")]
    assert connection.close(1005) == bytes((0x88, 0))


@pytest.mark.parametrize("code", BAD_CODES)
def test_a_wrong_close_code_is_refused(code: int) -> None:
    assert breach(masked(FIN | CLOSE, code.to_bytes(2))) == 1002
    if code != 1005:
        with pytest.raises(ValueError, match=f"close code {code} cannot be sent; use 1000-1003"):
            close_frame(code)


def test_half_a_close_code_is_refused() -> None:
    assert breach(masked(FIN | CLOSE, b"\x03")) == 1002


def test_a_close_reason_that_is_not_utf_8_is_refused() -> None:
    assert breach(masked(FIN | CLOSE, b"\x03\xe8\xff")) == 1007


def test_after_our_closing_frame_the_peers_is_awaited() -> None:
    connection = websocket()
    assert connection.close(1001, "bye") == b"\x88\x05\x03\xe9bye"
    assert state(connection) is State.CLOSING
    assert connection.close(1000) == b""
    assert connection.receive(masked(FIN | TEXT, b"sent before")) == ["sent before"]
    assert connection.receive(masked(FIN | CLOSE, b"\x03\xe9")) == [Closed(1001, "")]
    assert state(connection) is State.CLOSED
    assert connection.close(1001) == b""


def test_a_breach_after_our_closing_frame_ends_the_connection() -> None:
    connection = websocket()
    connection.close(1000)
    (event,) = connection.receive(b"\x00\x00")
    assert isinstance(event, Broken)
    assert state(connection) is State.CLOSED
    assert connection.close(event.code) == b""


def test_a_close_code_that_cannot_be_sent_leaves_the_connection_open() -> None:
    connection = websocket()
    with pytest.raises(ValueError, match="cannot be sent"):
        connection.close(1006)
    assert state(connection) is State.OPEN


def test_closing_in_the_middle_of_a_fragmented_message_is_possible() -> None:
    assert receive(masked(TEXT, b"Hel"), masked(FIN | CLOSE, b"\x03\xe8")) == [Closed(1000, "")]


def test_closing_in_the_middle_of_a_frame_is_possible() -> None:
    connection = websocket()
    frame = masked(FIN | CLOSE, b"\x03\xe8")
    assert connection.receive(frame[:7]) == []
    assert connection.receive(frame[7:] + b"rubbish") == [Closed(1000, "")]


def test_a_close_reason_is_cut_after_a_whole_character() -> None:
    frame = close_frame(1000, "x" + "é" * 100)
    assert frame == bytes((0x88, 2 + 123)) + b"\x03\xe8x" + ("é" * 61).encode()
    assert close_frame(1000, "xx" + "é" * 100)[4:].decode() == "xx" + "é" * 60


# --- limits ---------------------------------------------------------------------------------------


def test_a_message_of_the_limit_passes_and_one_byte_more_is_skipped() -> None:
    for first in FIN | TEXT, FIN | BINARY:
        assert receive(
            masked(first, b"x" * 1000), masked(first, b"x" * 1001), masked(first, b"next")
        ) == [*receive(masked(first, b"x" * 1000)), TooBig(1001), *receive(masked(first, b"next"))]


def test_a_fragmented_message_over_the_limit_is_skipped_to_its_end() -> None:
    assert receive(
        masked(TEXT, b"x" * 600),
        masked(CONTINUATION, b"x" * 400),
        masked(CONTINUATION, b"x"),
        masked(FIN | PING),
        masked(CONTINUATION, b"\xff" * 500),
        masked(FIN | CONTINUATION, b"x" * 500),
        masked(FIN | TEXT, b"next"),
    ) == [Ping(b""), TooBig(2001), "next"]


def test_a_message_that_announces_more_than_can_be_skipped_is_refused_at_once() -> None:
    assert breach(masked(FIN | TEXT, bytes(10_001))[:8]) == 1009
    assert breach(b"\x82\xff\x7f" + b"\xff" * 7 + KEY) == 1009
    assert breach(masked(TEXT, bytes(9000)), masked(CONTINUATION, bytes(1001))[:8]) == 1009
    assert receive(masked(FIN | TEXT, bytes(10_000))) == [TooBig(10_000)]


def test_what_may_be_a_message_is_never_too_big_to_be_read() -> None:
    assert websocket(discard_bytes=0).receive(masked(FIN | BINARY, bytes(1000))) == [bytes(1000)]


def test_the_limit_of_fragments_passes_and_one_more_is_refused() -> None:
    connection = websocket(fragments=256)
    fragments = masked(TEXT) + masked(CONTINUATION) * 254 + masked(FIN | PING) * 500
    assert len(connection.receive(fragments)) == 500
    assert connection.receive(masked(FIN | CONTINUATION)) == [""]
    assert connection.receive(fragments + masked(CONTINUATION))[500:] == []
    (event,) = connection.receive(masked(FIN | CONTINUATION))
    assert event == Broken(1009, "a message of more than 256 fragments")


def test_fragments_of_a_skipped_message_count() -> None:
    fragments = masked(TEXT, bytes(1001)), masked(CONTINUATION) * 16
    assert breach(*fragments) == 1009


def test_a_compressed_message_of_the_limit_passes_and_one_byte_more_is_skipped() -> None:
    assert receive(
        masked(FIN | COMPRESSED | BINARY, deflated(bytes(1000))),
        masked(FIN | COMPRESSED | TEXT, deflated(bytes(1001))),
        masked(FIN | TEXT, b"next"),
        deflate=DEFLATE,
    ) == [bytes(1000), TooBig(1001), "next"]


def test_a_compressed_message_may_be_longer_on_the_wire_than_inflated() -> None:
    payload = os.urandom(1000)
    frame = masked(FIN | COMPRESSED | BINARY, deflated(payload))
    assert len(frame) > 1008
    assert receive(frame, deflate=DEFLATE) == [payload]


def test_a_fragmented_compressed_message_over_the_limit_is_skipped_to_its_end() -> None:
    compressed = deflated(os.urandom(1500))
    assert receive(
        masked(COMPRESSED | BINARY, compressed[:1200]),
        masked(FIN | PING),
        masked(CONTINUATION, compressed[1200:]),
        masked(FIN | CONTINUATION, b"\xff" * 100),
        masked(FIN | TEXT, b"next"),
        deflate=DEFLATE,
    ) == [Ping(b""), TooBig(len(compressed) + 100), "next"]


def test_the_end_of_a_compressed_message_may_be_what_is_too_much() -> None:
    # Blocks without compression, the last of which takes in the bytes that the sender took off.
    block = b"\x00" + (998).to_bytes(2, "little") + (0xFFFF - 998).to_bytes(2, "little")
    short = b"\x00" + (6).to_bytes(2, "little") + (0xFFFF - 6).to_bytes(2, "little")
    frame = masked(FIN | COMPRESSED | BINARY, block + bytes(998) + short)
    assert receive(frame, deflate=DEFLATE) == [TooBig(1008)]


# --- memory and work ------------------------------------------------------------------------------


def pinned(connection: WebSocket, data: bytes, step: int) -> tuple[int, int]:
    """Receive in steps; return the bytes that stay allocated and the peak."""
    gc.collect()
    tracemalloc.start()
    try:
        for position in range(0, len(data), step):
            assert connection.receive(data[position : position + step]) == []
        return tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()


def test_an_idle_connection_holds_less_than_half_a_kibibyte() -> None:
    gc.collect()
    tracemalloc.start()
    try:
        connections = [websocket() for _ in range(100)]
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held / len(connections) < 512


@pytest.mark.parametrize("step", [2, 7, 4096])
@pytest.mark.parametrize("first", [FIN | TEXT, FIN | BINARY])
def test_a_message_that_dribbles_in_holds_no_more_than_twice_the_limit(
    first: int, step: int
) -> None:
    limit = 20_000
    frame = xor(KEY, b"x" * limit)
    frame = bytes((first, 0xFE)) + limit.to_bytes(2) + KEY + frame[:-1]
    _, peak = pinned(websocket(message_bytes=limit), frame, step)
    assert peak < 2 * limit


def test_a_flood_of_fragments_of_a_byte_holds_no_more_than_twice_the_limit() -> None:
    limit = 16_384
    connection = websocket(message_bytes=limit, fragments=limit + 1)
    fragments = masked(BINARY, b"x") + masked(CONTINUATION, b"x") * (limit - 1)
    _, peak = pinned(connection, fragments, 4096)
    assert peak < 2 * limit


def test_a_skipped_message_holds_nothing() -> None:
    connection = websocket(message_bytes=1000, discard_bytes=1 << 20)
    frame = bytes((FIN | BINARY, 0xFF)) + (1 << 20).to_bytes(8) + KEY + bytes((1 << 20) - 1)
    _, peak = pinned(connection, frame, 4096)
    assert peak < 8192


def test_a_bomb_holds_no_more_than_twice_the_limit() -> None:
    limit = 1 << 16
    bomb = deflated(bytes(64 << 20))
    assert len(bomb) < 1 << 16
    size = len(bomb).to_bytes(2)
    frame = bytes((FIN | COMPRESSED | BINARY, 0xFE)) + size + KEY + xor(KEY, bomb)
    for step in 100, len(frame):
        connection = websocket(message_bytes=limit, discard_bytes=1 << 20, deflate=DEFLATE)
        held, peak = pinned(connection, frame[:-1], step)
        assert held < 4096
        # zlib's window and its growing output, and copies of a read, for the time of a call
        assert peak < 3 * limit + 4 * step
        assert connection.receive(frame[-1:]) == [TooBig(limit + 1)]


@pytest.mark.parametrize("step", [1, 2, 3, 1000])
def test_each_byte_is_unmasked_once_however_the_message_is_cut(step: int) -> None:
    sizes = []

    def unmask(key: bytes, payload: bytes) -> bytes:
        sizes.append(len(payload))
        return xor(key, payload)

    connection = WebSocket(message_bytes=5000, discard_bytes=5000, fragments=2, unmask=unmask)
    frame = masked(FIN | TEXT, b"x" * 5000)
    pieces = [frame[position : position + step] for position in range(0, len(frame), step)]
    assert told(connection, pieces) == ["x" * 5000]
    assert sum(sizes) == 5000


@pytest.mark.parametrize("last", [b"x", b"x" + masked(FIN | CLOSE) + bytes(9000)])
def test_nothing_is_held_after_a_message_or_the_end(last: bytes) -> None:
    connection = websocket(message_bytes=60_000)
    begun = masked(FIN | BINARY, bytes(50_000))[:-1]
    tracemalloc.start()
    try:
        assert connection.receive(begun) == []
        assert connection.receive(last) != []
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 4096


def test_nothing_is_held_after_a_breach() -> None:
    connection = websocket(message_bytes=60_000)
    begun = masked(BINARY, bytes(50_000))
    tracemalloc.start()
    try:
        assert connection.receive(begun) == []
        assert connection.receive(bytes(9000)) != []
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 4096


# --- whatever the peer sends ----------------------------------------------------------------------


@dataclass
class Said:
    """What a client says in one go, and what is to be told of it."""

    frames: list[bytes]
    event: Event


keys = st.binary(min_size=4, max_size=4)
controls = st.builds(
    lambda opcode, payload, key: Said(
        [masked(FIN | opcode, payload, key=key)],
        Ping(payload) if opcode == PING else Pong(payload),
    ),
    st.sampled_from([PING, PONG]),
    st.binary(max_size=125),
    keys,
)


@st.composite
def messages(draw: st.DrawFn) -> Said:
    event = draw(st.text(max_size=400) | st.binary(max_size=1200))
    payload = event.encode() if isinstance(event, str) else event
    first = TEXT if isinstance(event, str) else BINARY
    told: Event = event
    if len(payload) > 1000:
        told = TooBig(len(payload))
    if draw(st.booleans()):
        first |= COMPRESSED
        payload = deflated(payload)
        if isinstance(told, TooBig):
            told = TooBig(max(1001, len(payload)))
    fragments = cut(payload, draw(st.lists(st.integers(0, 1200), max_size=6)))
    frames = []
    for index, fragment in enumerate(fragments):
        final = FIN if index == len(fragments) - 1 else 0
        opcode = CONTINUATION if index else first
        frames.append(masked(final | opcode, fragment, key=draw(keys)))
        if not final and draw(st.booleans()):
            frames.append(masked(FIN | PONG, b"between"))
    return Said(frames, told)


@given(
    st.lists(controls | messages(), max_size=6),
    st.none() | st.sampled_from(GOOD_CODES),
    st.lists(st.integers(0, 1 << 16), max_size=12),
)
def test_a_valid_conversation_is_told_the_same_however_it_is_cut(
    conversation: list[Said], code: int | None, cuts: list[int]
) -> None:
    expected = [said.event for said in conversation]
    frames = [frame for said in conversation for frame in said.frames]
    if code is not None:
        frames.append(masked(FIN | CLOSE, code.to_bytes(2) + b"bye"))
        expected.append(Closed(code, "bye"))
    events = told(websocket(deflate=DEFLATE), cut(b"".join(frames), cuts))
    assert [event for event in events if event != Pong(b"between")] == expected


def test_a_conversation_that_dribbles_in_byte_by_byte_is_told_the_same() -> None:
    conversation = (
        masked(FIN | TEXT, "grün 🙂".encode() * 40)
        + masked(COMPRESSED | BINARY, deflated(b"Hello"))
        + masked(FIN | PING, b"ping")
        + masked(FIN | CONTINUATION)
        + masked(FIN | BINARY, bytes(5000))
        + masked(FIN | CLOSE, b"\x03\xe8bye")
    )
    assert told(websocket(deflate=DEFLATE), [bytes((byte,)) for byte in conversation]) == [
        "grün 🙂" * 40,
        Ping(b"ping"),
        b"Hello",
        TooBig(5000),
        Closed(1000, "bye"),
    ]


@st.composite
def rubbish(draw: st.DrawFn) -> bytes:
    """Frames most of which are nearly right, or no frames at all."""
    if draw(st.booleans()):
        return draw(st.binary(max_size=64))
    first = draw(
        st.sampled_from(
            [FIN | TEXT, FIN | BINARY, TEXT, CONTINUATION, FIN, FIN | PING, FIN | CLOSE]
        )
        | st.sampled_from([FIN | COMPRESSED | TEXT, COMPRESSED | BINARY])
        | st.integers(0, 255)
    )
    text = st.text(max_size=100).map(str.encode)
    payload = draw(text | st.binary(max_size=1100) | text.map(deflated))
    frame = masked(first, payload, key=draw(keys))
    if draw(st.integers(0, 9)) == 0:
        position = draw(st.integers(0, len(frame) - 1))
        return frame[:position] + draw(st.binary(max_size=3)) + frame[position + 1 :]
    return frame


@given(
    st.lists(rubbish(), max_size=6).map(b"".join),
    st.sampled_from([None, DEFLATE]),
    st.lists(st.integers(0, 1 << 16), max_size=8),
)
def test_any_bytes_are_told_the_same_however_they_are_cut_and_nothing_is_raised(
    data: bytes, deflate: Deflate | None, cuts: list[int]
) -> None:
    whole, in_pieces = websocket(deflate=deflate), websocket(deflate=deflate)
    events = told(whole, [data])
    others = told(in_pieces, cut(data, cuts))
    for event in *events, *others:
        if isinstance(event, str):
            event.encode()
    ends = [isinstance(event, Closed | Broken) for event in events]
    assert sum(ends[:-1]) == 0
    if ends and isinstance(events[-1], Broken) and isinstance(others[-1], Broken):
        # What is wrong with a compressed text, its compression or its text, may show in turn.
        assert events.pop().code == others.pop().code  # type: ignore[union-attr]
    assert events == others
    assert whole.state is in_pieces.state


# --- frames of the server -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "header"),
    [
        (0, "8100"),
        (125, "817d"),
        (126, "817e007e"),
        (65535, "817effff"),
        (65536, "817f0000000000010000"),
    ],
)
def test_text_is_framed_unmasked_with_the_shortest_header(size: int, header: str) -> None:
    assert text_frame(b"x" * size) == bytes.fromhex(header) + b"x" * size


def test_the_frames_of_the_rfc_are_made() -> None:
    assert text_frame(b"Hello") == bytes.fromhex("810548656c6c6f")
    assert ping_frame(b"Hello") == bytes.fromhex("890548656c6c6f")
    assert pong_frame(b"Hello") == bytes.fromhex("8a0548656c6c6f")
    assert binary_frame(bytes(256))[:4] == bytes.fromhex("827e0100")
    assert ping_frame() == bytes.fromhex("8900")
    assert close_frame(1000) == bytes.fromhex("880203e8")


@pytest.mark.parametrize("window", range(9, 16))
def test_long_messages_are_compressed_with_the_agreed_window(window: int) -> None:
    payload = b'{"channel": "host"}' * 100
    for frame, first in (
        (text_frame(payload, window), FIN | COMPRESSED | TEXT),
        (binary_frame(payload, window), FIN | COMPRESSED | BINARY),
    ):
        assert frame[0] == first
        assert frame[1] == len(frame) - 2 < 126
        inflater = zlib.decompressobj(-window)
        assert inflater.decompress(frame[2:] + b"\x00\x00\xff\xff") == payload


def test_messages_shorter_than_256_bytes_are_not_compressed_unless_asked_for() -> None:
    assert text_frame(b"x" * 255, 12) == text_frame(b"x" * 255)
    assert text_frame(b"x" * 256, 12)[0] == FIN | COMPRESSED | TEXT
    assert text_frame(b"x", 12, compress_from=0)[0] == FIN | COMPRESSED | TEXT
    assert binary_frame(b"x", 12, compress_from=0)[0] == FIN | COMPRESSED | BINARY


def test_control_frames_of_more_than_125_bytes_cannot_be_made() -> None:
    assert len(ping_frame(bytes(125))) == 127
    with pytest.raises(ValueError, match="at most 125 bytes, not 126"):
        ping_frame(bytes(126))
    with pytest.raises(ValueError, match="at most 125 bytes, not 126"):
        pong_frame(bytes(126))


@pytest.mark.parametrize("window", [0, 12])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("size", [0, 125, 126, 300])
def test_what_frames_for_one_kind_of_connection_frames_as_the_function_for_it(
    size: int, packed: bool, window: int
) -> None:
    payload = b"x" * size
    frame = binary_frame if packed else text_frame
    assert framer(packed=packed, window=window)(payload) == frame(payload, window)
