"""Servers as fixtures: one of each kind for all tests of a process, and new ones for a test.

    def test_what_it_keeps(valkey: ValkeyServer) -> None:            # shared, and empty
    def test_what_outlives_it(start_valkey: StartValkey) -> None:    # its own, gone when it ends

A shared one starts when the first test asks for it. No test may stop one or change its settings.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Protocol

import pytest

from tests.servers.cluster import ValkeyCluster
from tests.servers.nats import NatsServer
from tests.servers.valkey import ValkeyServer

__all__ = ["StartCluster", "StartNats", "StartValkey"]


class StartValkey(Protocol):
    """Start a server, whose options are those of :class:`ValkeyServer`."""

    def __call__(self, *options: str, **kept: Any) -> ValkeyServer: ...


class StartNats(Protocol):
    """Start a server, whose options are those of :class:`NatsServer`."""

    def __call__(self, *options: str, **settings: Any) -> NatsServer: ...


class StartCluster(Protocol):
    """Start a cluster, whose options are those of :class:`ValkeyCluster`. It takes two seconds."""

    def __call__(self, *options: str, **settings: Any) -> ValkeyCluster: ...


@pytest.fixture(scope="session")
def shared_valkey() -> Iterator[ValkeyServer]:
    """One server for all tests of this process."""
    with ValkeyServer() as server:
        yield server


@pytest.fixture
def valkey(shared_valkey: ValkeyServer) -> ValkeyServer:
    """The shared server, empty."""
    shared_valkey.execute("FLUSHALL")
    return shared_valkey


@pytest.fixture(scope="session")
def shared_nats() -> Iterator[NatsServer]:
    """One server for all tests of this process. What one has kept there is there for the next."""
    with NatsServer() as server:
        yield server


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[ValkeyCluster]:
    """One cluster of three primaries for all tests of this process."""
    with ValkeyCluster() as cluster:
        yield cluster


@pytest.fixture
def cluster(shared_cluster: ValkeyCluster) -> ValkeyCluster:
    """The shared cluster, empty. Its slots may have been moved."""
    shared_cluster.flush()
    return shared_cluster


@pytest.fixture
def start_valkey() -> Iterator[StartValkey]:
    """Start servers for one test."""
    with ExitStack() as servers:
        yield lambda *options, **kept: servers.enter_context(ValkeyServer(*options, **kept))


@pytest.fixture
def start_nats() -> Iterator[StartNats]:
    """Start servers for one test."""
    with ExitStack() as servers:
        yield lambda *options, **how: servers.enter_context(NatsServer(*options, **how))


@pytest.fixture
def start_cluster() -> Iterator[StartCluster]:
    """Start clusters for one test."""
    with ExitStack() as clusters:
        yield lambda *options, **how: clusters.enter_context(ValkeyCluster(*options, **how))
