"""How deeply a JSON text is nested, and MessagePack."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from openapi.protocol.nesting import nested_deeper_than, packed_deeper_than

TRICKY = st.text(alphabet='[]{}"\\,: \n\u20acax')
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TRICKY,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TRICKY, inner, max_size=4),
    max_leaves=30,
)


def depth_of(value: Any) -> int:
    """What the name says, the slow way."""
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    return 0


@given(VALUES, st.booleans(), st.sampled_from([None, 1]))
@example({'"': ["\\"]}, True, None)
def test_the_depth_is_the_one_that_a_parser_finds(
    value: Any, ascii_only: bool, indent: int | None
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    depth = depth_of(json.loads(text))

    assert not nested_deeper_than(depth, text)
    assert depth == 0 or nested_deeper_than(depth - 1, text)


@given(st.integers(0, 3), st.text(alphabet='[]{}"\\a\u20ac\n'))
def test_any_text_has_an_answer(depth: int, text: str) -> None:
    assert isinstance(nested_deeper_than(depth, text), bool)


@pytest.mark.parametrize("depth", [1, 64, 1000, 30_000])
def test_the_limit_passes_and_one_more_does_not(depth: int) -> None:
    text = "[" * depth + "]" * depth

    assert not nested_deeper_than(depth, text)
    assert nested_deeper_than(depth - 1, text)


def test_brackets_side_by_side_are_not_inside_each_other() -> None:
    assert not nested_deeper_than(2, "[" + ",".join(["[]", "{}"] * 1000) + "]")


def test_a_text_of_nothing_but_backslashes_and_quotes_takes_no_longer_than_another() -> None:
    # Quadratic backtracking would take minutes, and the test its time-out.
    for text in ("\\" * 200_000, '\\"' * 200_000, '\\"' * 200_000 + "\\", "x" * 200_000):
        assert nested_deeper_than(1, '[["' + text)
        assert not nested_deeper_than(2, '[["' + text + "[[[")


# Bytes are full of what would be a container elsewhere.
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=40)
    | st.binary(max_size=40)
    | st.sampled_from([b"\x91" * 300, b"\x91" * 70_000, "\u0411" * 200, "\u0411" * 40_000])
    | st.datetimes(timezones=st.timezones())
    | st.builds(
        lambda code, size: msgspec.msgpack.Ext(code, b"\x91" * size),
        st.integers(-128, 127).filter(lambda code: code != -1),
        st.sampled_from([0, 1, 2, 3, 4, 8, 16, 17, 300, 70_000]),
    )
)
NAMES = SCALARS.filter(lambda name: not isinstance(name, msgspec.msgpack.Ext))
PACKED = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(NAMES, inner, max_size=20),
    max_leaves=40,
)


@given(PACKED)
@example({1: [0] * 70_000})
@example([{number: [] for number in range(70_000)}])
def test_the_depth_of_messagepack_is_the_one_that_a_decoder_finds(value: Any) -> None:
    data = msgspec.msgpack.encode(value)
    depth = depth_of(msgspec.msgpack.decode(data))

    assert not packed_deeper_than(depth, data)
    assert depth == 0 or packed_deeper_than(depth - 1, data)


@pytest.mark.parametrize(
    "container",
    [
        "91",
        "dc 0001",
        "dd 00000001",
        "81 c0",
        "de 0001 00",
        "df 00000001 a161",
    ],
)
@pytest.mark.parametrize("depth", [1, 64, 1000, 30_000])
def test_a_limit_holds_for_each_way_to_write_a_container(container: str, depth: int) -> None:
    data = bytes.fromhex(container) * depth + b"\xc0" * (depth + 1)

    assert not packed_deeper_than(depth, data)
    assert packed_deeper_than(depth - 1, data)


def test_empty_containers_side_by_side_are_one_step_down() -> None:
    data = b"\xdc\x07\xd0" + b"\x80\x90" * 1000

    assert packed_deeper_than(1, data)
    assert not packed_deeper_than(2, data)


@given(
    st.integers(0, 3),
    st.binary(max_size=60)
    | st.text(alphabet="\x91\x82\xdd\xc4\x01").map(lambda text: text.encode("latin-1")),
)
@example(1, b"\xdd\xff\xff\xff\xff" * 3)
@example(1, b"\x91\x91\xc1\x91")
def test_any_bytes_have_an_answer(depth: int, data: bytes) -> None:
    assert isinstance(packed_deeper_than(depth, data), bool)


@given(PACKED, st.integers(0, 4), st.data())
def test_a_message_that_is_cut_off_is_no_deeper_than_the_whole(
    value: Any, depth: int, data: st.DataObject
) -> None:
    whole = msgspec.msgpack.encode(value)
    part = whole[: data.draw(st.integers(0, len(whole)))]

    assert packed_deeper_than(depth, part) <= packed_deeper_than(depth, whole)


@pytest.mark.parametrize("name", ["90", "91 c0", "80", "dc 0000", "df 00000000"])
def test_a_container_that_is_a_name_is_too_deep(name: str) -> None:
    named = b"\x81" + bytes.fromhex(name) + b"\xc0"
    plain = b"\x81\xc0" + bytes.fromhex(name)

    for before in (b"", b"\x80", b"\x81\xc0\xc0", b"\x82" + b"\xc0\x90" * 2, b"\xdf" + bytes(4)):
        items = bytes([0x91 + bool(before)]) + before
        assert packed_deeper_than(3, items + named + b"\x90" * 9)
        assert not packed_deeper_than(3, items + plain + b"\x90" * 9)


def test_names_that_a_decoder_would_compare_at_length_do_not_get_to_it() -> None:
    # Arrays of numbers can be chosen so that all have one hash. Few of them do no harm.
    names = [msgspec.msgpack.encode((number, 0)) for number in range(65)]

    assert packed_deeper_than(64, b"\xde\x00\x41" + b"\xc0".join(names) + b"\xc0")
    assert not packed_deeper_than(64, b"\xde\x00\x3f" + b"\xc0".join(names[:63]) + b"\xc0")


def test_what_comes_after_the_message_is_not_counted() -> None:
    assert not packed_deeper_than(1, b"\x91\xc0" + b"\x91" * 9)


def test_no_message_costs_more_than_a_step_for_each_byte() -> None:
    # Work that grows faster than the message would take minutes here, and the test its time-out.
    size = 300_000
    for unit in (b"\x90", b"\x91\x00", b"\xc4\x00", b"\xdc\x00\x00", b"\xa1\x90"):
        data = b"\xdd\x7f\xff\xff\xff" + unit * (size // len(unit)) + b"\x90" * 70
        assert not packed_deeper_than(64, data)
    assert packed_deeper_than(64, b"\x91" * size)
