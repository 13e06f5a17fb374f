"""The load: connections by raw sockets, which cost less than any server.

There is no event loop: one thread waits in epoll, and does one ``recv`` and one ``send`` for each
connection that has something. What came is compared as a whole with what was checked before, and is
taken apart only where it is new.

Each wait has an end: ``TimeoutError`` says what did not come in ``PATIENCE`` seconds.
"""

import resource
import select
import socket
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple, Protocol

__all__ = [
    "PATIENCE",
    "READ",
    "Connection",
    "Frame",
    "Frames",
    "Speech",
    "WrongAnswerError",
    "ask",
    "connected",
    "frame",
    "watch",
]

#: Seconds that the load waits for anything.
PATIENCE: Final = 30.0
#: Bytes of one read.
READ: Final = 65_536

_TEXT: Final = 1
_BINARY: Final = 2
_CLOSE: Final = 8
_PING: Final = 9
#: RFC 6455 wants a mask that cannot be foreseen. That protects proxies, and there is none.
_MASK: Final = b"\x37\xfa\x21\x3d"
#: Ports that one source address has, with a margin.
_PORTS: Final = 20_000
#: Handshakes that are begun before the first is waited for.
_AT_ONCE: Final = 100
_KEY: Final = "AAAAAAAAAAAAAAAAAAAAAA=="


class WrongAnswerError(AssertionError):
    """The server sent what it may not."""


class Speech(Protocol):
    """What is needed of a dialect to be connected."""

    @property
    def path(self) -> str: ...
    @property
    def binary(self) -> bool: ...
    def hello(self) -> Sequence[tuple[bytes | None, bytes]]: ...


def frame(payload: bytes, *, binary: bool = False) -> bytes:
    """A client's frame, masked (RFC 6455, 5.2)."""
    return _framed(payload, _BINARY if binary else _TEXT)


