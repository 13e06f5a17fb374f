"""The method table of a class: what it takes from declarations, and which it refuses."""

import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from textwrap import dedent
from types import ModuleType
from typing import Any, NotRequired, TypedDict

import msgspec
import pytest

from openapi.errors import DeclarationError, ErrorCode, InvalidData, RpcError, Unserializable
from openapi.protocol.methods import Method, MethodNamespace, MethodTable, ws_rpc
from openapi.ws import WsPathMixin


@dataclass
class Pair:
    """Two numbers."""

    a: int
    b: int = 0


@dataclass
class Total:
    """Their sum."""

    sum: int


class Span(TypedDict):
    """From one day to another."""

    first: date
    last: NotRequired[date]
    pair: NotRequired[Pair]


class Calculator:
    """Every way to declare a method."""

    async def ws_rpc_add(self, payload: Pair) -> Total:
        """Add two numbers

        The second one is zero by default,
        if it is not there.
        """
        return Total(payload.a + payload.b)

    async def ws_rpc_echo(self, payload):  # type: ignore[no-untyped-def] # as users write it
        return payload

    @ws_rpc(body_schema=Span, response_schema=dict[str, int])
    async def ws_rpc_days(self, payload: dict[str, Any]) -> Any:
        """Count days"""
        return {"days": (payload["last"] - payload["first"]).days}

    @ws_rpc(body_schema=Pair)
    async def ws_rpc_plain(self, payload: dict[str, Any]) -> Any:
        return [type(payload).__name__, payload]

    @ws_rpc(body_schema=Span)
    async def ws_rpc_nested(self, payload: dict[str, Any]) -> Any:
        return [payload["pair"]["a"], type(payload["first"]).__name__]

    async def ws_rpc_options(self, payload: Pair, *rest: int, scale: int = 2, **more: int) -> int:
        return payload.a * scale

    async def ws_rpc_nothing(self, payload: dict[str, Any]) -> None:
        return None

    async def helper(self) -> str:
        """No RPC method."""
        return "secret"


TABLE = MethodTable.of(Calculator)


async def call(name: str, payload: object = None) -> Any:
    """Call a method of a calculator as the wire would."""
    return json.loads(await TABLE.call(Calculator(), name, payload))


def test_the_table_has_the_methods_by_name_and_nothing_else() -> None:
    assert list(TABLE) == ["add", "days", "echo", "nested", "nothing", "options", "plain"]
    assert len(TABLE) == 7
    assert repr(TABLE["add"]) == "<Method add>"
    assert TABLE.find("helper") is None
    assert "__init__" not in TABLE
    with pytest.raises(KeyError):
        TABLE["helper"]


def test_a_docstring_is_the_summary_and_the_description() -> None:
    assert TABLE["add"].summary == "Add two numbers"
    assert TABLE["add"].description == "The second one is zero by default,\nif it is not there."
    assert (TABLE["days"].summary, TABLE["days"].description) == ("Count days", "")
    assert (TABLE["echo"].summary, TABLE["echo"].description) == ("", "")


def test_the_types_are_those_of_the_declaration() -> None:
    def hints(method: Method) -> tuple[object, object]:
        return (
            method.payload.hint if method.payload else None,
            method.returns.hint if method.returns else None,
        )

    assert hints(TABLE["add"]) == (Pair, Total)
    assert hints(TABLE["echo"]) == (None, None)
    assert hints(TABLE["days"]) == (Span, dict[str, int])
    assert hints(TABLE["nothing"]) == (None, type(None))


async def test_a_typed_payload_is_an_instance_and_a_typed_result_is_written() -> None:
    assert await call("add", {"a": 1, "b": 2}) == {"sum": 3}
    assert await call("add", {"a": 1}) == {"sum": 1}


async def test_an_untyped_payload_is_the_dictionary() -> None:
    assert await call("echo", {"x": [1, None]}) == {"x": [1, None]}
    assert await call("echo") == {}


