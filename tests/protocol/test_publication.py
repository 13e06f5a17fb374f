"""What was published, as it is kept: written once for each format."""

import gc
import json
import weakref
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from openapi.errors import Unserializable
from openapi.protocol.publication import Data, Publication


def test_data_is_written_as_json_and_as_messagepack() -> None:
    data = Data.of({"a": [1, None], "b": b"\x01"})
    assert data.json == b'{"a":[1,null],"b":"AQ=="}'
    assert msgspec.msgpack.decode(data.packed) == {"a": [1, None], "b": b"\x01"}


def test_it_is_what_was_published_whatever_becomes_of_the_object() -> None:
    value = {"n": 1}
    data = Data.of(value)
    value["n"] = 2
    assert json.loads(data.json) == msgspec.msgpack.decode(data.packed) == {"n": 1}


def test_what_is_written_is_not_written_again() -> None:
    data = Data.of(1)
    assert Data.of(data) is data


def test_what_has_no_json_form_is_refused() -> None:
    with pytest.raises(Unserializable):
        Data.of({"a": object()})


def test_what_has_a_json_form_only_says_so_when_messagepack_is_wanted() -> None:
    data = Data.of({"n": 2**70})
    assert json.loads(data.json) == {"n": 2**70}
    with pytest.raises(Unserializable, match="integer out of range"):
        _ = data.packed


def test_what_has_a_json_form_only_does_not_keep_its_object_alive() -> None:
    class Row(dict[str, Any]):
        pass

    row = Row(n=2**70)
    alive, data = weakref.ref(row), Data.of(row)
    del row
    gc.collect()
    assert alive() is None
    assert data.json == b'{"n":%d}' % 2**70


def test_a_digest_is_that_of_the_event_and_the_json_text() -> None:
    one = Data.of({"a": 1}).digest("done")
    assert len(one) == 16
    assert one == Data.of({"a": 1}).digest("done")
    assert one != Data.of({"a": 1}).digest("undone")
    assert one != Data.of({"a": 2}).digest("done")
    assert Data(b"23", b"").digest("1") != Data(b"3", b"").digest("12")
    assert Data.of(1).digest("\ud800") != Data.of(1).digest("?")


def test_a_publication_has_its_number_and_its_time() -> None:
    at = datetime(2026, 1, 2, tzinfo=UTC).timestamp()
    kept = Publication(7, "done", Data.of([at]), at)
    assert (kept.offset, kept.event, kept.at) == (7, "done", at)
    assert json.loads(kept.data.json) == [at]


@pytest.mark.parametrize(
    "value", [None, 0, 1.0, -0.0, 2**64 - 1, "☃", [1, {"a": []}], {"b": {"c": 1.5}}]
)
def test_messagepack_that_follows_from_the_json_text_is_not_apart(value: Any) -> None:
    data = Data.of(value)
    assert data.apart is None
    derived = Data(data.json, None)
    assert derived.packed_bytes == 0
    assert derived.packed == data.packed
    assert derived.packed_bytes == len(data.packed)


@pytest.mark.parametrize("value", [b"\x01", {1: "a"}, datetime(2026, 1, 2, tzinfo=UTC)])
def test_messagepack_that_says_more_than_the_json_text_is_apart(value: Any) -> None:
    data = Data.of(value)
    assert data.apart == data.packed


def test_that_there_is_no_messagepack_follows_from_the_json_text() -> None:
    assert Data.of(2**70).apart is None
    for data in (Data.of(2**70), Data(b"%d" % 2**70, None)):
        with pytest.raises(Unserializable):
            _ = data.packed
        assert data.packed_bytes == 0