def _framed(payload: bytes, opcode: int) -> bytes:
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 65_536:
        length = b"\xfe" + size.to_bytes(2)
    else:
        length = b"\xff" + size.to_bytes(8)
    mask = int.from_bytes((_MASK * (size // 4 + 1))[:size])
    masked = (int.from_bytes(payload) ^ mask).to_bytes(size)
    return bytes([0x80 | opcode]) + length + _MASK + masked


class Frame(NamedTuple):
    """One frame of a server."""

    opcode: int
    payload: bytes
    #: With its head, as it came.
    raw: bytes


class Frames:
    """Takes what was read apart into frames, wherever the reads cut them.

    ``rest`` is the beginning of a frame whose end has not come.
    """

    __slots__ = ("rest",)

    def __init__(self, rest: bytes = b"") -> None:
        self.rest = rest

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that ``data`` completes. Raises :class:`WrongAnswerError` for what a server
        that compresses nothing may not send."""
        data = self.rest + data if self.rest else data
        found, start, end = list[Frame](), 0, len(data)
        while end - start >= 2:
            first, size, body = data[start], data[start + 1], start + 2
            if size & 0x80 or first & 0x70:
                raise WrongAnswerError(f"no frame of a server: {data[start : start + 20]!r}")
            if not first & 0x80 or first == 0x80:
                raise WrongAnswerError(f"a message in pieces: {data[start : start + 20]!r}")
            if size >= 126:
                body += 2 if size == 126 else 8
                if body > end:
                    break
                size = int.from_bytes(data[start + 2 : body])
            if body + size > end:
                break
            stop = body + size
            found.append(Frame(first & 0x0F, data[body:stop], data[start:stop]))
            start = stop
        self.rest = data[start:]
        return found


class Connection:
    """A WebSocket. Its socket blocks, for :data:`PATIENCE` seconds at the most."""

    __slots__ = ("_binary", "_frames", "_sock", "_taken", "fd", "recv", "send")

    def __init__(self, sock: socket.socket, *, binary: bool) -> None:
        self._sock = sock
        self._binary = binary
        self._frames = Frames()
        self._taken: list[Frame] = []
        self.fd = sock.fileno()
        self.recv: Callable[[int], bytes] = sock.recv
        self.send: Callable[[bytes], None] = sock.sendall

    def frame(self, payload: bytes) -> bytes:
        """A payload, as this connection sends it."""
        return frame(payload, binary=self._binary)

    def say(self, payload: bytes) -> None:
        """Send one message."""
        self.send(self.frame(payload))

    def messages(self) -> Iterator[bytes]:
        """Payloads as they come: the slow way to read, for what is not counted.

        Pings are answered. What is left when nobody iterates any more is kept for the next time.
        Raises :class:`WrongAnswerError` where the connection ends.
        """
        while True:
            while self._taken:
                one = self._taken.pop(0)
                if one.opcode in (_TEXT, _BINARY):
                    yield one.payload
                else:
                    self.control(one)
            self._taken = self._frames.feed(self.read())

    def control(self, one: Frame) -> None:
        """Answer a ping, ignore a pong. Raises :class:`WrongAnswerError` for a closing frame."""
        if one.opcode == _PING:
            self.send(_framed(one.payload, 10))
        elif one.opcode == _CLOSE:
            raise WrongAnswerError(f"the server closed a connection: {one.payload!r}")

    def read(self) -> bytes:
        """What is there, waited for. Raises ``TimeoutError``."""
        try:
            data = self.recv(READ)
        except BlockingIOError:
            raise TimeoutError(f"nothing came in {PATIENCE:g} seconds") from None
        return data or lost()

    def keep(self, data: bytes) -> None:
        """Take what was read by another way for the first of what came."""
        self._taken += self._frames.feed(data)

    @property
    def left(self) -> bytes:
        """What was read and has been taken by nobody."""
        return b"".join(one.raw for one in self._taken) + self._frames.rest

    def close(self) -> None:
        """Cut it, which leaves no port waiting."""
        self._sock.close()


def lost() -> bytes:
    """Raises: a read was empty."""
    raise WrongAnswerError("the server cut a connection")


def ask(connection: Connection, payload: bytes, answers: Callable[[bytes], bool]) -> bytes:
    """Send something, and wait for the message that answers it; others are passed over."""
    connection.say(payload)
    return next(message for message in connection.messages() if answers(message))


@contextmanager
def connected(
    port: int, speech: Speech, count: int, *, receive_buffer: int = 0
) -> Iterator[list[Connection]]:
    """``count`` connections that have said hello; cut when it is left.

    ``receive_buffer`` is what the kernel may hold of each, in bytes; 0 leaves it to the kernel.
    """
    _allow(count)
    made: list[Connection] = []
    try:
        while len(made) < count:
            begun = len(made)
            made.extend(
                _begin(port, speech, number, receive_buffer)
                for number in range(begun, min(count, begun + _AT_ONCE))
            )
            for connection in made[begun:]:
                _finish(connection, speech)
        yield made
    finally:
        for connection in made:
            connection.close()


def _allow(sockets: int) -> None:
    """Raise the limit of open files as far as it goes. Raises ``OSError`` where that is too low."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and sockets + 100 > hard:
        raise OSError(f"{sockets} connections are more than the {hard} files that may be open")


def _begin(port: int, speech: Speech, number: int, receive_buffer: int) -> Connection:
    sock = socket.socket()
    try:
        wait = struct.pack("ll", int(PATIENCE), 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, wait)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, wait)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if number >= _PORTS:
            sock.bind((f"127.0.0.{2 + number // _PORTS}", 0))
        sock.connect(("127.0.0.1", port))
        connection = Connection(sock, binary=speech.binary)
        connection.send(
            f"GET {speech.path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\n"
            f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {_KEY}\r\n\r\n"
            "".encode()
        )
    except BaseException:  # Ctrl-C, too: no socket is left behind
        sock.close()
        raise
    return connection


def _finish(connection: Connection, speech: Speech) -> None:
    head = end = rest = data = b""
    while not end:
        data += connection.read()
        head, end, rest = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 101"):
        raise WrongAnswerError(f"no WebSocket: {head[:200]!r}")
    connection.keep(rest)
    messages = connection.messages()
    for said, expected in speech.hello():
        if said is not None:
            connection.say(said)
        answer = next(messages)
        if not answer.startswith(expected):
            raise WrongAnswerError(f"{expected!r} was expected, not {answer[:200]!r}")


def watch(connections: Iterable[Connection]) -> Callable[..., list[tuple[int, int]]]:
    """What waits until some have something to read: ``(fd, events)`` of them.

    Its argument is a time in seconds, to the millisecond; nothing may come in it. Without one it
    raises ``TimeoutError`` where there is nothing for :data:`PATIENCE` seconds.
    """
    epoll, count = select.epoll(), 0
    for connection in connections:
        epoll.register(connection.fd, select.EPOLLIN)
        count += 1
    poll = epoll.poll

    def wait(seconds: float = PATIENCE) -> list[tuple[int, int]]:
        ready = poll(seconds, count)
        if not ready and seconds == PATIENCE:
            raise TimeoutError(f"nothing came in {PATIENCE:g} seconds")
        return ready

    return wait