async def test_a_payload_that_body_schema_types_is_a_plain_dictionary_all_the_way_down() -> None:
    assert await call("plain", {"a": 1}) == ["dict", {"a": 1, "b": 0}]
    assert await call("nested", {"first": "2026-01-01", "pair": {"a": 5}}) == [5, "date"]


async def test_response_schema_types_the_result() -> None:
    assert await call("days", {"first": "2026-01-01", "last": "2026-01-31"}) == {"days": 30}


async def test_parameters_that_have_defaults_stay_at_them() -> None:
    assert await call("options", {"a": 4}) == 8


async def test_a_method_that_declares_to_return_nothing_answers_null() -> None:
    assert await call("nothing") is None


async def test_a_payload_that_does_not_fit_names_every_field() -> None:
    with pytest.raises(InvalidData) as caught:
        await call("add", {"a": "one", "c": 3})

    assert caught.value.errors == {"a": "expected `int`, got `str`", "c": "unknown field"}


@pytest.mark.parametrize("name", ["add", "echo", "plain"])
async def test_a_payload_that_is_no_object_is_named_payload(name: str) -> None:
    with pytest.raises(InvalidData) as caught:
        await call(name, [1])

    assert caught.value.errors == {"payload": "expected `object`, got `array`"}


async def test_an_unknown_method_is_not_found() -> None:
    with pytest.raises(RpcError) as caught:
        await call("helper")

    assert caught.value.code == ErrorCode.METHOD_NOT_FOUND
    assert caught.value.message == "helper method not available"


async def test_an_error_of_the_application_passes_with_its_fields() -> None:
    class Shop:
        async def ws_rpc_buy(self, payload: dict[str, Any]) -> None:
            raise RpcError(
                7, "sold out", data={"left": 0}, errors={"item": "none"}, retry_after=500
            )

    with pytest.raises(RpcError) as caught:
        await MethodTable.of(Shop).call(Shop(), "buy")

    error = caught.value
    assert (error.code, error.message, error.data) == (7, "sold out", {"left": 0})
    assert (error.errors, error.retry_after) == ({"item": "none"}, 500)
    assert str(error) == "sold out (7); item: none"


async def test_a_result_that_does_not_fit_or_has_no_json_form_is_refused() -> None:
    class Wrong:
        async def ws_rpc_misfit(self, payload: dict[str, Any]) -> Total:
            return {"sum": "three"}  # type: ignore[return-value] # what is being tested

        async def ws_rpc_opaque(self, payload: dict[str, Any]) -> Any:
            return object()

    table = MethodTable.of(Wrong)

    with pytest.raises(InvalidData, match="^sum: expected `int`, got `str`$"):
        await table.call(Wrong(), "misfit")
    with pytest.raises(Unserializable, match="^`object` has no JSON form$"):
        await table.call(Wrong(), "opaque")


def test_no_payload_is_the_empty_object() -> None:
    with pytest.raises(InvalidData) as caught:
        TABLE["add"].decode(b"")

    assert TABLE["echo"].decode(b"") == {}
    assert caught.value.errors == {"a": "required"}


# MessagePack


@dataclass
class Stamp:
    """What JSON writes as text."""

    at: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    raw: bytes = b""


class Packed:
    """Methods whose payloads and results are MessagePack."""

    async def ws_rpc_stamp(self, payload: Stamp) -> Stamp:
        return payload

    @ws_rpc(body_schema=Stamp)
    async def ws_rpc_plain(self, payload: dict[str, Any]) -> Any:
        return payload

    async def ws_rpc_echo(self, payload: dict[str, Any]) -> Any:
        return payload


PACKED = MethodTable.of(Packed)


@pytest.mark.parametrize("name", ["stamp", "plain", "echo"])
def test_a_packed_payload_comes_back_as_it_was(name: str) -> None:
    method = PACKED[name]
    sent: dict[str, Any] = {"at": datetime(2026, 2, 3, tzinfo=UTC), "raw": b"\xff\x00"}

    payload = method.decode(msgspec.msgpack.encode(sent), packed=True)

    assert payload == (Stamp(**sent) if name == "stamp" else sent)
    assert msgspec.msgpack.decode(method.encode(payload, packed=True)) == sent


