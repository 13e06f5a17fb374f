"""The pytest plugin: a mark for tests in virtual time, and the factories as fixtures.

    @pytest.mark.virtual_time
    async def test_who_adds_a_task_is_not_the_only_one_to_see_it(socket_server) -> None:
        async with socket_server(create_app()) as server: ...

pytest loads it wherever this package is installed. It does nothing for a test that uses none of it,
and it needs no other plugin.
"""

import inspect
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from openapi.testing.client import SocketClient
    from openapi.testing.nodes import Cluster
    from openapi.testing.server import Server

__all__ = [
    "pytest_configure",
    "pytest_pycollect_makeitem",
    "socket_client",
    "socket_cluster",
    "socket_server",
]

_MARK = "virtual_time"


def pytest_configure(config: pytest.Config) -> None:
    """Know the mark."""
    config.addinivalue_line(
        "markers",
        f"{_MARK}: run this coroutine on a loop of its own, whose time jumps when nothing is ready",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(
    collector: pytest.Module | pytest.Class, name: str, obj: object
) -> None:
    """Have a marked coroutine function run by :func:`openapi.testing.run`.

    It takes the place of the test in its module or class, before anybody looks what it is: a plain
    function is let alone by the plugins for coroutines.
    """
    if not inspect.iscoroutinefunction(obj) or not _is_marked(collector, obj):
        return
    from openapi.testing import virtual_time

    setattr(collector.obj, name, virtual_time(obj))


def _is_marked(collector: pytest.Module | pytest.Class, test: object) -> bool:
    own = getattr(test, "pytestmark", [])
    return any(mark.name == _MARK for mark in own) or bool(collector.get_closest_marker(_MARK))


@pytest.fixture
def socket_client() -> "Callable[..., AbstractAsyncContextManager[SocketClient]]":
    """:func:`openapi.testing.socket_client`."""
    from openapi.testing import socket_client

    return socket_client


@pytest.fixture
def socket_server() -> "Callable[..., AbstractAsyncContextManager[Server]]":
    """:func:`openapi.testing.serve`."""
    from openapi.testing import serve

    return serve


@pytest.fixture
def socket_cluster() -> "Callable[..., AbstractAsyncContextManager[Cluster]]":
    """:func:`openapi.testing.cluster`."""
    from openapi.testing import cluster

    return cluster
