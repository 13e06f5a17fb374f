"""Types as decoders and encoders of MessagePack: what JSON has, and what JSON has not."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import attrs
import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.msgpack import Ext

from openapi.errors import InvalidData, Unserializable
from openapi.schema import MAX_FAULTS, Schema, encode_json, encode_msgpack
from tests.test_schema import (
    ACCEPTED,
    REFUSED,
    Box,
    Closed,
    Colour,
    Item,
    Number,
    Odd,
    Open,
    Order,
    Plain,
    Point,
    Span,
    Text,
    Tree,
)

write = msgspec.msgpack.encode
read: Callable[[bytes], Any] = msgspec.msgpack.decode

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
NAN, INFINITY = float("nan"), float("inf")


@dataclass
class Reading:
    at: datetime
    raw: bytes = b"\xff"
    number: int = 0
    counts: dict[int, int] = field(default_factory=dict)
    anything: Any = None


class Packed(msgspec.Struct):
    raw: bytes
    at: datetime | None = None


def faults(hint: object, data: bytes) -> dict[str, str]:
    """What the type says to MessagePack."""
    with pytest.raises(InvalidData) as caught:
        Schema[object](hint).unpack(data)
    return caught.value.errors


def outcome(attempt: Callable[[Any], object], value: object) -> object:
    """What comes of it: the result, or the refusal."""
    try:
        return attempt(value)
    except InvalidData as error:
        return error.errors
    except Unserializable as error:
        return str(error)


# What JSON has


@pytest.mark.parametrize(("hint", "data", "value"), ACCEPTED, ids=lambda part: str(part)[:40])
def test_each_supported_type_is_unpacked_and_packed(hint: object, data: Any, value: object) -> None:
    schema = Schema[object](hint)
    if data != 10**20:  # which JSON alone can say
        assert schema.unpack(write(data)) == value
        assert schema.unpack(msgspec.Raw(write(data))) == value
    assert schema.unpack(schema.pack(value)) == value
    assert schema.unpack(schema.pack(data)) == value


@pytest.mark.parametrize(("hint", "data", "errors"), REFUSED, ids=lambda part: str(part)[:40])
def test_a_refusal_has_the_texts_that_json_gets(
    hint: object, data: Any, errors: dict[str, str]
) -> None:
    assert faults(hint, write(data)) == errors


ROWS = [(hint, data) for hint, data, _ in [*ACCEPTED, *REFUSED] if data != 10**20]
HINTS: list[object] = [hint for hint, _ in ROWS]
EXAMPLES: list[Any] = [data for _, data in ROWS]
SCALARS = st.sampled_from(
    [None, True, 0, 1, -1, 7, 2**63, 2**64 - 1, 1.5, 1.0, "", "x", "1", "red", "2026-01-02", "YQ=="]
)


# of no JSON text, but somebody may want to send them
OTHERS = st.sampled_from(
    [2**64, NAN, b"a", date(2026, 1, 2), NOON, UUID(int=1), object(), {1: 2}, {b"a": 1}, {1}]
)


@st.composite
def damaged(draw: st.DrawFn, data: Any) -> Any:
    """Data with one part of it, or none, in the place of another."""
    if isinstance(data, dict) and data and draw(st.booleans()):
        name = draw(st.sampled_from(sorted(data)))
        change = draw(st.sampled_from(["inside", "without", "renamed"]))
        rest = {key: item for key, item in data.items() if key != name}
        if change == "inside":
            return data | {name: draw(damaged(data[name]))}
        return rest if change == "without" else rest | {"other": data[name]}
    if isinstance(data, list) and data and draw(st.booleans()):
        index = draw(st.integers(0, len(data) - 1))
        return [*data[:index], draw(damaged(data[index])), *data[index + 1 :]]
    return draw(st.just(data) | SCALARS | st.sampled_from(EXAMPLES))


@settings(max_examples=500)
@given(st.integers(0, len(HINTS) - 1), st.data())
def test_the_same_builtins_are_accepted_and_refused_alike_in_both_formats(
    index: int, data: st.DataObject
) -> None:
    schema = Schema.of(HINTS[index])
    value = data.draw(damaged(EXAMPLES[index]))

    assert outcome(schema.unpack, write(value)) == outcome(schema.decode, json.dumps(value))


@settings(max_examples=500)
@given(st.integers(0, len(HINTS) - 1), st.data())
def test_the_same_values_are_sent_and_refused_alike_in_both_formats(
    index: int, data: st.DataObject
) -> None:
    schema = Schema.of(HINTS[index])
    value = data.draw(damaged(EXAMPLES[index]) | OTHERS)

    packed = outcome(schema.pack, value)
    encoded = outcome(schema.encode, value)

    if isinstance(packed, bytes) and isinstance(encoded, bytes):
        assert schema.encode(schema.unpack(packed)) == schema.encode(schema.decode(encoded))
    else:
        assert packed == encoded


def test_a_refusal_has_a_bounded_length() -> None:
    errors = faults(list[int], write(["x"] * 10_000))
    assert len(errors) == MAX_FAULTS + 1
    assert errors[""] == f"there are more than {MAX_FAULTS} faulty fields"
    # nor is there more of what only MessagePack can say
    assert faults(Any, write([Ext(1, b"")] * 10_000)).keys() == errors.keys()
    assert faults(list[int], write([NAN] * 99 + ["x"] * 99)).keys() == errors.keys()


def test_a_length_that_the_data_has_not_is_refused_at_once() -> None:
    for header in (b"\xdd", b"\xdf", b"\xc6", b"\xdb"):
        assert faults(Any, header + b"\xff\xff\xff\xff") == {"": "MessagePack expected"}


UNREADABLE = {
    "nothing": b"",
    "cut off": write({"a": [1, 2]})[:-1],
    "more behind it": b"\x01\x01",
    "no format": b"\xc1",
    "no UTF-8": b"\xa2\xff\xfe",
    "half a surrogate pair": b"\xa3\xed\xa0\x80",
    "no UTF-8 in a name": b"\x81\xa1\xff\x01",
    "a map as a name": b"\x81\x80\x01",
    "an extension as a name": b"\x81\xd4\x05\x00\x01",
    "JSON": b'{"a": 1}',
}


@pytest.mark.parametrize("data", UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize("hint", [Order, Any, dict, Closed, int, Box[bytes]])
def test_what_is_no_messagepack_is_refused_as_such(hint: object, data: bytes) -> None:
    assert faults(hint, data) == {"": "MessagePack expected"}


def test_a_timestamp_that_is_none_is_refused() -> None:
    late = b"\xc7\x0c\xff" + bytes(4) + b"\x7f" + b"\xff" * 7
    for hint in (Any, datetime, str):
        assert faults(hint, b"\xc7\x05\xff12345") == {"": "invalid MessagePack timestamp"}
        assert faults(hint, late) == {"": "timestamp is out of range"}


def test_data_that_is_nested_too_deeply_is_refused() -> None:
    refusal = {"": "nested too deeply"}
    tree: Any = {"value": 1}
    for _ in range(900):
        tree = {"value": 1, "left": tree}
    assert faults(Any, b"\x91" * 100_000) == refusal
    assert faults(Any, b"\x81" * 100_000) == refusal
    assert faults(Tree, b"\x82\xa5value\x01\xa4left" * 100_000) == refusal
    assert faults(Tree, write(tree)) == refusal
    with pytest.raises(InvalidData, match="nested too deeply"):
        Schema[Tree](Tree).pack(tree)


@given(st.sampled_from(HINTS), st.binary(max_size=30))
@example(dict[int, Any], b"\x81\xc0\xc0")
@example(dict[Any, int], b"\x81\xc0\x00")
@example(dict[Any, int], b"\x81\x91\x00\x00")
@example(Any, b"\x81\xca\x7f\xc0\x00\x00\x00")
@example(set, b"\x91\x80")
def test_any_bytes_are_accepted_or_refused(hint: object, data: bytes) -> None:
    schema = Schema.of(hint)
    try:
        value = schema.unpack(data)
    except InvalidData as error:
        assert error.errors
    else:
        assert schema.unpack(schema.pack(value)) == value


@given(st.integers(0, len(HINTS) - 1), st.integers(0, 200), st.binary(min_size=1, max_size=3))
def test_a_message_with_a_few_wrong_bytes_is_accepted_or_refused(
    index: int, place: int, wrong: bytes
) -> None:
    data = write(EXAMPLES[index])
    place = min(place, len(data))
    damaged = data[:place] + wrong + data[place + len(wrong) :]
    errors = outcome(Schema.of(HINTS[index]).unpack, damaged)
    assert errors != {}


def test_only_bytes_are_unpacked() -> None:
    with pytest.raises(TypeError):
        Schema[int](int).unpack("1")  # type: ignore[arg-type] # that is what is tested


# What JSON has not


def test_bytes_are_bin_and_datetimes_with_a_zone_are_timestamps() -> None:
    schema = Schema[Reading](Reading)
    east = NOON.astimezone(timezone(timedelta(hours=5)))
    reading = Reading(east, b"\x00\xff", 2**64 - 1, {1: -(2**63)}, [b"a", east, 2**53 + 1])
    packed = schema.pack(reading)
    assert packed == write(reading)
    assert read(packed) == {
        "at": NOON,
        "raw": b"\x00\xff",
        "number": 2**64 - 1,
        "counts": {1: -(2**63)},
        "anything": [b"a", NOON, 2**53 + 1],
    }
    assert schema.unpack(packed) == reading


def test_whatever_has_no_form_of_its_own_is_a_string_as_in_json() -> None:
    values = [NOON.replace(tzinfo=None), NOON.date(), NOON.time(), UUID(int=1), Decimal("1.10")]
    for value in values:
        assert read(Schema.of(type(value)).pack(value)) == json.loads(encode_json(value))
        assert Schema.of(type(value)).unpack(encode_msgpack(value)) == value


ZONES = st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(timezone)
DATETIMES = st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=ZONES)
UNTYPED = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.binary()
    | DATETIMES,
    lambda part: st.lists(part) | st.dictionaries(st.text(), part),
    max_leaves=8,
)


@given(UNTYPED)
@example(b"\xcb\x7f\xf0")
@example([b"\xca\x7f\xff" * 20, "é", {"": 1.5}])
def test_untyped_values_survive(value: Any) -> None:
    for hint, sent in [
        (Any, value),
        (dict[str, Any], {"a": value}),
        (dict, {"a": [value]}),
        (Box, Box(value)),
        (Reading, Reading(NOON, b"", 1, {1: 1}, value)),
    ]:
        schema = Schema.of(hint)
        assert schema.unpack(schema.pack(sent)) == sent
        assert schema.pack(sent) == write(sent)


@given(UNTYPED)
def test_an_untyped_value_that_came_as_messagepack_goes_on_as_json(value: Any) -> None:
    unpacked = Schema.of(Any).unpack(write(value))

    assert encode_json(unpacked) == Schema.of(Any).encode(unpacked)
    assert json.loads(encode_json({"a": b"abc", "at": NOON})) == {
        "a": "YWJj",
        "at": "2026-01-02T12:00:00Z",
    }


@given(
    st.builds(
        Reading,
        at=DATETIMES | st.datetimes(),
        raw=st.binary(),
        number=st.integers(-(2**63), 2**64 - 1),
        counts=st.dictionaries(st.integers(-(2**63), 2**64 - 1), st.integers(0, 9)),
        anything=UNTYPED,
    )
)
@example(Reading(datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))))
@example(Reading(datetime.max.replace(tzinfo=timezone(timedelta(hours=-14)))))
def test_typed_values_survive(reading: Reading) -> None:
    schema = Schema.of(Reading)
    assert schema.unpack(schema.pack(reading)) == reading


def test_a_peer_that_has_nothing_but_json_may_send_its_forms() -> None:
    schema = Schema[Reading](Reading)
    data = {"at": "2026-01-02T12:00:00Z", "raw": "YWJj", "counts": {"1": 2}, "anything": [b"z"]}
    assert schema.unpack(write(data)) == Reading(NOON, b"abc", 0, {1: 2}, [b"z"])
    # the result is complete, as is that of the shorter way
    assert vars(schema.unpack(write(data))).keys() >= {"number", "anything"}
    assert Schema[object](list[UUID]).unpack(write([str(UUID(int=1)), UUID(int=2).bytes])) == [
        UUID(int=1),
        UUID(int=2),
    ]
    assert faults(Reading, write(data | {"x": 1, "number": "2"})) == {
        "x": "unknown field",
        "number": "expected `int`, got `str`",
    }
    assert faults(Reading, write(data | {"x": 1})) == {"x": "unknown field"}
    assert faults(Packed, write({"raw": "%", "at": "noon"})) == {
        "raw": "invalid base64 encoded string",
        "at": "invalid RFC3339 encoded datetime",
    }


def test_what_messagepack_has_is_taken_only_where_the_type_has_it() -> None:
    assert faults(Item, write({"name": b"tea", "price": NOON})) == {
        "name": "expected `str`, got `bytes`",
        "price": "expected `float`, got `datetime`",
    }
    assert faults(date, write(NOON)) == {"": "expected `date`, got `datetime`"}
    assert faults(Literal["a"], write(b"a")) == {"": "expected `str`, got `bytes`"}


# The names in a map


def test_a_name_that_is_no_string_is_the_one_that_json_has_for_it() -> None:
    names = {1: "a", 1.5: "b", b"abc": "c", NOON: "d", "e": {2: [{3: 4}]}}
    as_strings = json.loads(encode_json(names))
    assert as_strings["1"] == "a"
    for hint in (Any, dict, dict[str, Any]):
        assert Schema[object](hint).unpack(write(names)) == as_strings
        assert read(Schema[object](hint).pack(names)) == as_strings
    assert Schema[object](Box).unpack(write({"content": names})) == Box(as_strings)
    assert Schema[object](dict[str, int]).unpack(write({1: 2})) == {"1": 2}
    assert faults(Item, write({1: 2, "name": "", "price": 1})) == {"1": "unknown field"}
    assert faults(Closed, write({1: 2})) == {"1": "unknown field", "firstName": "required"}


def test_a_type_may_have_names_that_are_no_strings() -> None:
    rows: list[tuple[object, dict[Any, Any]]] = [
        (dict[int, Any], {1: {"a": b"x"}}),
        (dict[float, int], {1.5: 1}),
        (dict[bytes, int], {b"a": 1}),
        (dict[datetime, int], {NOON: 1}),
        (dict[UUID, int], {UUID(int=1): 1}),
        (dict[int, dict[int, Any]], {1: {2: None}}),
    ]
    for hint, value in rows:
        schema = Schema[object](hint)
        assert schema.pack(value) == write(value)
        assert schema.unpack(write(value)) == value
        assert schema.unpack(encode_msgpack(json.loads(encode_json(value)))) is not None
    # but not in what is inside it
    assert Schema[object](dict[int, Any]).unpack(write({1: {2: 3}})) == {1: {"2": 3}}


@pytest.mark.parametrize("name", [None, True, (1, 2)], ids=str)
def test_a_name_that_json_has_no_string_for_is_refused(name: Any) -> None:
    refusal = "as a name: expected `str`"
    assert faults(Any, write({"a": [{name: 1}]})) == {f"a[0].{name}": refusal}
    assert faults(Reading, write({"at": 1, "anything": {name: 1}})) == {
        "at": "expected `datetime`, got `int`",
        f"anything.{name}": refusal,
    }
    assert faults(dict[int, int], write({name: 1})) == {f"{name}": refusal}
    assert faults(dict[Any, int], write({name: 1})) == {f"{name}": refusal}
    schema = Schema[object](Any)
    assert (
        outcome(schema.pack, {name: b"a"})
        == {
            None: "`NoneType` has no JSON form",
            True: write({"1": "YQ=="}),  # it is 1 in JSON as well
            (1, 2): "`tuple` has no JSON form",
        }[name]
    )


# What no format of ours has


def test_a_number_that_is_not_finite_is_refused() -> None:
    refusal = "expected a finite number"
    for number in (NAN, INFINITY, -INFINITY):
        assert faults(float, write(number)) == {"": refusal}
        assert faults(float | None, write(number)) == {"": refusal}
        assert faults(Any, write({"a": [number]})) == {"a[0]": refusal}
        assert faults(Item, write({"name": 1, "price": number})) == {
            "name": "expected `str`, got `int`",
            "price": refusal,
        }
        assert faults(dict[float, int], write({number: 1}))
    for short in (b"\xca\x7f\xc0\x00\x00", b"\xca\xff\x80\x00\x00"):
        assert faults(float, short) == {"": refusal}
        assert faults(Any, b"\x91" + short) == {"[0]": refusal}
    # where there is no float, what looks like one is passed over
    assert Schema[bytes](bytes).unpack(write(b"\xcb\x7f\xf0")) == b"\xcb\x7f\xf0"
    assert Schema[object](Any).unpack(write(b"\xcb\x7f\xf0")) == b"\xcb\x7f\xf0"
    assert Schema[float](float).unpack(b"\xca\x3f\xc0\x00\x00") == 1.5


def test_an_extension_type_is_refused_where_it_stands() -> None:
    for code in (0, 5, -2, 127, -128):
        strange = Ext(code, b"x")
        refusal = f"extension type {code} is not supported"
        assert faults(Any, write({"a": [1, strange]})) == {"a[1]": refusal}
        assert faults(Box, write({"content": strange, "x": 1})) == {
            "content": refusal,
            "x": "unknown field",
        }
        assert faults(Item, write({"name": strange, "price": 1})) == {
            "name": "expected `str`, got `ext`"
        }


# The way out


def test_what_a_type_takes_in_its_json_form_is_sent_in_that_form() -> None:
    assert read(Schema[object](dict[str, str]).pack({"at": NOON})) == {"at": "2026-01-02T12:00:00Z"}
    assert read(Schema[object](list[str]).pack([b"abc", Plain.A])) == ["YWJj", "a"]
    assert read(Schema[object](Decimal).pack(2**70)) == str(2**70)
    # then the rest that is untyped is sent in that form as well
    assert read(Schema[object](tuple[str, Any, bytes]).pack((NOON, b"a", b"b"))) == [
        "2026-01-02T12:00:00Z",
        "YQ==",
        b"b",
    ]
    # where the type has bytes, bytes are sent
    assert read(Schema[Packed](Packed).pack({"raw": "YWJj"})) == {"raw": b"abc", "at": None}


def test_a_dictionary_is_as_good_as_an_instance() -> None:
    schema = Schema[Reading](Reading)
    whole = {"at": NOON, "raw": b"\xff", "number": 0, "counts": {}, "anything": None}
    assert read(schema.pack({"at": NOON})) == whole
    assert read(schema.pack(Reading(NOON))) == whole
    assert schema.pack(schema.unpack(write({"at": NOON}))) == schema.pack(Reading(NOON))
    assert read(schema.pack({"at": NOON, "counts": {1: 2}, "anything": b"a", "secret": 1})) == (
        whole | {"counts": {1: 2}, "anything": b"a"}
    )
    assert read(Schema[Packed](Packed).pack(Packed(b"a"))) == {"raw": b"a", "at": None}


def test_a_number_that_is_not_finite_is_sent_as_json_has_it() -> None:
    assert read(Schema[object](Any).pack({"a": [NAN, 1.5]})) == {"a": [None, 1.5]}
    assert Schema[float | None](float | None).pack(INFINITY) == write(None)
    with pytest.raises(InvalidData, match="expected `float`, got `null`"):
        Schema[float](float).pack(NAN)


def test_a_default_is_sent_as_the_field_itself_would_be() -> None:
    @dataclass
    class Defaults:
        a: bytes = b"a"
        b: Any = NOON
        c: Any = field(default_factory=lambda: {"x": bytearray(b"c"), "y": (Point(1, 2),)})
        d: Any = field(default_factory=lambda: {b"d": NAN})

    schema = Schema[Defaults](Defaults)
    sent = {"a": b"a", "b": NOON, "c": {"x": b"c", "y": [[1, 2, ""]]}}
    assert read(schema.pack({})) == sent | {"d": {"ZA==": None}}
    assert read(schema.pack(Defaults(d=None))) == sent | {"d": None}
    assert json.loads(schema.encode({})) == json.loads(schema.encode(Defaults()))


def test_a_default_that_cannot_be_sent_is_no_fault_of_the_value() -> None:
    @dataclass
    class Wrong:
        a: Any = field(default_factory=object)

    for write_it in (Schema[Wrong](Wrong).pack, Schema[Wrong](Wrong).encode):
        with pytest.raises(Unserializable, match="`object` has no JSON form"):
            write_it({})


def test_what_is_messagepack_already_is_sent_as_it_is() -> None:
    raw = msgspec.Raw(write({"a": b"b"}))
    assert Schema[object](Any).pack([raw]) == b"\x91" + bytes(raw)
    assert encode_msgpack([raw]) == b"\x91" + bytes(raw)
    assert Schema[msgspec.Raw](msgspec.Raw).unpack(bytes(raw)) == raw
    for wrong in (b"\xc1", b"", b"\xa2\xff\xff", b"\x01\x01"):
        with pytest.raises(InvalidData) as caught:
            Schema[object](Any).pack([msgspec.Raw(wrong)])
        assert caught.value.errors == {"": "MessagePack expected"}


@attrs.define
class Private:
    raw: bytes
    _secret: int


def test_an_instance_that_would_not_be_read_again_is_not_sent() -> None:
    # msgspec reads private attributes of such a class, and does not write them
    schema = Schema[Private](Private)
    assert schema.unpack(schema.pack({"raw": b"a", "_secret": 1})) == Private(b"a", 1)
    for value in (Private(b"a", 1), {"raw": "YQ==", "_secret": 1}):
        with pytest.raises(InvalidData) as caught:
            schema.pack(value)
        assert caught.value.errors == {"_secret": "required"}


# Any value


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ({"a": [1, 2.5, None, True, "é", b"\xff"]}, {"a": [1, 2.5, None, True, "é", b"\xff"]}),
        ([NAN, INFINITY, {"a": -INFINITY}, (NAN,)], [None, None, {"a": None}, [None]]),
        ([Text("t"), Number(3), Plain.A, Odd.A, Colour.RED], ["t", 3, "a", 1.5, "red"]),
        pytest.param([bytearray(b"a"), memoryview(b"b")], [b"a", b"b"], id="buffers"),
        ([2**64 - 1, -(2**63)], [2**64 - 1, -(2**63)]),
        (
            [NOON, NOON.replace(tzinfo=None), NOON.date()],
            [NOON, "2026-01-02T12:00:00", "2026-01-02"],
        ),
        ({1: {2.5: 3}}, {1: {2.5: 3}}),
        ([Open(1), Point(1, 2), {1}], [{"a": 1, "inner": None}, [1, 2, ""], [1]]),
        (b"\xcb\x7f\xf0" * 9, b"\xcb\x7f\xf0" * 9),
        ([b"\xcb\x7f", "\x7f"], [b"\xcb\x7f", "\x7f"]),
    ],
    ids=str,
)
def test_any_value_is_written(value: object, sent: object) -> None:
    assert read(encode_msgpack(value)) == sent


def test_a_datetime_that_is_in_no_year_in_utc_is_a_string() -> None:
    early = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))
    value = {"a": [early, NOON, NAN, b"b", 1], "b": (Packed(b"c"),)}
    assert read(encode_msgpack(value)) == {
        "a": ["0001-01-01T00:00:00+14:00", NOON, None, b"b", 1],
        "b": [{"raw": b"c", "at": None}],
    }


def test_a_value_that_cannot_be_written_is_refused() -> None:
    endless: list[object] = []
    endless.append(endless)
    for value, text in [
        (object(), "`object` has no JSON form"),
        ([Item], "`type` has no JSON form"),
        ("\ud800", "surrogates not allowed"),
        (endless, "nested too deeply, or contains itself"),
        ([{"a": 2**64}], "integer out of range"),
        (-(2**63) - 1, "integer out of range"),
        ({2**64: 1}, "serialize ints"),
        ([2**64, object()], "`object` has no JSON form"),
    ]:
        with pytest.raises(Unserializable, match=text):
            encode_msgpack(value)


def test_a_span_says_in_both_formats_what_its_own_code_says() -> None:
    schema = Schema[Span](Span)
    wrong = {"start": 2, "end": 1}
    assert outcome(schema.unpack, write(wrong)) == outcome(schema.decode, json.dumps(wrong))
    assert outcome(schema.pack, wrong) == outcome(schema.encode, wrong)