def test_no_packed_payload_is_the_empty_object_too() -> None:
    assert PACKED["echo"].decode(b"", packed=True) == {}
    assert PACKED["stamp"].decode(b"", packed=True) == Stamp()


def test_a_packed_payload_that_does_not_fit_names_every_field() -> None:
    with pytest.raises(InvalidData) as caught:
        TABLE["add"].decode(msgspec.msgpack.encode({"b": "one", "c": 3}), packed=True)

    assert caught.value.errors.keys() == {"a", "b", "c"}
    with pytest.raises(InvalidData) as caught:
        TABLE["echo"].decode(msgspec.msgpack.encode([1]), packed=True)
    assert caught.value.errors.keys() == {"payload"}


def test_a_packed_result_that_does_not_fit_or_has_no_form_is_refused() -> None:
    with pytest.raises(InvalidData):
        TABLE["add"].encode({"sum": "three"}, packed=True)
    with pytest.raises(Unserializable):
        TABLE["echo"].encode(object(), packed=True)


# Streams


@dataclass
class Log:
    """A stream, and what became of it."""

    ended: list[str] = field(default_factory=list)

    async def ws_rpc_tail(self, payload: Pair) -> AsyncIterator[Total]:
        try:
            for number in range(payload.a, payload.b):
                yield Total(number)
        finally:
            self.ended.append("tail")

    async def ws_rpc_wrong(self, payload):  # type: ignore[no-untyped-def] # as users write it
        try:
            yield {"any": "thing"}
            yield object()
        finally:
            self.ended.append("wrong")

    async def ws_rpc_broken(self, payload: Pair) -> AsyncIterator[int]:
        yield 1
        raise RpcError(7, "no more")

    @ws_rpc(response_schema=Total)
    async def ws_rpc_misfit(self, payload: Pair) -> AsyncIterator[Any]:
        yield {"sum": "three"}

    async def ws_rpc_size(self, payload: Pair) -> int:
        return payload.a


LOG = MethodTable.of(Log)


async def test_a_stream_gives_its_items_one_by_one_each_written_as_its_type() -> None:
    log = Log()

    assert [item async for item in LOG.stream(log, "tail", {"a": 1, "b": 3})] == [
        b'{"sum":1}',
        b'{"sum":2}',
    ]
    assert log.ended == ["tail"]


async def test_a_stream_without_items_just_ends() -> None:
    assert [item async for item in LOG.stream(Log(), "tail", {"a": 1, "b": 1})] == []


async def test_who_closes_a_stream_before_its_end_ends_it() -> None:
    log = Log()

    async with aclosing(LOG.stream(log, "tail", {"a": 1, "b": 9})) as items:
        assert await anext(items) == b'{"sum":1}'
        assert log.ended == []

    assert log.ended == ["tail"]


async def test_a_stream_that_nobody_reads_never_begins() -> None:
    log = Log()

    await LOG.stream(log, "tail", {"a": 1, "b": 9}).aclose()

    assert log.ended == []


async def test_an_item_that_cannot_be_written_ends_the_stream() -> None:
    log = Log()
    items = LOG.stream(log, "wrong")

    assert await anext(items) == b'{"any":"thing"}'
    with pytest.raises(Unserializable):
        await anext(items)
    assert log.ended == ["wrong"]
    with pytest.raises(InvalidData, match="^sum: expected `int`, got `str`$"):
        await anext(LOG.stream(log, "misfit", {"a": 1}))


async def test_an_error_of_a_stream_comes_after_its_items() -> None:
    items = LOG.stream(Log(), "broken", {"a": 1})

    assert await anext(items) == b"1"
    with pytest.raises(RpcError, match="no more"):
        await anext(items)


