"""A server of ours, a client of it, and servers that a test leads."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from yarl import URL

from openapi.client import Client
from tests.client.servers import Keeping, Script, Scripted, application, connect_once
from tests.client.servers import scripted as scripted_app
from tests.conftest import Serve


@pytest.fixture
def app() -> web.Application:
    return application()


@pytest.fixture
async def url(serve: Serve, app: web.Application) -> URL:
    return await serve(app) / "stream"


@pytest.fixture
async def client(url: URL) -> AsyncIterator[Client]:
    async with connect_once(url) as client:
        yield client


@pytest.fixture
def keeping() -> Keeping:
    return Keeping()


@pytest.fixture
async def kept(serve: Serve, keeping: Keeping) -> URL:
    """The URL of what keeps history."""
    return await serve(keeping.app) / "stream"


@pytest.fixture(params=["json", "msgpack"])
def encoding(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def scripted(serve: Serve) -> Scripted:
    async def start(script: Script, **options: object) -> URL:
        return await serve(scripted_app(script, **options)) / "stream"

    return start
