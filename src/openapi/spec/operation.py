"""What an HTTP method of a view takes and gives: declared by :class:`op`, checked at once."""

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, TypeVar

from aiohttp import web

from openapi.errors import DeclarationError
from openapi.schema import Schema
from openapi.spec.parameters import parameters_of

if TYPE_CHECKING:
    from openapi.spec.path import ApiPath

__all__ = [
    "JSON",
    "METHODS",
    "UNDECLARED",
    "Operation",
    "declared_schema",
    "declared_tags",
    "names_of",
    "op",
]

View = TypeVar("View", bound="ApiPath")

JSON: Final = "application/json"
METHODS: Final = ("get", "post", "put", "patch", "delete", "head", "options", "trace")
"""The methods of a view that answer requests, in the order in which people read them.

Those of HTTP but CONNECT, which asks for no path.
"""

_NO_BODY: Final = frozenset({204, 205, 304})  # RFC 9110 sections 15.3.5, 15.3.6, 15.4.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What :class:`op` declares about one HTTP method of a view."""

    body_schema: Schema[Any] | None = None
    query_schema: Schema[Any] | None = None
    response_schema: Schema[Any] | None = None
    response: int = 200
    responses: Mapping[int, str] = field(default_factory=dict)
    body_content: str = JSON
    tags: tuple[str, ...] = ()
    operation_id: str = ""
    deprecated: bool = False
    private: bool = False


UNDECLARED: Final = Operation()


class op:
    """Declare what an HTTP method of an :class:`ApiPath` takes and gives.

    All of it goes into the documents, and ``self.operation`` has it while the method runs.
    The method may return a response, or plain data: these are checked against
    ``response_schema`` and sent as JSON with the status ``response``.

    ``body_schema``, ``response_schema``
        any type that :class:`openapi.schema.Schema` knows, as ``Task`` or ``list[Task]``.
    ``query_schema``
        a class whose fields are the variables of the query string: plain values, or lists of them.
    ``response``
        the status of success.
    ``responses``
        ``{status: description}`` of the other statuses that the method answers.
    ``body_content``
        the media type of the body; read another than JSON with ``await self.form_data()``.
    ``tags``
        added to those of the class.
    ``operation_id``
        the name in generated clients; by default made of the method and the path.
    ``private``
        leaves the method out of the documents.

    Raises :class:`DeclarationError`, naming the class and the method, when the class is defined.
    """

    def __init__(
        self,
        *misplaced: object,
        body_schema: Any = None,
        query_schema: Any = None,
        response_schema: Any = None,
        response: int = 200,
        responses: Mapping[int, str] | None = None,
        body_content: str = JSON,
        tags: Sequence[str] = (),
        operation_id: str = "",
        deprecated: bool = False,
        private: bool = False,
    ) -> None:
        if misplaced:
            culprit = misplaced[0]
            if inspect.isfunction(culprit):
                raise DeclarationError(f"{_place(culprit)}: write @op() instead of @op")
            raise DeclarationError(f"@op takes keyword arguments only, as body_schema={culprit!r}")
        self.body_schema = body_schema
        self.query_schema = query_schema
        self.response_schema = response_schema
        self.response = response
        self.responses = dict(responses or {})
        self.body_content = body_content
        self.tags = tags
        self.operation_id = operation_id
        self.deprecated = deprecated
        self.private = private

    def __call__(
        self, method: Callable[[View], Awaitable[Any]]
    ) -> Callable[[View], Coroutine[Any, Any, web.StreamResponse]]:
        operation = self._operation(_place(method), method)

        @wraps(method)
        async def answer(view: View) -> web.StreamResponse:
            # One view may call another method of itself: give back what was there before.
            before = view.operation
            view.operation = operation
            try:
                result = await method(view)
                return result if isinstance(result, web.StreamResponse) else _response(view, result)
            finally:
                view.operation = before

        answer.op = operation  # type: ignore[attr-defined] # functions have them
        return answer

    def _operation(self, place: str, method: Callable[..., object]) -> Operation:
        if not inspect.iscoroutinefunction(method):
            name = place.rpartition(".")[2]
            raise DeclarationError(f"{place}: must be async, write `async def {name}(self)`")
        try:
            inspect.signature(method).bind(None)
        except TypeError:
            raise DeclarationError(f"{place}: takes nothing but self; see self.request") from None
        statuses: tuple[object, ...] = (self.response, *self.responses)
        for status in statuses:
            if not isinstance(status, int) or not 200 <= status <= 599:
                raise DeclarationError(f"{place}: {status!r} is no HTTP status from 200 to 599")
        if self.response in _NO_BODY and self.response_schema is not None:
            raise DeclarationError(
                f"{place}: a response {self.response} has no body, so remove response_schema"
            )
        query = declared_schema(place, "query_schema", self.query_schema)
        if query is not None:
            names_of(place, "query_schema", query)
        return Operation(
            body_schema=declared_schema(place, "body_schema", self.body_schema),
            query_schema=query,
            response_schema=declared_schema(place, "response_schema", self.response_schema),
            response=self.response,
            responses=self.responses,
            body_content=self.body_content,
            tags=declared_tags(place, self.tags),
            operation_id=self.operation_id,
            deprecated=self.deprecated,
            private=self.private,
        )


def _response(view: "ApiPath", data: object) -> web.Response:
    """The response for what a method returned; ``view.operation`` is its own."""
    operation = view.operation
    if operation.response_schema is not None:
        body = operation.response_schema.encode(data)
        return web.Response(body=body, status=operation.response, content_type=JSON)
    if data is not None:
        return view.json_response(data)
    if operation.response in _NO_BODY:
        return web.Response(status=operation.response)
    where = f"{type(view).__name__}.{view.request.method.lower()}"
    raise DeclarationError(f"{where} returned None; return a response, or data")


def _place(function: Callable[..., object]) -> str:
    """``Tasks.get`` for a method that is being defined, without what encloses the class."""
    return ".".join(function.__qualname__.split(".")[-2:])


def declared_schema(place: str, name: str, hint: Any) -> Schema[Any] | None:
    """The schema that ``place`` declares as ``name``. Raises :class:`DeclarationError`."""
    if hint is None:
        return None
    try:
        return Schema.of(hint)
    except DeclarationError as exc:
        raise DeclarationError(f"{place}: {name}: {exc}") from exc


def names_of(place: str, name: str, schema: Schema[Any]) -> frozenset[str]:
    """The variables of a query string or a path. Raises :class:`DeclarationError`."""
    try:
        return frozenset(parameter.name for parameter in parameters_of(schema, {}))
    except DeclarationError as exc:
        raise DeclarationError(f"{place}: {name}: {exc}") from exc


def declared_tags(place: str, tags: Sequence[str]) -> tuple[str, ...]:
    """``tags``, which must not be one string. Raises :class:`DeclarationError`."""
    if isinstance(tags, str):
        raise DeclarationError(f"{place}: tags is a list of names, write tags=[{tags!r}]")
    return tuple(tags)
