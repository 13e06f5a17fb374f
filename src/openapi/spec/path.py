"""A typed HTTP endpoint: an aiohttp class-based view that validates and serializes.

    @routes.view("/tasks/{id}")
    class TaskPath(ApiPath):
        \"\"\"One task\"\"\"

        path_schema = TaskId

        @op(body_schema=TaskUpdate, response_schema=Task)
        async def patch(self) -> web.Response:
            \"\"\"Change a task\"\"\"
            change = self.cleaned("body_schema", await self.json_data())
            where = self.cleaned("path_schema", self.request.match_info)
            return self.json_response(self.dump("response_schema", await update(where.id, change)))

What a client can do wrong, and what it gets (each body is a JSON object):

    path variables that do not fit      404  {"message"}           before the handler runs
    a body that cannot be read          400  {"message"}
    a body over ``client_max_size``     413  {"message"}
    data that do not fit their type     422  {"errors": [{"field", "message"}, ...], "message"?}

``errors`` names every faulty field at once. A result that does not fit ``response_schema`` is the
server's fault and no client's: it is raised as it is, and becomes a 500.
"""

from collections.abc import Awaitable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NoReturn, TypeVar, overload

from aiohttp import web
from aiohttp.http_exceptions import ContentEncodingError
from multidict import MultiDict, MultiDictProxy, MultiMapping
from yarl import URL

from openapi.errors import DeclarationError, InvalidData
from openapi.protocol.forwarded import sent_to
from openapi.schema import Schema, encode_json, fields_of, is_json
from openapi.spec.operation import (
    JSON,
    METHODS,
    UNDECLARED,
    Operation,
    declared_schema,
    declared_tags,
    names_of,
)

__all__ = [
    "ApiPath",
    "ErrorMessage",
    "FieldError",
    "ValidationErrors",
    "full_url",
    "is_automatic",
]

T = TypeVar("T")

BAD_DATA: Final = "Invalid data format"

_LAX: Final = frozenset({"query_schema", "path_schema"})
_anything: Final[Schema[Any]] = Schema(Any)


@dataclass(frozen=True)
class ErrorMessage:
    """What was wrong with the request"""

    message: str


@dataclass(frozen=True)
class FieldError:
    """What was wrong with one field"""

    field: str
    """The path of the field, as in ``items[1].price``; empty for the data as a whole."""
    message: str


@dataclass(frozen=True)
class ValidationErrors:
    """Every field that does not fit"""

    errors: list[FieldError]
    message: str = ""


