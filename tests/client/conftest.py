"""A server of ours, a client of it, and servers that a test leads."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from yarl import URL

from openapi.client import Client, connect
from tests.client.servers import Script, Scripted, application
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
    async with connect(url) as client:
        yield client


@pytest.fixture
def scripted(serve: Serve) -> Scripted:
    async def start(script: Script, **options: object) -> URL:
        return await serve(scripted_app(script, **options)) / "stream"

    return start
