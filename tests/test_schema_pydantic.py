"""pydantic models as types."""

import json
import subprocess
import sys
from datetime import UTC, date, datetime
from typing import Annotated, Any, Generic, TypeVar

import msgspec
import pytest
from jsonschema import Draft202012Validator
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    computed_field,
    field_validator,
)

from openapi.errors import DeclarationError, InvalidData
from openapi.schema import Schema, encode_json

T = TypeVar("T")
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


class Address(BaseModel):
    city: str
    zip_code: str = Field(alias="zip", pattern="^[0-9]+$")


class Person(BaseModel):
    """Somebody."""

    name: str = Field(min_length=1)
    age: int
    born: date | None = None
    addresses: list[Address] = []
    friends: "list[Person]" = []

    @field_validator("name")
    @classmethod
    def _check(cls, value: str) -> str:
        if value == "root":
            raise ValueError("is taken")
        return value

    @computed_field  # type: ignore[prop-decorator] # pydantic's own order of decorators
    @property
    def adult(self) -> bool:
        return self.age >= 18


class Anything(BaseModel):
    model_config = ConfigDict(extra="allow", strict=False)
    a: int


class Ignoring(BaseModel):
    model_config = ConfigDict(extra="ignore")
    a: int


class Mixed(BaseModel):
    open: Anything
    ignoring: Ignoring
    closed: Address


class Page(BaseModel, Generic[T]):
    items: list[T]


class Names(RootModel[list[str]]):
    pass


class Table(RootModel[dict[str, int]]):
    pass


def faults(hint: object, data: Any) -> dict[str, str]:
    with pytest.raises(InvalidData) as caught:
        Schema[object](hint).decode(data if isinstance(data, str) else json.dumps(data))
    return caught.value.errors


def test_a_model_is_decoded_and_written_back() -> None:
    schema = Schema[Person](Person)
    data = {
        "name": "Ada",
        "age": 36,
        "born": "1815-12-10",
        "addresses": [{"city": "London", "zip": "1"}],
        "friends": [{"name": "Charles", "age": 40}],
    }
    person = schema.decode(json.dumps(data))
    assert person.born == date(1815, 12, 10)
    assert person.addresses[0].zip_code == "1"
    assert person.friends[0].name == "Charles"
    assert schema.convert(data) == person
    assert schema.decode(schema.encode(person)) == person
    assert schema.is_object


def test_models_stand_in_lists_unions_and_other_types() -> None:
    person = Person(name="Ada", age=1)
    data = {"name": "Ada", "age": 1}
    assert Schema[object](list[Person]).decode(json.dumps([data])) == [person]
    assert Schema[object](Person | None).decode("null") is None
    assert Schema[object](Person | None).decode(json.dumps(data)) == person
    assert Schema[object](dict[str, Page[int]]).decode('{"a":{"items":[1]}}') == {
        "a": Page[int](items=[1])
    }
    assert Schema[object](Names).decode('["a"]') == Names(["a"])
    assert not Schema[object](Names).is_object
    assert Schema[object](Table).is_object


def test_every_faulty_field_of_a_model_is_named() -> None:
    wrong = {
        "name": "",
        "age": "36",
        "addresses": [{"city": "x", "zip": "y", "street": 1}],
        "friends": [{"name": "root", "age": True}],
        "extra": 1,
    }
    errors = {
        "name": "string should have at least 1 character",
        "age": "input should be a valid integer",
        "addresses[0].zip": "string should match pattern '^[0-9]+$'",
        "addresses[0].street": "unknown field",
        "friends[0].name": "value error, is taken",
        "friends[0].age": "input should be a valid integer",
        "extra": "unknown field",
    }
    assert faults(Person, wrong) == errors
    assert faults(list[Person], [wrong]) == {f"[0].{path}": text for path, text in errors.items()}
    assert faults(Person | None, {"name": "x"}) == {"age": "required"}
    assert "" in faults(Person, 1)


