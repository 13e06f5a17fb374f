"""Clients that come back have what they missed: all at once, behind an outage."""

import json
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from bench.figures import Headroom, Sample
from bench.load import READ, Connection, Frames, WrongAnswerError, connected, lost, watch
from bench.process import Meter, Server
from bench.workloads.own import is_ours, tell
from bench.workloads.workload import Scale, Workload

if TYPE_CHECKING:
    from bench.dialects import Dialect
    from bench.peers import Peer

__all__ = ["WORKLOADS", "check"]

_CLIENTS: Final = 1000
_MISSED: Final = 100
#: The server keeps the messages of such channels.
_CHANNEL: Final = "kept:c"


def check(answer: bytes, dialect: "Dialect", missed: int) -> None:
    """Raise :class:`WrongAnswerError` where an answer has not all the messages, in their order."""
    found = json.loads(answer).get("response") or {}
    numbers = list[int | None]()
    offsets = list[int]()
    for message in found.get("messages", ()):
        offsets.append(message.pop("offset"))
        text = json.dumps(message, separators=(",", ":")).encode()
        numbers.append(dialect.delivered(text))
    if (
        found.get("recovered") is not True
        or numbers != list(range(missed))
        or offsets != list(range(1, missed + 1))
    ):
        raise WrongAnswerError(f"{missed} messages were to be recovered: {answer[:300]!r}")


def _recover(connections: Sequence[Connection], call: bytes, dialect: "Dialect") -> float:
    """Seconds until all have all of it. They all get the same, so one answer is taken apart."""
    wait = watch(connections)
    by_fd = {connection.fd: connection for connection in connections}
    frames = {connection.fd: Frames() for connection in connections}
    framed, right, left = connections[0].frame(call), b"", len(connections)
    begun = time.perf_counter()
    for connection in connections:
        connection.send(framed)
    while left:
        for fd, _ in wait():
            for one in frames[fd].feed(by_fd[fd].recv(READ) or lost()):
                if one.opcode >= 8:
                    by_fd[fd].control(one)
                    continue
                if one.payload != right:
                    check(one.payload, dialect, _MISSED)
                    right = one.payload
                left -= 1
    return time.perf_counter() - begun


def _measure(workload: Workload, peer: "Peer", scale: Scale) -> Iterator[Sample | Headroom]:
    dialect, clients = peer.dialect, scale.of(_CLIENTS)
    with (
        Server(peer, "--history", str(_MISSED)) as server,
        connected(server.port, dialect, clients + 1) as connections,
    ):
        publisher = connections.pop()
        begin = tell(publisher, "history", channel=_CHANNEL, limit=0)
        for number in range(_MISSED):
            message = json.loads(dialect.publish(_CHANNEL, number))["payload"]
            tell(publisher, "publish", **message)
        position = {"offset": begin["offset"], "epoch": begin["epoch"]}
        before = tell(publisher, "reads")["reads"]
        payload = {"channel": _CHANNEL, "recover": position}
        call = json.dumps({"id": 1, "method": "subscribe", "payload": payload}).encode()
        with Meter(server) as used:
            seconds = _recover(connections, call, dialect)
        reads = tell(publisher, "reads")["reads"] - before
    yield workload.sample(seconds)
    yield Sample(
        f"{workload.id}-reads", "readings of the stream's messages for that", "readings", reads
    )
    yield Sample(
        f"{workload.id}-cpu",
        "CPU of the server for that",
        "µs of server CPU per client",
        used.cpu / clients * 1e6,
    )
    yield used.headroom(workload.id, peer.name, clients)


WORKLOADS: Final = (
    Workload(
        f"recovery-{_CLIENTS}x{_MISSED}",
        f"{_CLIENTS:,} clients come back at once, each {_MISSED} messages behind",
        "seconds until all have them",
        _measure,
        is_ours,
        quick=True,
    ),
)
