"""A client for the applications of these tests."""

import io
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from tests.conftest import Serve
from tests.spec.tasks import add_routes


class Answer(NamedTuple):
    status: int
    data: Any
    headers: Any


class Client:
    """Sends requests to one server, and reads the JSON of its answers."""

    def __init__(self, session: aiohttp.ClientSession, url: URL) -> None:
        self.session = session
        self.url = url

    async def __call__(self, method: str, path: str, **kwargs: Any) -> Answer:
        if isinstance(kwargs.get("data"), bytes):
            kwargs["data"] = io.BytesIO(kwargs["data"])  # aiohttp warns of large bytes
        url = URL(str(self.url).rstrip("/") + path, encoded=True)
        async with self.session.request(method, url, **kwargs) as response:
            text = await response.text()
            is_json = response.content_type == "application/json" and text
            return Answer(
                response.status, await response.json() if is_json else text, response.headers
            )


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def api(serve: Serve, session: aiohttp.ClientSession) -> Client:
    """A client of a server of the tasks application."""
    app = web.Application()
    add_routes(app)
    return Client(session, await serve(app))
