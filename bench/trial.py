"""A small client tries all that the measurements ask of a server: `python -m bench.peers`."""

import re
import sys
from collections.abc import Sequence

from bench.dialects import IN_FLIGHT
from bench.load import Connection, connected
from bench.peers import PEERS, Peer
from bench.process import Server

__all__ = ["converse", "main"]


def converse(port: int, peer: Peer) -> list[bytes]:
    """Ask a server all that the peer takes part in, and return what it answered.

    Raises AssertionError for an answer that does not fit, and TimeoutError without one.
    """
    dialect, heard = peer.dialect, list[bytes]()

    def hear(connection: Connection) -> bytes:
        heard.append(next(connection.messages()))
        return heard[-1]

    with connected(port, dialect, 2) as (one, other):
        if peer.calls:
            for number in range(IN_FLIGHT):
                one.say(dialect.call(number))
            numbers = {dialect.answered(hear(one)) for _ in range(IN_FLIGHT)}
            assert numbers == set(range(IN_FLIGHT)), f"answered were {numbers}"
        if peer.fan_out:
            other.say(dialect.subscribe("c"))
            assert dialect.subscribed(hear(other))
            for number in (0, 7, 123_456):
                one.say(dialect.publish("c", number))
                assert dialect.published(hear(one))
                assert dialect.delivered(hear(other)) == number
    return heard


def main(names: Sequence[str]) -> None:
    """Try some peers, or all, and print what became of it. Exit with 1 if one of them fails."""
    if unknown := set(names) - {peer.name for peer in PEERS}:
        sys.exit(f"there is no peer {', '.join(sorted(unknown))}: {[peer.name for peer in PEERS]}")
    failed = False
    for peer in PEERS:
        if names and peer.name not in names:
            continue
        try:
            with Server(peer) as server:
                heard = converse(server.port, peer)
        except (AssertionError, OSError, RuntimeError) as exc:
            failed = True
            print(f"FAILED  {peer.name}, {peer.title}: {exc!r}", flush=True)
            continue
        print(f"ok  {peer.name}, {peer.title}")
        # one of those that differ in their numbers only
        for payload in {re.sub(rb"\d+", b"", each): each for each in heard}.values():
            print("   ", re.sub("x{20,}", "x…", payload.decode()))
        sys.stdout.flush()
    sys.exit(failed)