def test_a_stream_is_refused_before_it_is_read() -> None:
    with pytest.raises(InvalidData, match="^a: required$"):
        LOG.stream(Log(), "tail")
    with pytest.raises(RpcError, match="^helper method not available"):
        LOG.stream(Log(), "helper")


async def test_a_stream_cannot_be_called_and_a_call_cannot_be_streamed() -> None:
    with pytest.raises(TypeError) as caught:
        await LOG.call(Log(), "tail", {"a": 1})
    assert str(caught.value) == "tail is a stream, which has items and no result: use stream()"

    with pytest.raises(TypeError) as caught:
        LOG.stream(Log(), "size", {"a": 1})
    assert str(caught.value) == "size is no stream, it has one result: use call()"


# Overriding


class Base:
    """What others derive from."""

    async def ws_rpc_add(self, payload: Pair) -> Any:
        """Add"""
        return payload.a + payload.b

    @ws_rpc(body_schema=Pair, response_schema=Total)
    async def ws_rpc_total(self, payload: dict[str, Any]) -> Any:
        return {"sum": payload["a"]}


async def test_an_override_without_types_keeps_those_of_what_it_overrides() -> None:
    class Derived(Base):
        async def ws_rpc_add(self, payload):  # type: ignore[no-untyped-def] # as users write it
            return await super().ws_rpc_add(payload) * 10

        async def ws_rpc_total(self, payload):  # type: ignore[no-untyped-def] # as users write it
            return {"sum": payload["a"] * 10}

    table = MethodTable.of(Derived)

    assert await table.call(Derived(), "add", {"a": 1, "b": 2}) == b"30"
    assert await table.call(Derived(), "total", {"a": 1}) == b'{"sum":10}'
    assert table["add"].summary == "Add"
    with pytest.raises(InvalidData):
        await table.call(Derived(), "total", {"a": "x"})


async def test_an_override_may_declare_types_of_its_own() -> None:
    class Derived(Base):
        async def ws_rpc_add(self, payload: Pair) -> int:
            return 1

        async def ws_rpc_total(self, payload: Total) -> int:  # type: ignore[override] # allowed here
            return payload.sum

    table = MethodTable.of(Derived)

    assert table["add"].payload is not None
    assert table["add"].payload.hint is Pair
    assert table["add"].returns is not None
    assert table["add"].returns.hint is int
    assert await table.call(Derived(), "total", {"sum": 4}) == b"4"


async def test_methods_of_several_bases_come_together() -> None:
    class Other:
        async def ws_rpc_other(self, payload: dict[str, Any]) -> int:
            return 1

    class Both(Base, Other):
        pass

    assert list(MethodTable.of(Both)) == ["add", "other", "total"]


async def test_a_base_that_two_share_defines_its_method_once() -> None:
    class Left(Base):
        pass

    class Right(Base):
        async def ws_rpc_add(self, payload: Pair) -> Any:
            return "right"

    class Both(Left, Right):
        pass

    assert await MethodTable.of(Both).call(Both(), "add", {"a": 1}) == b'"right"'


# Wrong declarations: each is refused with a sentence that says where and what to do


def not_async() -> type:
    class Wrong:
        def ws_rpc_x(self, payload):  # type: ignore[no-untyped-def]
            pass

    return Wrong


def generator() -> type:
    class Wrong:
        def ws_rpc_x(self, payload):  # type: ignore[no-untyped-def]
            yield 1

    return Wrong


def static() -> type:
    class Wrong:
        @staticmethod
        async def ws_rpc_x(payload):  # type: ignore[no-untyped-def]
            pass

    return Wrong


def attribute() -> type:
    class Wrong:
        ws_rpc_x = 5

    return Wrong


def other_name() -> type:
    class Wrong:
        @ws_rpc(timeout=5)
        async def x(self, payload):  # type: ignore[no-untyped-def]
            pass

    return Wrong


def other_name_in_a_base() -> type:
    return type("Right", (other_name(),), {})


def no_payload() -> type:
    class Wrong:
        async def ws_rpc_x(self):  # type: ignore[no-untyped-def]
            pass

    return Wrong


