"""What the documentation says that each broker can do is what it can do."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from openapi.errors import DeclarationError
from openapi.ws import ChannelRule, SocketsManager
from openapi.ws.broker import (
    Broker,
    KeepsHistory,
    KeepsPresence,
    PublishesOnce,
    Supervised,
    broker_from_url,
)
from tests.ws import conformance, test_memory_broker
from tests.ws.brokers import test_nats_broker, test_redis_broker, test_redis_cluster

PAGE = Path(__file__).parents[3] / "docs" / "explanation" / "brokers.md"
URLS = {
    "memory": "memory://",
    "Redis, Valkey": "redis://localhost",
    "Redis Cluster": "redis+cluster://localhost",
    "NATS": "nats://localhost",
}
SUITES: dict[str, ModuleType] = {
    "memory": test_memory_broker,
    "Redis, Valkey": test_redis_broker,
    "Redis Cluster": test_redis_cluster,
    "NATS": test_nats_broker,
}


def table() -> dict[str, dict[str, str]]:
    """``{column: {row: cell}}`` of the first table of the page."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    end = next(n for n, row in enumerate(rows) if row[0] == "package") + 1
    return {
        column: {row[0]: row[number] for row in rows[:end]}
        for number, column in enumerate(head)
        if column
    }


TABLE = table()


def test_the_table_has_a_column_for_each_broker() -> None:
    assert list(TABLE) == list(URLS) == list(SUITES)


@pytest.mark.parametrize("name", URLS)
def test_the_abilities_of_a_broker_are_those_of_the_table(name: str) -> None:
    broker, column = broker_from_url(URLS[name]), TABLE[name]
    for row, ability in (
        ("history, recovery", KeepsHistory),
        ("keys of publications", PublishesOnce),
        ("presence", KeepsPresence),
        ("comes back by itself", Supervised),
    ):
        assert isinstance(broker, ability) == (column[row] == "yes"), row
    assert broker.spans_processes == (column["reaches other processes"] == "yes")


@pytest.mark.parametrize("name", URLS)
def test_every_url_of_the_table_is_one(name: str) -> None:
    for scheme in TABLE[name]["URL"].split(", "):
        assert type(broker_from_url(scheme.strip("`") + "localhost")) is type(
            broker_from_url(URLS[name])
        )


@pytest.mark.parametrize("name", SUITES)
def test_what_the_table_says_is_held_by_the_conformance_suite(name: str) -> None:
    column = TABLE[name]
    suites = [each for each in vars(SUITES[name]).values() if isinstance(each, type)]
    for row, part in (
        ("history, recovery", conformance.KeepingHistory),
        ("keys of publications", conformance.PublishingOnce),
        ("presence", conformance.KeepingPresence),
        ("comes back by itself", conformance.Supervising),
        ("plain messages of several processes have one order everywhere", conformance.Ordering),
    ):
        tested = [each for each in suites if issubclass(each, part) and each is not part]
        assert bool(tested) == (column[row] == "yes"), row


@pytest.mark.parametrize("name", URLS)
def test_a_rule_that_promises_more_than_the_table_says_is_refused_at_the_start(name: str) -> None:
    broker = broker_from_url(URLS[name])
    most = broker.most if isinstance(broker, KeepsHistory) else None
    told = TABLE[name]["history at most"]
    if most is None:
        assert told == "by its rule"
        return
    assert told.startswith(f"{most.messages} messages, {most.seconds:g} s")
    rule = ChannelRule("c", history=most.messages + 1)
    with pytest.raises(DeclarationError, match="promise less, or have it keep more"):
        SocketsManager(broker=broker, channels=[rule])


class Carries(Broker):
    """A broker that can carry, and nothing else."""

    async def open(self, deliver: object) -> None: ...
    async def publish(self, channel: str, event: str, data: object) -> None: ...
    async def subscribe(self, channel: str) -> None: ...
    async def unsubscribe(self, channel: str) -> None: ...
    async def aclose(self) -> None: ...


@pytest.mark.parametrize(
    ("rule", "what"),
    [
        (ChannelRule("c", history=1), "promises history"),
        (ChannelRule("c", presence=True), "promises presence"),
    ],
)
def test_what_a_broker_cannot_keep_is_refused_at_the_start(rule: ChannelRule, what: str) -> None:
    with pytest.raises(DeclarationError, match=what):
        SocketsManager(broker=Carries(), channels=[rule])


@pytest.mark.parametrize(("name", "package"), [("Redis, Valkey", "redis"), ("NATS", "nats")])
def test_without_its_package_a_broker_says_what_to_install(name: str, package: str) -> None:
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from openapi.ws import SocketsManager\n"
        f"SocketsManager(broker={URLS[name]!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50)
    assert f"pip install 'aio-openapi[{package}]'" in done.stderr
    assert TABLE[name]["package"] == f"`aio-openapi[{package}]`"
