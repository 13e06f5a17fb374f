"""The module for browsers, as a real server serves it."""

import gzip
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from openapi.browser import MODULE, client_module
from tests.conftest import Serve


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def url(serve: Serve) -> URL:
    app = web.Application()
    app.router.add_routes([client_module("/static/openapi.js")])
    assert str(app.router["openapi-client"].url_for()) == "/static/openapi.js"
    return await serve(app) / "static/openapi.js"


async def test_the_module_is_served_as_what_a_browser_runs(
    url: URL, session: aiohttp.ClientSession
) -> None:
    async with session.get(url) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/javascript; charset=utf-8"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert await response.read() == MODULE.read_bytes()


async def test_who_has_the_module_already_is_not_sent_it_again(
    url: URL, session: aiohttp.ClientSession
) -> None:
    async with session.get(url) as response:
        assert response.headers["Cache-Control"] == "no-cache"
        etag = response.headers["ETag"]
    async with session.get(url, headers={"If-None-Match": etag}) as response:
        assert response.status == 304
        assert await response.read() == b""
    async with session.get(url, headers={"If-None-Match": '"another"'}) as response:
        assert response.status == 200


async def test_one_may_ask_for_its_headers_alone(url: URL, session: aiohttp.ClientSession) -> None:
    async with session.head(url) as response:
        assert response.status == 200
        assert response.content_length == MODULE.stat().st_size
        assert await response.read() == b""


def test_a_path_has_a_default() -> None:
    assert client_module().path == "/openapi.js"


def test_the_module_is_one_file_of_at_most_8_kib_when_it_is_compressed() -> None:
    text = MODULE.read_text(encoding="utf-8")
    assert text.startswith("/* aio-openapi, BSD-3-Clause */\n")
    assert "import " not in text and "import(" not in text
    assert len(gzip.compress(text.encode(), 9)) <= 8192