class ApiPath(web.View):
    """A view whose requests and responses are typed and documented.

    Compose: ``class Stream(ApiPath, WsPathMixin, Subscribe)`` works in any order of the bases.
    GET methods answer HEAD too. Every other method that the class lacks is a 405.
    """

    path_schema: ClassVar[Any] = None
    """A class whose fields are the variables of the route. Wrong ones are a 404."""
    private: ClassVar[bool] = False
    """Leave the class out of the documents."""
    tags: ClassVar[Sequence[str]] = ()
    """Tags of all its methods in the documents."""

    operation: Operation = UNDECLARED
    """What :class:`op` declares about the method that runs. Belongs to this one request."""

    _path_variables: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        place = cls.__name__
        declared_tags(place, cls.tags)
        path = declared_schema(place, "path_schema", cls.path_schema)
        cls._path_variables = frozenset() if path is None else names_of(place, "path_schema", path)
        for name, value in vars(cls).items():
            if isinstance(getattr(value, "op", None), Operation) and name not in METHODS:
                raise DeclarationError(
                    f"{place}.{name}: @op belongs on an HTTP method ({', '.join(sorted(METHODS))})"
                )
        if hasattr(cls, "get") and not hasattr(cls, "head"):
            cls.head = _head  # type: ignore[attr-defined] # aiohttp finds it by name

    def __await__(self) -> Generator[None, None, web.StreamResponse]:
        # Here, and not in the handlers, so that a wrong path is a 404 whatever they forget.
        if self.path_schema is not None:
            self.cleaned("path_schema", self.request.match_info)
        return super().__await__()

    # ---- data on the way in

    async def json_data(self) -> Any:
        """The JSON of the body, as dicts, lists and plain values; its content type does not matter.

        Raises 400 if it is no JSON, or nested too deeply to be read; 413 if it is too long; 422 if
        a number in it is too large.
        """
        data = await self._body(self.request.read())
        try:
            return _anything.decode(data)
        except InvalidData as exc:
            if not is_json(data):
                self.raise_bad_data(exc)
            self.raise_validation_error(errors=exc)

    async def form_data(self) -> MultiDictProxy[Any]:
        """The fields of a body that is a form, urlencoded or multipart; files as ``FileField``.

        Pass it to :meth:`cleaned` as a query string. Raises 400 if unreadable, 413 if too long.
        """
        form: MultiDictProxy[Any] = await self._body(self.request.post())
        return form

    @overload
    def cleaned(
        self, schema: type[T], data: object, *, Error: type[Exception] | None = ...
    ) -> T: ...
    @overload
    def cleaned(
        self, schema: object, data: object, *, Error: type[Exception] | None = ...
    ) -> Any: ...
    def cleaned(self, schema: object, data: object, *, Error: type[Exception] | None = None) -> Any:
        """``data`` as an instance of ``schema``: of the dataclass, of the list of them...

        ``schema`` is a type, or the name of what was declared: ``"body_schema"``,
        ``"query_schema"``, ``"path_schema"``, ``"response_schema"`` or another class attribute.
        Strings become numbers and the like in query strings, path variables and forms; a variable
        that comes twice is a list, which only a field that is a list accepts.

        Raises 422, or 404 for ``"path_schema"``, or ``Error``; :class:`DeclarationError` where
        nothing was declared under that name.
        """
        wanted = self.get_schema(schema)
        lax = isinstance(data, MultiMapping | web.UrlMappingMatchInfo) or (
            isinstance(schema, str) and schema in _LAX
        )
        if isinstance(data, MultiMapping):
            data = _joined(data)
        elif isinstance(data, web.UrlMappingMatchInfo) and schema == "path_schema":
            # A sub-application's prefix may add variables that the class does not know of.
            data = {name: data[name] for name in self._path_variables if name in data}
        try:
            return wanted.convert(data, lax=lax)
        except InvalidData as exc:
            if Error is not None:
                raise Error from exc
            if schema == "path_schema":
                raise web.HTTPNotFound(**self.api_response_data({"message": "Not found"})) from exc
            self.raise_validation_error(errors=exc)

    def insert_data(self, data: object, *, body_schema: object = "body_schema") -> dict[str, Any]:
        """The fields of a validated body and, over them, the path variables. Raises 422, 404."""
        return _fields(self.cleaned(body_schema, data)) | self._path()

    def get_filters(
        self,
        *,
        query: Mapping[str, Any] | None = None,
        query_schema: object = "query_schema",
    ) -> dict[str, Any]:
        """The fields of the query string and, over them, the path variables. Raises 422, 404.

        ``query`` are defaults, as strings. Without a declared query schema there are only the
        path variables.
        """
        filters: dict[str, Any] = {}
        if not isinstance(query_schema, str) or self._declared(query_schema) is not None:
            combined: MultiDict[Any] = MultiDict(query or {})
            combined.update(self.request.query)
            filters = _fields(self.cleaned(query_schema, combined))
        return filters | self._path()

    def get_schema(self, schema: object) -> Schema[Any]:
        """The schema of a type, or of the name of a declared one.

        Raises :class:`DeclarationError` where nothing was declared under that name.
        """
        if not isinstance(schema, str):
            return Schema.of(schema)
        found = self._declared(schema)
        if found is None:
            raise DeclarationError(
                f"{type(self).__name__}.{self.request.method.lower()}: {schema} was not declared,"
                f" write @op({schema}=...) or pass a type"
            )
        return Schema.of(found)

    # ---- data on the way out

    def dump(self, schema: object, data: object) -> Any:
        """``data`` as plain values that fit ``schema``, without fields that it does not have.

        ``schema`` is as in :meth:`cleaned`; None, or the name of one that was not declared,
        returns the data as they are. Raises :class:`InvalidData` if they do not fit: a 500.
        """
        found = self._declared(schema) if isinstance(schema, str) else schema
        return data if found is None else Schema.of(found).dump(data)

    def json_response(
        self, data: object = None, *, status: int | None = None, **kwargs: Any
    ) -> web.Response:
        """A response with ``data`` as JSON; ``status`` is by default what :class:`op` declares.

        ``kwargs`` are those of :class:`aiohttp.web.Response`. NaN and Infinity are sent as null.
        """
        status = self.operation.response if status is None else status
        kwargs.setdefault("content_type", JSON)
        return web.Response(body=encode_json(data), status=status, **kwargs)

    @classmethod
    def api_response_data(cls, data: object) -> dict[str, Any]:
        """The arguments that give an :class:`aiohttp.web.HTTPException` a JSON body."""
        return {"text": encode_json(data).decode(), "content_type": JSON}

    def validation_error(
        self, message: str = "", errors: Mapping[str, str] | InvalidData | str | None = None
    ) -> Exception:
        """The 422 for ``{field: text}``, or for a text about the request as a whole."""
        if isinstance(errors, str):
            message, errors = message or errors, None
        if isinstance(errors, InvalidData):
            errors = errors.errors
        found = [{"field": name, "message": text} for name, text in (errors or {}).items()]
        data: dict[str, Any] = {"message": message} if message else {}
        return web.HTTPUnprocessableEntity(**self.api_response_data(data | {"errors": found}))

    def raise_validation_error(
        self, message: str = "", errors: Mapping[str, str] | InvalidData | str | None = None
    ) -> NoReturn:
        """Raise :meth:`validation_error`."""
        cause = errors if isinstance(errors, InvalidData) else None
        raise self.validation_error(message, errors) from cause

    def raise_bad_data(self, exc: Exception | None = None, message: str = "") -> NoReturn:
        """Raise a 400 that says ``message``, caused by ``exc``."""
        data = self.api_response_data({"message": message or BAD_DATA})
        raise web.HTTPBadRequest(**data) from exc

    def full_url(self) -> URL:
        """The URL that the client used; see :func:`full_url`."""
        return full_url(self.request)

    # ----

    def _declared(self, name: str) -> Any:
        found = getattr(self.operation, name, None)
        return getattr(self, name, None) if found is None else found

    def _path(self) -> dict[str, Any]:
        if self.path_schema is None:
            return {}
        return _fields(self.cleaned("path_schema", self.request.match_info))

    async def _body(self, reading: Awaitable[Any]) -> Any:
        try:
            return await reading
        except web.HTTPRequestEntityTooLarge as exc:
            limit = self.request.client_max_size
            text = f"The body is too large, at most {limit} bytes are read"
            raise web.HTTPRequestEntityTooLarge(
                limit, **self.api_response_data({"message": text})
            ) from exc
        except (ContentEncodingError, web.RequestPayloadError, ValueError, LookupError) as exc:
            # compressed badly, a broken form, an unknown charset
            self.raise_bad_data(exc)


async def _head(self: Any) -> web.StreamResponse:
    # RFC 9110 section 9.1: who supports GET supports HEAD; aiohttp leaves the body out.
    response: web.StreamResponse = await self.get()
    return response


def is_automatic(method: object) -> bool:
    """Tell whether a method of a view was not written by its author."""
    return method is _head


def full_url(request: web.BaseRequest) -> URL:
    """The URL that the client used, by the proxy's ``X-Forwarded-Proto``, ``-Host`` and ``-Port``.

    Anybody can send these headers: believe them only behind a proxy that sets them. What they do
    not tell, or tell wrongly, is the request's own.
    """
    scheme, host = sent_to(request.headers, scheme=request.scheme, host=request.host)
    try:
        return URL(f"{scheme}://{host}").origin().join(request.rel_url)
    except ValueError:
        return request.url


def _joined(data: MultiMapping[Any]) -> dict[str, Any]:
    lists = {name: data.getall(name) for name in data}
    return {name: values[0] if len(values) == 1 else values for name, values in lists.items()}


def _fields(value: Any) -> dict[str, Any]:
    found = fields_of(value)
    if found is None:
        raise DeclarationError(
            f"{type(value).__name__} has no fields that the path's could be merged with, use"
            " cleaned()"
        )
    return found
