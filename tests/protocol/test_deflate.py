import os
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openapi.protocol.deflate import Corrupt, Deflate, Inflater, compress

STATELESS = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


def deflated(payload: bytes, window: int = 15) -> bytes:
    """Compress as a client does."""
    stream = zlib.compressobj(wbits=-window)
    return (stream.compress(payload) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]


def inflated(compressed: bytes, limit: int = 1 << 20) -> bytes:
    inflater = Inflater()
    return inflater.feed(compressed, limit) + inflater.finish(limit)


@pytest.mark.parametrize(
    ("offer", "expected"),
    [
        ("permessage-deflate", Deflate(12, 15, STATELESS)),
        ("PerMessage-Deflate ", Deflate(12, 15, STATELESS)),
        ("permessage-deflate; server_no_context_takeover", Deflate(12, 15, STATELESS)),
        ("permessage-deflate;client_no_context_takeover", Deflate(12, 15, STATELESS)),
        ("permessage-deflate; client_max_window_bits", Deflate(12, 15, STATELESS)),
        (
            "permessage-deflate; client_max_window_bits=10",
            Deflate(12, 10, f"{STATELESS}; client_max_window_bits=10"),
        ),
        (
            "permessage-deflate; client_max_window_bits=8",
            Deflate(12, 8, f"{STATELESS}; client_max_window_bits=8"),
        ),
        (
            "permessage-deflate; server_max_window_bits=15",
            Deflate(12, 15, f"{STATELESS}; server_max_window_bits=12"),
        ),
        (
            'permessage-deflate ; server_max_window_bits = "9" ',
            Deflate(9, 15, f"{STATELESS}; server_max_window_bits=9"),
        ),
        (
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; "
            "server_max_window_bits=11; client_max_window_bits=15",
            Deflate(11, 15, f"{STATELESS}; server_max_window_bits=11; client_max_window_bits=15"),
        ),
    ],
)
def test_an_offer_is_accepted_with_what_it_asks_for(offer: str, expected: Deflate) -> None:
    assert Deflate.negotiate([offer]) == expected


@pytest.mark.parametrize(
    "offer",
    [
        "",
        "permessage-deflat",
        "x-webkit-deflate-frame",
        "permessage-deflate;",
        "permessage-deflate; unknown",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; server_no_context_takeover=",
        "permessage-deflate; client_no_context_takeover=true",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; client_max_window_bits; client_max_window_bits=9",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=8",  # zlib cannot
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=010",
        "permessage-deflate; server_max_window_bits=+9",
        'permessage-deflate; server_max_window_bits="9',
        'permessage-deflate; server_max_window_bits="',
        'permessage-deflate; server_max_window_bits=""',
        "permessage-deflate; server_max_window_bits=\N{ARABIC-INDIC DIGIT NINE}",
        "permessage-deflate; client_max_window_bits=",
        "permessage-deflate; client_max_window_bits=99999999999999999999",
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; "
        "server_max_window_bits=11; client_max_window_bits=15; server_no_context_takeover",
        "permessage-deflate; Server_No_Context_Takeover",
    ],
)
def test_a_malformed_offer_is_declined_and_the_next_one_taken(offer: str) -> None:
    assert Deflate.negotiate([offer]) is None
    assert Deflate.negotiate([offer, "permessage-deflate"]) == Deflate(12, 15, STATELESS)


def test_only_the_first_offers_are_looked_at() -> None:
    assert Deflate.negotiate(["bad"] * 15 + ["permessage-deflate"]) is not None
    assert Deflate.negotiate(["bad"] * 16 + ["permessage-deflate"]) is None


@pytest.mark.parametrize("window", range(9, 16))
def test_what_is_compressed_can_be_inflated_with_the_agreed_window(window: int) -> None:
    payload = b'{"channel": "host", "event": "cpu"}' * 1000
    compressed = compress(payload, window)
    assert len(compressed) < len(payload) // 10
    inflater = zlib.decompressobj(-window)
    assert inflater.decompress(compressed + b"\x00\x00\xff\xff") == payload


@given(st.binary(max_size=2000), st.integers(9, 15), st.lists(st.integers(0, 2100), max_size=8))
def test_a_message_is_inflated_whatever_its_pieces(
    payload: bytes, window: int, cuts: list[int]
) -> None:
    compressed = deflated(payload, window)
    inflater = Inflater(window)
    edges = [0, *sorted(cuts), len(compressed)]
    out = b""
    for begin, end in zip(edges, edges[1:], strict=False):
        out += inflater.feed(compressed[begin:end], 5000)
    assert out + inflater.finish(5000) == payload


# The examples of RFC 7692 section 7.2.3.
@pytest.mark.parametrize(
    ("compressed", "payload"),
    [
        ("f248cdc9c90700", b"Hello"),
        ("000500faff48656c6c6f00", b"Hello"),  # a block without compression
        ("f348cdc9c9070000", b"Hello"),  # a final block
        ("f248050000 00ffff cac9c90700", b"Hello"),  # two blocks
        ("00", b""),
    ],
)
def test_the_examples_of_the_rfc_are_inflated(compressed: str, payload: bytes) -> None:
    assert inflated(bytes.fromhex(compressed)) == payload


def test_a_client_that_agreed_to_8_bits_may_use_9() -> None:
    payload = os.urandom(300) * 2
    inflater = Inflater(8)
    assert inflater.feed(deflated(payload, 9), 1000) + inflater.finish(1000) == payload


@pytest.mark.parametrize(
    "compressed",
    [
        "",  # not even the header of an empty block
        "ff",
        "0605",
        "f248cdc9",  # cut
        "000a00f5ff48656c6c",  # a block without compression, cut
        "001400ebff48656c6c6f",
        "f348cdc9c9070000 00",  # more after the final block
        "f348cdc9c90700 f348cdc9c90700",
    ],
)
def test_what_is_no_deflate_stream_is_corrupt(compressed: str) -> None:
    with pytest.raises(Corrupt):
        inflated(bytes.fromhex(compressed))


def test_more_after_a_final_block_is_corrupt_also_in_a_later_piece() -> None:
    inflater = Inflater()
    assert inflater.feed(bytes.fromhex("f348cdc9c90700"), 10) == b"Hello"
    assert inflater.feed(b"\x00", 10) == b""
    with pytest.raises(Corrupt):
        inflater.feed(b"\x00", 10)


def test_a_cut_message_is_corrupt_also_when_it_is_just_as_long_as_allowed() -> None:
    inflater = Inflater()
    cut = bytes.fromhex("001400ebff") + b"Hello"
    assert inflater.feed(cut, 100) == b"Hello"
    with pytest.raises(Corrupt):
        inflater.finish(6)  # which are those that the sender took off


def test_a_bomb_is_inflated_one_byte_past_the_limit() -> None:
    bomb = deflated(bytes(10_000_000))
    assert len(bomb) < 10_000
    assert len(Inflater().feed(bomb, 1000)) == 1001
    assert len(Inflater().feed(bomb, 0)) == 1


@given(st.binary(max_size=500))
def test_any_bytes_inflate_within_the_limit_or_are_corrupt(data: bytes) -> None:
    inflater = Inflater()
    try:
        out = inflater.feed(data, 100)
        if len(out) <= 100:
            out += inflater.finish(100 - len(out))
    except Corrupt:
        return
    assert len(out) <= 101
