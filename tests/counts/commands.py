"""What is said to a broker's server, read from what was written to it."""

from collections.abc import Iterator

from yarl import URL

from tests.counts.loops import CountingLoop

__all__ = ["Said"]


class Said:
    """What is said to a server from now on that has to do with one channel.

    ``url`` is the server's, which has one address.
    """

    def __init__(self, loop: CountingLoop, url: str, channel: str) -> None:
        self._loop = loop
        self._port = URL(url).port
        self._channel = channel.encode()
        self._before = {each: len(each.writes) for each in loop.connected}

    def writes(self) -> list[list[str]]:
        """For each write that has any, the names of the commands."""
        found = []
        for each in self._loop.connected:
            if each.port == self._port:
                found += [self._names(write) for write in each.writes[self._before.get(each, 0) :]]
        return [names for names in found if names]

    def _names(self, write: bytes) -> list[str]:
        return [name for name, said in _commands(write) if self._channel in said]


def _commands(write: bytes) -> Iterator[tuple[str, bytes]]:
    """The name of each command, and all of it."""
    return _redis(write) if write.startswith(b"*") else _nats(write)


def _redis(write: bytes) -> Iterator[tuple[str, bytes]]:
    at = 0
    while at < len(write):
        line, at = _line(write, at)
        words = []
        for _ in range(int(line[1:])):
            line, at = _line(write, at)
            end = at + int(line[1:])
            words.append(write[at:end])
            at = end + 2
        yield words[0].decode(), b" ".join(words)


def _nats(write: bytes) -> Iterator[tuple[str, bytes]]:
    at = 0
    while at < len(write):
        begin = at
        line, at = _line(write, at)
        name, *words = line.split()
        if name in (b"PUB", b"HPUB"):
            at += int(words[-1]) + 2
        yield name.decode(), write[begin:at]


def _line(write: bytes, at: int) -> tuple[bytes, int]:
    """A line, and where the next one begins."""
    end = write.index(b"\r\n", at)
    return write[at:end], end + 2
