"""The pytest plugin, in processes of their own: with the plugins for coroutines and without."""

import inspect
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

TESTS = """
import asyncio

import pytest

from openapi.testing import Link
from tests.testing.board import make_app

@pytest.fixture
def app():
    return make_app()

@pytest.mark.virtual_time
@pytest.mark.parametrize("hours", [1, 2])
async def test_hours_take_no_time(hours, app):
    await asyncio.sleep(3600 * hours)

@pytest.mark.virtual_time
class TestFixtures:
    async def test_a_client(self, socket_client, app):
        async with socket_client(app, link=Link(seed=1)) as client:
            assert await client.call("echo", {"a": 1}) == {"a": 1}

    async def test_a_server(self, socket_server, app):
        async with socket_server(app) as server, server.connect() as client:
            await client.join("news")
            await client.expect_nothing("news", within=3600)

    async def test_a_cluster(self, socket_cluster):
        async with socket_cluster(2, make_app) as nodes, nodes.connect() as client:
            await client.call("echo")

    def test_what_is_plain(self):
        pass

@pytest.mark.virtual_time
async def test_what_fails():
    await asyncio.Event().wait()

@pytest.mark.virtual_time
async def test_what_is_expected(socket_client, app):
    async with socket_client(app) as client:
        await client.join("news")
        await client.expect("news", "hello")
"""


def pytest_run(folder: Path, *options: str, source: str = TESTS) -> str:
    """Run tests in a process of their own; returns what it says."""
    (folder / "test_it.py").write_text(source)
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "openapi.testing.plugin", "-p", "no:xdist"),
            *("-c", os.devnull, "--rootdir", str(folder), "-W", "error", "--strict-markers"),
            *("-p", "no:cacheprovider", *options, "test_it.py"),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=50,
        env=env | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT)},
    )
    assert not done.stderr
    return done.stdout


WITH_ASYNCIO = [
    *("-p", "pytest_asyncio.plugin", "-o", "asyncio_mode=auto"),
    *("-o", "asyncio_default_fixture_loop_scope=function"),
]


@pytest.mark.parametrize("options", [[], WITH_ASYNCIO], ids=["alone", "with pytest-asyncio"])
def test_marked_tests_are_run_in_virtual_time(tmp_path: Path, options: list[str]) -> None:
    said = pytest_run(tmp_path, *options)
    assert "2 failed, 6 passed" in said, said
    assert "deadlock: nothing is ready, no timer is set" in said
    assert "test_what_fails (test_it.py:" in said
    assert "expected 'hello' on 'news' within 1 s, and nothing came" in said
    shown = said[said.index("test_what_is_expected") :]
    assert "mailbox.py" not in shown


def test_it_is_found_by_pytest_under_this_name() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"openapi": "openapi.testing.plugin"}


def test_unused_it_imports_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    said = pytest_run(
        tmp_path,
        source="""
import sys

async def helper(): ...

def test_nothing_is_loaded():
    assert "openapi.testing.plugin" in sys.modules
    assert not {"aiohttp", "msgspec", "openapi.errors"} & set(sys.modules)
""",
    )
    assert "1 passed" in said, said


def test_the_fixtures_are_the_factories(
    request: pytest.FixtureRequest,
) -> None:
    import openapi.testing
    from openapi.testing import plugin

    for fixture, factory in (
        (plugin.socket_client, openapi.testing.socket_client),
        (plugin.socket_server, openapi.testing.serve),
        (plugin.socket_cluster, openapi.testing.cluster),
    ):
        assert inspect.unwrap(fixture)() is factory


def test_what_is_not_there_is_told_as_of_any_module() -> None:
    import openapi.testing

    for name in openapi.testing.__all__:
        assert getattr(openapi.testing, name).__name__ == name
    with pytest.raises(AttributeError, match="'openapi.testing' has no attribute 'nothing'"):
        _ = openapi.testing.nothing  # type: ignore[attr-defined] # which is refused