def test_a_models_own_rules_hold_and_the_librarys_where_it_has_none() -> None:
    data = {
        "open": {"a": "1", "b": 2},
        "ignoring": {"a": 1, "b": 2},
        "closed": {"city": "x", "zip": "1"},
    }
    mixed = Schema[Mixed](Mixed).decode(json.dumps(data))
    assert mixed.open.model_extra == {"b": 2}
    assert mixed.open.a == 1
    wrong = {**data, "closed": {"city": 1, "zip": "1", "b": 2}, "ignoring": {"a": "1"}}
    assert set(faults(Mixed, wrong)) == {"closed.city", "closed.b", "ignoring.a"}


def test_long_integers_are_refused_in_models_too() -> None:
    text = f'{{"name":"x","age":{2**64}}}'
    assert faults(Person, text) == {"age": "integer out of range"}
    assert faults(Anything, f'{{"a":1,"b":[{2**64}]}}') == {"b[0]": "integer out of range"}


def test_a_query_may_be_a_model() -> None:
    class Query(BaseModel):
        limit: int = 1
        tags: list[str] = []
        ids: list[int] | None = None

    schema = Schema[Query](Query)
    query = schema.convert({"limit": "3", "tags": "x", "ids": "1"}, lax=True)
    assert query == Query(limit=3, tags=["x"], ids=[1])
    with pytest.raises(InvalidData) as caught:
        schema.convert({"limit": "x", "page": "1"}, lax=True)
    assert set(caught.value.errors) == {"limit", "page"}
    with pytest.raises(InvalidData):
        schema.convert("x", lax=True)


def test_a_dictionary_is_as_good_as_an_instance_of_a_model() -> None:
    schema = Schema[Address](Address)
    assert schema.encode({"city": "x", "zip": "1"}) == b'{"city":"x","zip":"1"}'
    assert schema.dump(Address(city="x", zip="1")) == {"city": "x", "zip": "1"}
    assert encode_json([Address(city="x", zip="1")]) == b'[{"city":"x","zip":"1"}]'


DATA = [
    {"name": "Ada", "age": 1},
    {"name": "Ada", "age": 1, "x": 1},
    {"name": "", "age": 1},
    {"name": "Ada", "age": 2**64},
    {"name": "Ada", "age": "1"},
    {"name": "Ada", "age": 1, "addresses": [{"city": "", "zip": "1"}]},
    {"name": "Ada", "age": 1, "addresses": [{"city": "", "zip": "a"}]},
    {"name": "Ada", "age": 1, "friends": [{"name": "B", "age": 2, "friends": [{}]}]},
    [],
]


def test_the_json_schema_of_a_model_is_true() -> None:
    schema = Schema[Person](Person)
    defs: dict[str, Any] = {}
    document = schema.json_schema(defs, "#/$defs/{name}")
    assert document == {"$ref": "#/$defs/Person"}
    assert set(defs) == {"Person", "Address"}
    assert defs["Person"]["description"] == "Somebody."
    validator = Draft202012Validator({**document, "$defs": defs})
    accepted = []
    for data in DATA:
        try:
            schema.convert(data)
            accepted.append(True)
        except InvalidData:
            accepted.append(False)
        assert validator.is_valid(data) is accepted[-1]
    assert accepted == [True, False, False, False, False, True, False, False, False]


def test_models_of_one_name_have_names_of_their_own_in_a_document() -> None:
    first = Person

    def make() -> type[BaseModel]:
        class Person(BaseModel):
            other: int

        return Person

    components: dict[str, Any] = {}
    assert Schema[object](first).json_schema(components)["$ref"].endswith("/Person")
    second = Schema[object](make()).json_schema(components)["$ref"].rpartition("/")[2]
    assert second != "Person"
    assert "other" in components[second]["properties"]
    assert Schema[object](list[first]).json_schema(components)["items"]["$ref"].endswith("/Person")  # type: ignore[valid-type]
    assert len(components) == 3
    assert Schema[object](Table).json_schema(components)["$ref"].endswith("/Table")
    assert "additionalProperties" in components["Table"]
    assert Schema[object](Mixed).json_schema(components)
    assert components["Anything"]["additionalProperties"] is True
    assert "additionalProperties" not in components["Ignoring"]


