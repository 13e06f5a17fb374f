"""The page of the monitor, as files: it needs no build step, no Node and no other site.

    app.add_routes(page_routes())

`/` is ``index.html``; the others are below `/page/`. Files are listed once, and nothing else of the
folder is served. ``vendor`` has uPlot, which draws the charts, as its package has it.
"""

from pathlib import Path
from typing import Final

from aiohttp import web

__all__ = ["page_routes"]

PAGE: Final = Path(__file__).parent

_TYPES: Final = {
    # Not of mimetypes, whose answers depend on the machine.
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",  # the WebSocket too, as it is of the same host and port
        "base-uri 'none'",
        "form-action 'none'",  # forms are sent by the script
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",  # no text becomes markup
        "trusted-types 'none'",
    )
)

_HEADERS: Final = {
    "Cache-Control": "no-cache",  # a page never runs with the files of an older server
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


_FILES: Final = {
    path.relative_to(PAGE).as_posix(): path
    for path in sorted(PAGE.rglob("*"))
    if path.suffix in _TYPES
}


def page_routes() -> list[web.RouteDef]:
    """The routes of the page and of its files."""
    return [web.get("/", page), web.get("/page/{file:.+}", file)]


async def page(request: web.Request) -> web.StreamResponse:
    """The page of the monitor"""
    return _response("index.html")


async def file(request: web.Request) -> web.StreamResponse:
    """A file of the page"""
    return _response(request.match_info["file"])


def _response(name: str) -> web.StreamResponse:
    try:
        path = _FILES[name]
    except KeyError:
        raise web.HTTPNotFound(text=f"the page has no file {name}") from None
    return web.FileResponse(path, headers={"Content-Type": _TYPES[path.suffix], **_HEADERS})
