"""What a signature says: a method with one result, or a stream, and of which types."""

import sys
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from dataclasses import dataclass
from textwrap import dedent
from types import ModuleType
from typing import Annotated, Any
from typing import AsyncGenerator as OldGenerator  # noqa: UP035 # people write it
from typing import AsyncIterator as OldIterator  # noqa: UP035

import pytest
from typing_extensions import TypeAliasType

from openapi.errors import DeclarationError
from openapi.protocol.methods import Method, MethodTable, ws_rpc


@dataclass
class Line:
    """One line of a file."""

    text: str


def declared(function: Callable[..., Any], *bases: type) -> Method:
    """The method of a class that has this function for ``ws_rpc_x``."""
    return MethodTable.of(type("Log", bases, {"ws_rpc_x": function}))["x"]


def annotated(hint: object) -> Method:
    """A stream that is annotated so."""

    async def ws_rpc_x(self: object, payload: dict[str, Any]) -> Any:
        yield Line("")

    ws_rpc_x.__annotations__["return"] = hint
    return declared(ws_rpc_x)


Lines = TypeAliasType("Lines", AsyncIterator[Line])


@pytest.mark.parametrize(
    "hint",
    [
        AsyncIterator[Line],
        AsyncIterable[Line],
        AsyncGenerator[Line, None],
        OldIterator[Line],
        OldGenerator[Line, None],
        AsyncIterator["Line"],
        "AsyncIterator[Line]",
        Annotated[AsyncIterator[Line], "newest last"],
        Lines,
    ],
    ids=str,
)
def test_a_coroutine_function_that_yields_is_a_stream_of_what_it_is_annotated_with(
    hint: object,
) -> None:
    method = annotated(hint)

    assert method.stream
    assert method.returns is not None
    assert method.returns.hint is Line


@pytest.mark.parametrize(
    "hint",
    [Any, AsyncIterator, OldIterator, AsyncGenerator, AsyncIterator[Any]],
    ids=str,
)
def test_the_items_of_a_stream_may_be_anything(hint: object) -> None:
    method = annotated(hint)

    assert method.stream
    assert method.returns is None


def test_a_stream_needs_no_annotations() -> None:
    async def ws_rpc_x(self, payload):  # type: ignore[no-untyped-def] # as users write it
        yield 1

    method = declared(ws_rpc_x)

    assert (method.stream, method.payload, method.returns) == (True, None, None)


def test_response_schema_types_one_item() -> None:
    @ws_rpc(response_schema=Line)
    async def ws_rpc_x(self: object, payload: Any) -> AsyncIterator[Any]:
        yield {"text": ""}

    returns = declared(ws_rpc_x).returns

    assert returns is not None
    assert returns.hint is Line


def test_a_method_that_does_not_yield_is_no_stream() -> None:
    async def ws_rpc_x(self: object, payload: Line) -> list[Line]:
        return [payload]

    assert not declared(ws_rpc_x).stream


def test_the_items_of_a_stream_are_found_in_the_module_where_it_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = ModuleType("log")
    monkeypatch.setitem(sys.modules, "log", made)
    source = """
        from __future__ import annotations
        from collections.abc import AsyncIterator
        from dataclasses import dataclass
        from typing import Any

        class Log:
            async def ws_rpc_x(self, payload: dict[str, Any]) -> AsyncIterator[Entry]:
                yield Entry(1)

        @dataclass
        class Entry:
            number: int
        """
    exec(dedent(source), made.__dict__)

    returns = MethodTable.of(made.Log)["x"].returns

    assert returns is not None
    assert returns.hint is made.Entry


# Overriding


class Log:
    """A stream, and a method with one result."""

    @ws_rpc(timeout=3)
    async def ws_rpc_x(self, payload: Line) -> AsyncIterator[Line]:
        """Follow the log"""
        yield payload

    async def ws_rpc_size(self, payload: Line) -> int:
        return 1