def test_constraints_of_pydantic_on_other_types_are_refused_rather_than_ignored() -> None:
    with pytest.raises(DeclarationError, match=r"FieldInfo would not be checked"):
        Schema[object](Annotated[int, Field(gt=3)])
    assert Schema[object](Annotated[int, msgspec.Meta(gt=3)]).decode("4") == 4


def test_a_missing_or_old_pydantic_is_said_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pydantic.VERSION", "2.9.1")
    monkeypatch.delitem(sys.modules, "openapi.schema._pydantic")
    monkeypatch.delattr("openapi.schema._pydantic")
    with pytest.raises(DeclarationError, match=r'pip install "aio-openapi\[pydantic\]"'):
        Schema[object](Person)


def test_nothing_imports_pydantic_before_a_model_is_used() -> None:
    code = (
        "import sys; from openapi.schema import Schema, encode_json; "
        "Schema(dict[str, int]).encode({'a': 1}); print('pydantic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# MessagePack


class File(BaseModel):
    content: bytes
    at: datetime | None = None
    more: Any = None
    size: float | None = None


def refusal(hint: object, value: Any) -> dict[str, str]:
    """What the type says to a value as MessagePack."""
    with pytest.raises(InvalidData) as caught:
        Schema[object](hint).unpack(msgspec.msgpack.encode(value))
    return caught.value.errors


def test_a_model_is_packed_in_its_json_form_and_unpacked() -> None:
    for hint, value in [
        (Person, Person(name="Ada", age=36, born=date(1815, 12, 10))),
        (File, File(content=b"abc", at=NOON, more=[1], size=1.5)),
        (list[File], [File(content=b"")]),
        (Page[int], Page[int](items=[1])),
        (Names, Names(["a"])),
        (Table, Table({"a": 1})),
    ]:
        schema = Schema[object](hint)
        assert msgspec.msgpack.decode(schema.pack(value)) == schema.dump(value)
        assert schema.unpack(schema.pack(value)) == value
        assert schema.unpack(msgspec.msgpack.encode(schema.dump(value))) == value


def test_bin_and_timestamps_are_taken_where_a_model_has_bytes_and_datetimes() -> None:
    schema = Schema[File](File)
    data = {"content": b"\xff\xfe", "at": NOON, "more": [{"a": b"abc", 1: NOON}]}
    file = schema.unpack(msgspec.msgpack.encode(data))
    assert (file.content, file.at) == (b"\xff\xfe", NOON)
    # what is untyped has its JSON form
    assert file.more == [{"a": "YWJj", "1": "2026-01-02T12:00:00Z"}]
    assert schema.unpack(schema.pack({"content": b"\xff"})).content == b"\xff"
    # a string is what it is in JSON
    assert schema.unpack(msgspec.msgpack.encode({"content": "abc"})).content == b"abc"
    assert schema.decode(schema.encode({"content": "abc"})).content == b"abc"
    # and bytes are not lost where the rest of the fields is added
    assert schema.unpack(schema.pack({"content": b"abc"})) == File(content=b"abc")
    assert Schema[list[File]](list[File]).unpack(
        msgspec.msgpack.encode([{"content": b"\xff", "size": 1}])
    ) == [File.model_construct(content=b"\xff", at=None, more=None, size=1.0)]


def test_every_faulty_field_of_a_model_is_named_as_in_json() -> None:
    wrong = {"name": "", "age": "36", "addresses": [{"city": "x", "zip": "y"}], "extra": 1}
    assert refusal(Person, wrong) == faults(Person, wrong)
    assert refusal(Page[int], {"items": ["1", 2]}) == faults(Page[int], {"items": ["1", 2]})


def test_a_model_is_shown_nothing_that_json_has_not() -> None:
    strange = msgspec.msgpack.Ext(5, b"")
    assert refusal(File, {"content": "", "more": [strange]}) == {
        "more[0]": "extension type 5 is not supported"
    }
    assert refusal(list[File], [{"content": "", "size": float("nan")}]) == {
        "[0].size": "expected a finite number"
    }
    assert refusal(File, {"content": "", "more": {None: 1}}) == {
        "more.None": "as a name: expected `str`"
    }
    assert refusal(File, {"content": "", 1: 1}) == {"1": "unknown field"}
