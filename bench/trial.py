"""One client tries all that the measurements ask of a server: `python -m bench.peers`."""

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Timer

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from bench.dialects import IN_FLIGHT, Dialect
from bench.peers import PEERS, Command, Peer

__all__ = ["converse", "main", "serving"]

#: Seconds, for one server.
TIME = 20.0

_FAILURES = (WebSocketException, subprocess.CalledProcessError)


@contextmanager
def serving(command: Command, seconds: float = TIME) -> Iterator[int]:
    """Start a server and give its port. After so many seconds it is killed, whatever goes on."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    kill = Timer(seconds, process.kill)
    kill.start()
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.strip().isdigit():
            raise RuntimeError(f"{command[-1]} printed {line!r} in the place of its port")
        yield int(line)
    finally:
        process.terminate()
        process.communicate()
        kill.cancel()


def converse(port: int, peer: Peer) -> list[bytes]:
    """Ask all that the peer takes part in, and return what it answered.

    Raises AssertionError for an answer that does not fit, and TimeoutError without one.
    """
    dialect, heard = peer.dialect, list[bytes]()
    with open_socket(port, dialect, heard) as one, open_socket(port, dialect, heard) as other:
        if peer.calls:
            for number in range(IN_FLIGHT):
                say(one, dialect, dialect.call(number))
            numbers = {dialect.answered(hear(one, heard)) for _ in range(IN_FLIGHT)}
            assert numbers == set(range(IN_FLIGHT)), f"answered were {numbers}"
        if peer.fan_out:
            say(other, dialect, dialect.subscribe("c"))
            assert dialect.subscribed(hear(other, heard))
            for number in (0, 7, 123_456):
                say(one, dialect, dialect.publish("c", number))
                assert dialect.published(hear(one, heard))
                assert dialect.delivered(hear(other, heard)) == number
    return heard


def open_socket(port: int, dialect: Dialect, heard: list[bytes]) -> ClientConnection:
    """Connect, and say hello."""
    url = f"ws://127.0.0.1:{port}{dialect.path}"
    socket = connect(url, compression=None, proxy=None, ping_interval=None, close_timeout=2)
    for said, begins in dialect.hello():
        if said is not None:
            say(socket, dialect, said)
        reply = hear(socket, heard)
        assert reply.startswith(begins), f"the server said {reply!r}, not {begins!r}"
    return socket


def say(socket: ClientConnection, dialect: Dialect, payload: bytes) -> None:
    """Send a payload."""
    socket.send(payload, text=not dialect.binary)


def hear(socket: ClientConnection, heard: list[bytes]) -> bytes:
    """Receive the next payload."""
    payload = socket.recv(timeout=5, decode=False)
    heard.append(payload)
    return payload


def main(names: Sequence[str]) -> None:
    """Try some peers, or all, and print what became of it. Exit with 1 if one of them fails."""
    if unknown := set(names) - {peer.name for peer in PEERS}:
        sys.exit(f"there is no peer {', '.join(sorted(unknown))}: {[peer.name for peer in PEERS]}")
    failed = False
    for peer in PEERS:
        if names and peer.name not in names:
            continue
        try:
            with serving(peer.command()) as port:
                heard = converse(port, peer)
        except (AssertionError, OSError, RuntimeError, *_FAILURES) as exc:
            failed = True
            print(f"FAILED  {peer.name}, {peer.title}: {exc!r}", flush=True)
            continue
        print(f"ok  {peer.name}, {peer.title}")
        # one of those that differ in their numbers only
        for payload in {re.sub(rb"\d+", b"", each): each for each in heard}.values():
            print("   ", re.sub("x{20,}", "x…", payload.decode()))
        sys.stdout.flush()
    sys.exit(failed)
