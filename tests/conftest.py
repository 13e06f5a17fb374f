"""Fixtures that any test may want."""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from hypothesis import settings
from yarl import URL

from tests.extent import FULL

# They are no test modules, and their assertions shall say what was found all the same.
pytest.register_assert_rewrite("tests.ws.broker_nodes", "tests.ws.conformance")

pytest_plugins = ("tests.servers.fixtures",)

# No deadline for one example: the machine's pace is no property of the code.
settings.register_profile("test", deadline=None)
settings.register_profile("full", deadline=None, max_examples=2000)
settings.load_profile("full" if FULL else "test")

Serve = Callable[[web.Application], Awaitable[URL]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serve applications on free ports of 127.0.0.1, the way ``web.run_app`` does.

    A real ``AppRunner``: aiohttp's ``TestServer`` cancels handlers when a client disconnects,
    which no server of a user does.
    """
    runners: list[web.AppRunner] = []

    async def start(app: web.Application) -> URL:
        runner = web.AppRunner(app)
        runners.append(runner)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        return URL.build(scheme="http", host=host, port=port)

    yield start
    for runner in reversed(runners):
        await runner.cleanup()


@pytest.fixture(scope="session")
def node() -> str:
    """The path of Node.js, for the clients that are not ours. ``make test`` sees to it."""
    path = shutil.which("node")
    assert path, "Node.js is not on PATH: run the tests by `make test`, which brings one"
    return path