def only_keywords() -> type:
    class Wrong:
        async def ws_rpc_x(self, *, payload):  # type: ignore[no-untyped-def]
            pass

    return Wrong


def only_a_rest() -> type:
    class Wrong:
        async def ws_rpc_x(self, *payload):  # type: ignore[no-untyped-def]
            pass

    return Wrong


def one_more_parameter() -> type:
    class Wrong:
        async def ws_rpc_x(self, payload, user):  # type: ignore[no-untyped-def]
            pass

    return Wrong


def one_more_keyword() -> type:
    class Wrong:
        async def ws_rpc_x(self, payload, *, user):  # type: ignore[no-untyped-def]
            pass

    return Wrong


def unsupported_payload() -> type:
    class Wrong:
        async def ws_rpc_x(self, payload: complex) -> None:
            pass

    return Wrong


def unsupported_result() -> type:
    class Wrong:
        async def ws_rpc_x(self, payload: dict[str, Any]) -> complex:
            return 1j

    return Wrong


def unsupported_body_schema() -> type:
    class Wrong:
        @ws_rpc(body_schema=complex)
        async def ws_rpc_x(self, payload):  # type: ignore[no-untyped-def]
            pass

    return Wrong


def unsupported_response_schema() -> type:
    class Wrong:
        @ws_rpc(response_schema=complex)
        async def ws_rpc_x(self, payload):  # type: ignore[no-untyped-def]
            pass

    return Wrong


def list_payload() -> type:
    class Wrong:
        async def ws_rpc_x(self, payload: list[int]) -> None:
            pass

    return Wrong


def typed_twice() -> type:
    class Wrong:
        @ws_rpc(body_schema=Pair)
        async def ws_rpc_x(self, payload: Pair) -> None:
            pass

    return Wrong


def two_bases() -> type:
    class Left:
        async def ws_rpc_x(self, payload):  # type: ignore[no-untyped-def]
            pass

    class Right:
        async def ws_rpc_x(self, payload):  # type: ignore[no-untyped-def]
            pass

    class Wrong(Left, Right):
        pass

    return Wrong


COMPLEX = (
    "complex: `complex` is not supported;"
    " take a dataclass, a msgspec.Struct, a TypedDict or a builtin type"
)
ASYNC = "an RPC method is a coroutine function, write `async def ws_rpc_x`"
PAYLOAD = "it has no payload parameter, write `(self, payload)`"
EXTRA = "it gets the payload and nothing else, remove 'user' or give it a default"
OTHER_NAME = (
    "Wrong.x: clients call methods that are named ws_rpc_NAME;"
    " name it ws_rpc_x, or leave `@ws_rpc` out"
)
WRONG: dict[Callable[[], type], str] = {
    not_async: f"Wrong.ws_rpc_x: {ASYNC}",
    generator: f"Wrong.ws_rpc_x: {ASYNC}",
    static: f"Wrong.ws_rpc_x: {ASYNC}",
    attribute: f"Wrong.ws_rpc_x: {ASYNC}",
    other_name: OTHER_NAME,
    other_name_in_a_base: OTHER_NAME.replace("Wrong", "other_name.<locals>.Wrong"),
    no_payload: f"Wrong.ws_rpc_x: {PAYLOAD}",
    only_keywords: f"Wrong.ws_rpc_x: {PAYLOAD}",
    only_a_rest: f"Wrong.ws_rpc_x: {PAYLOAD}",
    one_more_parameter: f"Wrong.ws_rpc_x: {EXTRA}",
    one_more_keyword: f"Wrong.ws_rpc_x: {EXTRA}",
    unsupported_payload: f"Wrong.ws_rpc_x: payload: {COMPLEX}",
    unsupported_result: f"Wrong.ws_rpc_x: result: {COMPLEX}",
    unsupported_body_schema: f"Wrong.ws_rpc_x: body_schema: {COMPLEX}",
    unsupported_response_schema: f"Wrong.ws_rpc_x: response_schema: {COMPLEX}",
    list_payload: "Wrong.ws_rpc_x: its payload must be an object, list[int] is none",
    typed_twice: (
        "Wrong.ws_rpc_x: its payload is typed twice, by body_schema and by"
        " <class 'tests.protocol.test_methods.Pair'>"
    ),
    two_bases: (
        "Wrong.ws_rpc_x: Left and Right both define it, and neither is a base of the other;"
        " define it in Wrong"
    ),
}