def test_a_stream_that_overrides_a_stream_keeps_its_types() -> None:
    async def ws_rpc_x(self, payload):  # type: ignore[no-untyped-def] # as users write it
        yield payload

    method = declared(ws_rpc_x, Log)

    assert (method.stream, method.timeout, method.summary) == (True, 3, "Follow the log")
    assert method.payload is not None
    assert method.payload.hint is Line
    assert method.returns is not None
    assert method.returns.hint is Line


# Wrong signatures: each is refused with a sentence that says where and what to do


def annotated_and_does_not_yield() -> type:
    class Wrong:
        async def ws_rpc_x(self, payload: Line) -> AsyncIterator[Line]:
            raise NotImplementedError

    return Wrong


def annotated_as_an_old_iterator_and_does_not_yield() -> type:
    class Wrong:
        async def ws_rpc_x(self, payload: Line) -> OldIterator[Line]:
            raise NotImplementedError

    return Wrong


def yields_and_is_annotated_with_its_items() -> type:
    class Wrong:
        async def ws_rpc_x(self, payload: Line) -> int:  # type: ignore[misc] # what is tested
            yield 1

    return Wrong


def yields_and_is_annotated_with_none() -> type:
    class Wrong:
        async def ws_rpc_x(self, payload: Line) -> None:  # type: ignore[misc] # what is tested
            yield 1

    return Wrong


def yields_what_is_not_supported() -> type:
    class Wrong:
        async def ws_rpc_x(self, payload: Line) -> AsyncIterator[complex]:
            yield 1j

    return Wrong


def synchronous_generator() -> type:
    class Wrong:
        def ws_rpc_x(self, payload):  # type: ignore[no-untyped-def]
            yield 1

    return Wrong


def stream_without_a_payload() -> type:
    class Wrong:
        async def ws_rpc_x(self):  # type: ignore[no-untyped-def]
            yield 1

    return Wrong


def stream_becomes_one_result() -> type:
    class Wrong(Log):
        async def ws_rpc_x(self, payload):  # type: ignore[no-untyped-def,override]
            return 1

    return Wrong


def one_result_becomes_a_stream() -> type:
    class Wrong(Log):
        async def ws_rpc_size(self, payload):  # type: ignore[no-untyped-def]
            yield 1

    return Wrong


NO_YIELD = "it is annotated as a stream and does not yield; send the items with `yield`"
WRONG: dict[Callable[[], type], str] = {
    annotated_and_does_not_yield: f"Wrong.ws_rpc_x: {NO_YIELD}",
    annotated_as_an_old_iterator_and_does_not_yield: f"Wrong.ws_rpc_x: {NO_YIELD}",
    yields_and_is_annotated_with_its_items: (
        "Wrong.ws_rpc_x: it yields, so it returns an async iterator and not <class 'int'>;"
        " annotate its items, as `-> AsyncIterator[Line]`"
    ),
    yields_and_is_annotated_with_none: (
        "Wrong.ws_rpc_x: it yields, so it returns an async iterator and not <class 'NoneType'>;"
        " annotate its items, as `-> AsyncIterator[Line]`"
    ),
    yields_what_is_not_supported: (
        "Wrong.ws_rpc_x: item: complex: `complex` is not supported;"
        " take a dataclass, a msgspec.Struct, a TypedDict or a builtin type"
    ),
    synchronous_generator: (
        "Wrong.ws_rpc_x: an RPC method is a coroutine function, write `async def ws_rpc_x`"
    ),
    stream_without_a_payload: (
        "Wrong.ws_rpc_x: it has no payload parameter, write `(self, payload)`"
    ),
    stream_becomes_one_result: (
        "Wrong.ws_rpc_x: it overrides a stream and does not yield;"
        " clients of a stream wait for items"
    ),
    one_result_becomes_a_stream: (
        "Wrong.ws_rpc_size: it yields and overrides what is no stream;"
        " clients of that wait for one result"
    ),
}


@pytest.mark.parametrize("declare", WRONG, ids=lambda declare: declare.__name__)
def test_a_wrong_signature_is_refused_with_where_and_what_to_do(
    declare: Callable[[], type],
) -> None:
    with pytest.raises(DeclarationError) as caught:
        MethodTable.of(declare())

    assert str(caught.value).replace(f"{declare.__name__}.<locals>.", "") == WRONG[declare]
