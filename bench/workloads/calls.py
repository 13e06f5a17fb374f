"""Typed calls: about 100 bytes each, answered by an async handler, on 50 connections."""

import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from bench.figures import Headroom, Sample
from bench.load import (
    READ,
    Connection,
    Frames,
    WrongAnswerError,
    ask,
    connected,
    frame,
    lost,
    watch,
)
from bench.process import Meter, Server
from bench.workloads.workload import Scale, Workload

if TYPE_CHECKING:
    from bench.dialects import Dialect
    from bench.peers import Peer

__all__ = ["WORKLOADS", "Answers", "confirm", "exchange"]

_CONNECTIONS: Final = 50
#: Different reads that are remembered: of 16 answers in turn there are 256.
_KNOWN: Final = 4096


class Answers:
    """Checks answers, and says what to call then.

    What was checked once is in ``known``, byte by byte, with what :meth:`take` says of it: a read
    that is equal to it is right as well, unless its connection is in ``cut``.
    """

    def __init__(self, dialect: "Dialect", depth: int) -> None:
        self._dialect = dialect
        self.depth = depth
        self._calls = [
            frame(dialect.call(number), binary=dialect.binary) for number in range(depth)
        ]
        self.first = b"".join(self._calls)
        self.known: dict[bytes, tuple[int, bytes]] = {}
        #: Of connections whose last read ended inside of a frame, what that began with.
        self.cut: dict[int, Frames] = {}

    def take(self, connection: Connection, data: bytes) -> tuple[int, bytes]:
        """How many answers have come with ``data``, and the same calls again.

        Raises ``AssertionError`` for a wrong answer, or one to a call that is not in flight.
        """
        frames = self.cut.pop(connection.fd, None)
        plain = frames is None
        frames = frames or Frames()
        numbers = list[int]()
        for one in frames.feed(data):
            if one.opcode >= 8:
                connection.control(one)
                number = None
            else:
                number = self._dialect.answered(one.payload)
            if number is None:
                plain = False
            elif number in numbers or not 0 <= number < len(self._calls):
                raise WrongAnswerError(f"call {number} is not in flight: {one.payload[:200]!r}")
            else:
                numbers.append(number)
        if frames.rest:
            plain = False
            self.cut[connection.fd] = frames
        found = len(numbers), b"".join(self._calls[number] for number in numbers)
        if plain and len(self.known) < _KNOWN:
            self.known[data] = found
        return found


def exchange(connections: Sequence[Connection], answers: Answers, seconds: float) -> int:
    """Call again whatever is answered, for so long; then wait for what is in flight.

    Returns how many were answered. Raises ``AssertionError`` for a wrong one, ``TimeoutError`` for
    one that does not come.
    """
    wait, known, cut = watch(connections), answers.known, answers.cut
    by_fd = {connection.fd: connection for connection in connections}
    recv = {connection.fd: connection.recv for connection in connections}
    send = {connection.fd: connection.send for connection in connections}
    for connection in connections:
        connection.send(answers.first)
    in_flight, answered = answers.depth * len(connections), 0
    end = time.perf_counter() + seconds
    goes_on = seconds > 0
    while in_flight > 0:
        for fd, _ in wait():
            data = recv[fd](READ) or lost()
            found = known.get(data) if fd not in cut else None
            count, again = found or answers.take(by_fd[fd], data)
            answered += count
            if goes_on:
                send[fd](again)
            else:
                in_flight -= count
        goes_on = goes_on and time.perf_counter() < end
    assert in_flight == 0, f"{-in_flight} answers too many"
    return answered


def confirm(connections: Sequence[Connection], dialect: "Dialect") -> None:
    """One more call on each connection: its answer is the only one that comes.

    This shows one answer too many, which could have been taken for that of the next call of the
    same number.
    """
    for connection in connections:
        answer = ask(connection, dialect.call(0), lambda text: dialect.answered(text) is not None)
        assert dialect.answered(answer) == 0 and not connection.left, "an answer too many"


def _measure(
    depth: int, workload: Workload, peer: "Peer", scale: Scale
) -> Iterator[Sample | Headroom]:
    with Server(peer) as server, connected(server.port, peer.dialect, _CONNECTIONS) as connections:
        answers = Answers(peer.dialect, depth)
        exchange(connections, answers, scale.warm)
        with Meter(server) as used:
            count = exchange(connections, answers, scale.counted)
        confirm(connections, peer.dialect)
    yield workload.sample(used.cpu / count * 1e6)
    yield used.headroom(workload.id, peer.name, count)


def _workload(depth: int) -> Workload:
    return Workload(
        f"rpc-{depth}",
        f"typed RPC, {depth} in flight on {_CONNECTIONS} connections",
        "µs of server CPU per call",
        partial(_measure, depth),
        lambda peer: peer.calls,
        quick=True,
    )


WORKLOADS: Final = tuple(map(_workload, (1, 16)))