def test_a_method_may_have_another_name_besides() -> None:
    class Right:
        @ws_rpc(timeout=5)
        async def ws_rpc_x(self, payload: Pair) -> None: ...

        x = ws_rpc_x

    assert list(MethodTable.of(Right)) == ["x"]


@pytest.mark.parametrize("declare", WRONG, ids=lambda declare: declare.__name__)
def test_a_wrong_declaration_is_refused_with_where_and_what_to_do(
    declare: Callable[[], type],
) -> None:
    with pytest.raises(DeclarationError) as caught:
        MethodTable.of(declare())

    assert str(caught.value).replace(f"{declare.__name__}.<locals>.", "") == WRONG[declare]


def test_a_wrong_declaration_fails_when_the_endpoint_is_defined() -> None:
    with pytest.raises(DeclarationError, match="Endpoint.ws_rpc_x: an RPC method is a coroutine"):

        class Endpoint(WsPathMixin):
            def ws_rpc_x(self, payload):  # type: ignore[no-untyped-def]
                pass


def test_two_methods_of_one_name_are_refused_where_the_second_one_is_defined() -> None:
    with pytest.raises(DeclarationError) as caught:

        class Endpoint(WsPathMixin):
            async def ws_rpc_x(self, payload):  # type: ignore[no-untyped-def]
                pass

            async def ws_rpc_x(self, payload):  # type: ignore[no-untyped-def,no-redef] # noqa: F811
                pass

    assert str(caught.value) == "Endpoint.ws_rpc_x: there are two methods of this name"


def test_a_name_space_minds_two_methods_of_one_name_and_nothing_else() -> None:
    namespace = MethodNamespace("Owner")
    namespace["helper"] = 1
    namespace["helper"] = 2
    namespace["ws_rpc_x"] = 1

    with pytest.raises(DeclarationError, match="^Owner.ws_rpc_x: there are two methods"):
        namespace["ws_rpc_x"] = 2
    assert namespace == {"helper": 2, "ws_rpc_x": 1}


# Annotations that are strings


def module(source: str) -> ModuleType:
    """A module of its own, whose annotations are strings."""
    made = ModuleType("annotated")
    sys.modules["annotated"] = made
    exec(dedent("from __future__ import annotations\n" + dedent(source)), made.__dict__)
    return made


async def test_annotations_that_are_strings_are_types_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "annotated", ModuleType("annotated"))
    made = module(
        """
        from dataclasses import dataclass
        from typing import Any

        class Calculator:
            async def ws_rpc_double(self, payload: Number) -> Number:
                return Number(payload.n * 2)

            async def ws_rpc_echo(self, payload: dict[str, Any]) -> Any:
                return payload

        @dataclass
        class Number:
            n: int | None
        """
    )
    table = MethodTable.of(made.Calculator)

    assert await table.call(made.Calculator(), "double", {"n": 2}) == b'{"n":4}'
    assert table["echo"].payload is None


def test_an_annotation_that_cannot_be_found_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "annotated", ModuleType("annotated"))
    made = module(
        """
        class Calculator:
            async def ws_rpc_double(self, payload: Number) -> None:
                pass
        """
    )

    with pytest.raises(DeclarationError) as caught:
        MethodTable.of(made.Calculator)

    assert str(caught.value) == (
        "Calculator.ws_rpc_double: an annotation cannot be resolved (name 'Number' is not"
        " defined); the types of handlers are needed when the program runs: define them in the"
        " module, outside `if TYPE_CHECKING:`"
    )
