"""The client for browsers, built, and the route that serves it.

    app.router.add_routes([client_module("/openapi.js")])

A page imports it from there, and needs no bundler, no package and no other site::

    <script type="module">
      import { connect } from "/openapi.js";
      const client = connect("/stream");
    </script>

Its sources are ``clients/js``; the npm package ``aio-openapi`` is the same module.
"""

from pathlib import Path
from typing import Final

from aiohttp import web

__all__ = ["MODULE", "client_module"]

MODULE: Final = Path(__file__).with_name("openapi.js")
"""The file: one ES module, without dependencies."""

_HEADERS: Final = {
    # What mimetypes says depends on the machine; a browser runs a module as nothing else than this.
    "Content-Type": "text/javascript; charset=utf-8",
    # It is asked each time whether it is another: a page never runs the client of an older server.
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
}


def client_module(path: str = "/openapi.js") -> web.RouteDef:
    """The route of the module, for ``app.router.add_routes``: GET and HEAD of ``path``.

    The response has an ``ETag``, by which a browser that has the module already is answered 304.
    The route is named ``openapi-client``: ``app.router["openapi-client"].url_for()`` is its URL.
    """
    return web.get(path, _serve, name="openapi-client")


async def _serve(request: web.Request) -> web.StreamResponse:
    return web.FileResponse(MODULE, headers=_HEADERS)
