"""The documents of an aiohttp application: its routes read, and the result served."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aiohttp import web

from openapi.errors import DeclarationError
from openapi.schema import encode_json
from openapi.spec.describe import Description, OpenApiInfo, describe
from openapi.spec.openapi31 import openapi31
from openapi.spec.operation import JSON
from openapi.spec.path import ApiPath

__all__ = ["Documents", "api_routes", "handlers"]


class Documents:
    """The documents of an application, mounted by one line.

        Documents(title="Tasks", version="1.0").setup(app)      # GET /openapi.json

    They show every :class:`ApiPath` of the application and of those below it. They are built when
    the application starts: a class that does not fit its route stops it there, with a
    :class:`DeclarationError` that says why.

    ``info`` or ``title``, ``version``, ``description``
        what the API is; the description is CommonMark.
    ``servers``
        URLs, or OpenAPI Server Objects; by default the host that serves the document.
    ``security``
        ``{name: OpenAPI Security Scheme Object}``; a request needs one of them, with the scopes
        that are listed under the additional key ``scopes``. The document says so, nothing checks.
    ``tags``
        ``{name: description}``, in the order to show.
    ``path``
        where the OpenAPI document is served.
    """

    def __init__(
        self,
        info: OpenApiInfo | None = None,
        *,
        title: str | None = None,
        version: str | None = None,
        description: str | None = None,
        servers: Sequence[str | Mapping[str, Any]] | None = None,
        security: Mapping[str, Mapping[str, Any]] | None = None,
        tags: Mapping[str, str] | None = None,
        path: str = "/openapi.json",
    ) -> None:
        short = {"title": title, "version": version, "description": description}
        given = {name: text for name, text in short.items() if text is not None}
        if info is not None and given:
            raise DeclarationError(f"Documents: {', '.join(given)} belongs into info, give one")
        if isinstance(servers, str):
            raise DeclarationError(f"Documents: servers is a list of URLs, write [{servers!r}]")
        default = OpenApiInfo()
        self.info: OpenApiInfo = info or OpenApiInfo(
            title=given.get("title", default.title),
            version=given.get("version", default.version),
            description=given.get("description", default.description),
        )
        self.servers: tuple[str | Mapping[str, Any], ...] = tuple(servers or ())
        self.security: dict[str, Mapping[str, Any]] = dict(security or {})
        self.tags: dict[str, str] = dict(tags or {})
        self.path: str = path

    def setup(self, app: web.Application) -> None:
        """Serve the documents of ``app``, which is neither started nor part of another yet."""
        if app.pre_frozen:
            raise DeclarationError(
                "Documents: set up an application before it starts or is added to another"
            )
        built: list[bytes] = []

        async def build(app: web.Application) -> None:
            built[:] = [encode_json(self.openapi(app))]

        async def answer(request: web.Request) -> web.Response:
            """OpenAPI document"""
            return web.Response(body=built[0], content_type=JSON)

        app.on_startup.append(build)
        app.router.add_get(self.path, answer)

    def describe(self, app: web.Application) -> Description:
        """The endpoints of ``app``, as plain data. Raises :class:`DeclarationError`."""
        return describe(self.info, api_routes(app))

    def openapi(self, app: web.Application) -> dict[str, Any]:
        """The OpenAPI 3.1 document of ``app``. Raises :class:`DeclarationError`."""
        return openapi31(
            self.describe(app), servers=self.servers, security=self.security, tags=self.tags
        )


def handlers(app: web.Application) -> Iterator[tuple[str, str, Any]]:
    """The path, HTTP method (``*`` for all) and handler, which may be a view, of every route."""
    for route in app.router.routes():
        path = route.resource.canonical if route.resource is not None else ""
        yield path or "/", route.method, route.handler


def api_routes(app: web.Application) -> Iterator[tuple[str, str, type[ApiPath]]]:
    """Those of :func:`handlers` that are an :class:`ApiPath`."""
    for path, method, handler in handlers(app):
        if isinstance(handler, type) and issubclass(handler, ApiPath):
            yield path, method, handler
