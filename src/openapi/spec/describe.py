"""The endpoints of an application as plain data, which every document is written from.

    Description
    ├── info: OpenApiInfo          title, version, description of the API
    └── endpoints: Endpoint        one path, "/tasks/{id}", with its variables
        └── EndpointOperation      one HTTP method: what it takes,
            ├── EndpointResponse   every status that it answers, and with what,
            └── rpc                and for a WebSocket, the methods called over it

Nothing here knows of a document format, nor of a router.
"""

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from http.client import responses as PHRASES
from typing import Any, Final

from openapi.errors import DeclarationError
from openapi.protocol.methods import Method
from openapi.schema import Schema
from openapi.spec.operation import METHODS, UNDECLARED, Operation
from openapi.spec.parameters import parameters_of
from openapi.spec.path import ApiPath, ErrorMessage, ValidationErrors, is_automatic

__all__ = [
    "Description",
    "Endpoint",
    "EndpointOperation",
    "EndpointResponse",
    "OpenApiInfo",
    "describe",
]

_VARIABLE: Final = re.compile(r"\{([^{}]*)\}")
_UPGRADE: Final = {
    101: "The connection is a WebSocket from here on",
    400: "Not a WebSocket request",
    403: "The origin is not allowed",
    426: "The version of WebSocket is not supported; Sec-WebSocket-Version says which one is",
    503: "The server is shutting down; Retry-After says when to come back, in seconds",
}


@dataclass(frozen=True, kw_only=True)
class OpenApiInfo:
    """What the API is. Only what is given is shown."""

    title: str = "Open API"
    version: str = "0.1.0"
    description: str = ""
    """CommonMark."""
    termsOfService: str = ""
    """A URL."""
    contact: Mapping[str, str] = field(default_factory=dict)
    """Of ``name``, ``url``, ``email``."""
    license: Mapping[str, str] = field(default_factory=dict)
    """Of ``name``, and ``url`` or ``identifier``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointResponse:
    """One status that an operation answers. None: any, as nothing was declared."""

    status: int | None
    description: str
    schema: Schema[Any] | None = None
    """Of the JSON body. None: the body is anything, or empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointOperation:
    """One HTTP method of an endpoint."""

    method: str
    operation_id: str
    summary: str
    description: str
    tags: tuple[str, ...]
    deprecated: bool
    path_schema: Schema[Any] | None
    query_schema: Schema[Any] | None
    body_schema: Schema[Any] | None
    body_content: str
    responses: tuple[EndpointResponse, ...]
    rpc: Mapping[str, Method] | None
    """The methods that are called over it, where it is a WebSocket."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One path with everything that it answers."""

    path: str
    variables: tuple[str, ...]
    summary: str
    description: str
    operations: tuple[EndpointOperation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """An application."""

    info: OpenApiInfo
    endpoints: tuple[Endpoint, ...]


def describe(info: OpenApiInfo, routes: Iterable[tuple[str, str, type[ApiPath]]]) -> Description:
    """Describe routes: each a path as ``/tasks/{id}``, an HTTP method or ``*``, and a class.

    What is private is left out, and what a route before it answers. Operation ids are unique.
    Raises :class:`DeclarationError` where a class does not fit its path.
    """
    endpoints: dict[str, Endpoint] = {}
    ids: set[str] = set()
    for path, method, view in routes:
        if view.private:
            continue
        endpoint = endpoints.get(path) or _endpoint(path, view)
        answered = {operation.method for operation in endpoint.operations}
        operations = [
            replace(operation, operation_id=_unique(operation.operation_id, ids))
            for operation in _operations(endpoint, view)
            if method in ("*", operation.method.upper()) and operation.method not in answered
        ]
        if operations:
            operations = [*endpoint.operations, *operations]
            endpoints[path] = replace(endpoint, operations=tuple(operations))
    return Description(info=info, endpoints=tuple(endpoints.values()))


def _endpoint(path: str, view: type[ApiPath]) -> Endpoint:
    summary, description = _documentation(view)
    return Endpoint(
        path=path,
        variables=tuple(_VARIABLE.findall(path)),
        summary=summary,
        description=description,
        operations=(),
    )


def _operations(endpoint: Endpoint, view: type[ApiPath]) -> Iterator[EndpointOperation]:
    path_schema = None if view.path_schema is None else Schema.of(view.path_schema)
    if path_schema is not None:
        _check_variables(endpoint, view, path_schema)
    rpc: Mapping[str, Method] | None = getattr(view, "rpc_methods", None)
    for method in METHODS:
        function = getattr(view, method, None)
        if function is None or is_automatic(function):
            continue
        declared = getattr(function, "op", None)
        operation = declared if isinstance(declared, Operation) else UNDECLARED
        if operation.private:
            continue
        upgrades = rpc is not None and method == "get"
        summary, description = _documentation(view if upgrades else function)
        yield EndpointOperation(
            method=method,
            operation_id=operation.operation_id or _id(method, endpoint.path),
            summary=summary,
            description=description,
            tags=tuple(dict.fromkeys((*view.tags, *operation.tags))),
            deprecated=operation.deprecated,
            path_schema=path_schema,
            query_schema=operation.query_schema,
            body_schema=operation.body_schema,
            body_content=operation.body_content,
            responses=tuple(_responses(operation, path=path_schema is not None, upgrades=upgrades)),
            rpc=rpc if upgrades else None,
        )


def _responses(operation: Operation, *, path: bool, upgrades: bool) -> Iterator[EndpointResponse]:
    message, errors = Schema.of(ErrorMessage), Schema.of(ValidationErrors)
    found: dict[int, EndpointResponse] = {}

    def add(status: int, description: str, schema: Schema[Any] | None = None) -> None:
        found[status] = EndpointResponse(status=status, description=description, schema=schema)

    if upgrades:
        for status, text in _UPGRADE.items():
            add(status, text, message if status >= 400 else None)
    elif operation is not UNDECLARED:
        phrase = PHRASES.get(operation.response, "As declared")
        add(operation.response, phrase, operation.response_schema)
    if operation.body_schema is not None:
        add(400, "The body cannot be read", message)
        add(413, "The body is too large", message)
    if path:
        add(404, "The variables of the path do not fit", message)
    if operation.body_schema is not None or operation.query_schema is not None:
        add(422, "The data do not fit: `errors` has every faulty field", errors)
    for status, text in operation.responses.items():
        add(status, text, found[status].schema if status in found else None)
    yield from (found[status] for status in sorted(found))
    if operation is UNDECLARED and not upgrades:
        yield EndpointResponse(status=None, description="Not declared")


def _check_variables(endpoint: Endpoint, view: type[ApiPath], schema: Schema[Any]) -> None:
    for parameter in parameters_of(schema, {}):
        if parameter.required and parameter.name not in endpoint.variables:
            raise DeclarationError(
                f"{view.__name__}: path_schema: {parameter.name!r} is required, but the route"
                f" {endpoint.path} has no such variable, so every request would be a 404"
            )


def _documentation(documented: object) -> tuple[str, str]:
    """The first line of a docstring, and the rest. A part after ``---`` is for other tools."""
    text = inspect.cleandoc(getattr(documented, "__doc__", None) or "")
    text = re.split(r"^---", text, maxsplit=1, flags=re.MULTILINE)[0].strip()
    summary, _, description = text.partition("\n")
    return summary.strip(), description.strip()


def _id(method: str, path: str) -> str:
    """``get_tasks_by_id`` for GET /tasks/{id}: it changes when the route does, and only then."""
    words = re.findall(r"\w+", _VARIABLE.sub(r" by_\1 ", path), flags=re.ASCII)
    return "_".join([method, *words])


def _unique(name: str, taken: set[str]) -> str:
    number, unique = 1, name
    while unique in taken:
        number += 1
        unique = f"{name}_{number}"
    taken.add(unique)
    return unique
