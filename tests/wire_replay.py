"""One conversation of ``wire/vectors`` with a real server, step by step. See ``wire/README.md``."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from itertools import permutations
from typing import Any

import pytest
from aiohttp import web
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol
from yarl import URL

from tests.wire_dialects import DIALECTS, NATIVE, Dialect
from tests.wire_endpoint import RELEASES, SOCKETS

TYPES = {"string": str, "integer": int, "object": dict, "array": list}
END = {"id": "end", "method": "echo", "payload": {"end": True}}
END_OF_IT = {"id": "end", "method": "echo", "response": {"end": True}}


@dataclass(frozen=True, kw_only=True)
class Connection:
    """One of them. ``said`` makes what is said there of what the vector says."""

    socket: ClientConnection
    dialect: Dialect
    said: Callable[[Any], Any]


class Replay:
    """One conversation.

    ``dialect`` is that of connections of which the vector says nothing, whose frames are native.
    """

    def __init__(self, url: URL, app: web.Application, dialect: str = NATIVE) -> None:
        self.url = url
        self.manager = app[SOCKETS]
        self.releases = app[RELEASES]
        self.dialect = dialect
        self.names: dict[str, str] = {}
        self.connections: dict[str, Connection] = {}
        self.server: list[asyncio.Task[None]] = []

    async def connect(self, stack: AsyncExitStack, name: str, options: dict[str, Any]) -> None:
        """Open a connection. It selects the subprotocol that the vector says."""
        if options or self.dialect == NATIVE:
            offers, selects = options.get("offers"), options.get("selects")
            speaks = options.get("speaks") or selects or NATIVE
        else:
            offers, selects, speaks = [self.dialect], self.dialect, self.dialect
        socket = await stack.enter_async_context(
            connect(
                str(self.url.with_scheme("ws")),
                subprotocols=[Subprotocol(offer) for offer in offers] if offers else None,
                compression=None,
                ping_interval=None,
                max_size=None,
                max_queue=None,
            )
        )
        assert socket.subprotocol == selects
        dialect = DIALECTS[speaks]
        said = _as_it_is if options else dialect.said
        self.connections[name] = Connection(socket=socket, dialect=dialect, said=said)

    async def step(self, step: dict[str, Any]) -> None:
        """Take one step."""
        times = step.get("times", 1)
        match step:
            case {"from": name, "send": value}:
                for n in range(times):
                    await self.send(name, value, n)
            case {"from": name, "send_text": value}:
                for n in range(times):
                    await self.socket(name).send(text(value, n))
            case {"from": name, "send_binary": value}:
                for n in range(times):
                    await self.socket(name).send(bytes.fromhex(text(value, n)))
            case {"from": name, "send_fragments": pieces}:
                self.socket(name).transport.write(fragments(pieces))
            case {"from": name, "send_frames": frames}:
                self.socket(name).transport.write(bytes.fromhex("".join(frames)))
            case {"from": name, "close": code}:
                await self.socket(name).close(code)
            case {"from": name, "reads": False}:
                self.socket(name).transport.pause_reading()
            case {"from": name, "reads": True}:
                self.socket(name).transport.resume_reading()
            case {"to": name, "expect": value, "behind": others}:
                others, value = self.expected(name, others, 0), self.expected(name, value, 0)
                while matches(others, message := await self.receive(name)):
                    pass
                self.compare(value, message)
            case {"to": name, "expect": value}:
                for n in range(times):
                    self.compare(self.expected(name, value, n), await self.receive(name))
            case {"to": name, "expect_binary": value}:
                message = await self.socket(name).recv()
                assert isinstance(message, bytes)
                assert message.hex() == bytes.fromhex(value).hex()
            case {"to": name, "expect_in_any_order": value}:
                await self.receive_in_any_order(
                    name, value if isinstance(value, list) else [value] * times
                )
            case {"to": name, "closed": code}:
                await self.closed(name, code)
            case {"release": key}:
                self.releases[key].set()
            case {"server": "shuts down"}:
                self.server.append(asyncio.create_task(self.manager.drain()))
            case {"server": "closes its connections"}:
                self.server.append(asyncio.create_task(self.manager.close_sockets()))
            case {"request": headers, "answer": answer}:
                await self.request(headers, answer)
            case _:
                raise AssertionError(f"no step of a conversation: {step}")

    async def finish(self) -> None:
        """See that nothing else came, and that every connection still answers."""
        for name, connection in self.connections.items():
            said = connection.dialect.said
            await connection.socket.send(connection.dialect.write(said(END)))
            assert_match(said(END_OF_IT), await self.receive(name))
        await asyncio.gather(*self.server)

    def socket(self, name: str) -> ClientConnection:
        """The WebSocket of a connection."""
        return self.connections[name].socket

    def expected(self, name: str, value: Any, n: int) -> Any:
        """What is expected, as it is said on a connection."""
        return self.connections[name].said(expand(value, n, self.names))

    def compare(self, expected: Any, got: Any) -> None:
        """See that a message is what was expected, and remember what has a name there."""
        assert_match(expected, got)
        for name, value in named(expected, got):
            assert value not in self.names.values(), f"{value!r} is known already, it is no {name}"
            self.names[name] = value

    async def send(self, name: str, value: Any, n: int) -> None:
        """Send what the vector says, in the dialect of a connection."""
        connection = self.connections[name]
        message = connection.said(expand(value, n, self.names))
        await connection.socket.send(connection.dialect.write(message))

    async def receive(self, name: str) -> Any:
        """The next message to a connection."""
        return self.connections[name].dialect.read(await self.socket(name).recv())

    async def receive_in_any_order(self, name: str, values: list[Any]) -> None:
        """See that the next messages to a connection are these."""
        expected = [self.expected(name, value, n) for n, value in enumerate(values)]
        for _ in values:
            message = await self.receive(name)
            found = [one for one in expected if matches(one, message)]
            assert found, f"{message} is none of {expected}"
            self.compare(found[0], message)
            expected.remove(found[0])

    async def closed(self, name: str, code: int) -> None:
        """See that a connection is closed with nothing in front of it."""
        socket = self.connections.pop(name).socket
        with pytest.raises(ConnectionClosed):
            raise AssertionError(f"instead of being closed, got {await socket.recv()!r}")
        await socket.wait_closed()
        assert socket.protocol.close_rcvd is not None, "cut without a closing frame"
        assert socket.protocol.close_rcvd.code == code

    async def request(self, headers: dict[str, str], answer: dict[str, Any]) -> None:
        """Make a plain HTTP request."""
        reader, writer = await asyncio.open_connection(self.url.host, self.url.port)
        lines = [f"GET {self.url.path} HTTP/1.1", f"Host: {self.url.authority}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        head, *rest = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        got = dict(line.split(": ", 1) for line in rest if line)
        assert int(head.split()[1]) == answer["status"]
        for name, value in answer.get("headers", {}).items():
            assert got[name] == value
        if "json" in answer:
            body = await reader.readexactly(int(got["Content-Length"]))
            assert_match(answer["json"], json.loads(body))
        writer.close()
        await writer.wait_closed()


def text(value: Any, n: int = 0) -> str:
    """A text, or pieces of it: strings, repetitions and the number of the repeated step."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        if "$n" in value:
            return str(value["$n"] + n)
        repeated: str = value["repeat"]
        return repeated * int(value["times"])
    return "".join(text(piece, n) for piece in value)


def expand(value: Any, n: int, names: dict[str, str]) -> Any:
    """JSON with its placeholders filled in, all but those that stand for several values."""
    if isinstance(value, list):
        return [expand(item, n, names) for item in value]
    if isinstance(value, dict):
        match value:
            case {"$n": first}:
                return first + n
            case {"$text": pieces}:
                return text(pieces, n)
            case {"$bytes": digits}:
                return bytes.fromhex(text(digits, n))
            case {"$timestamp": moment}:
                return datetime.fromisoformat(moment)
            case {"$value": name}:
                return names[name]
        return {key: expand(item, n, names) for key, item in value.items()}
    return value


def matches(expected: Any, got: Any) -> bool:
    """Whether a message is what was expected: no key less, no key more."""
    if isinstance(expected, dict) and "$bind" in expected:
        return isinstance(got, str)
    if isinstance(expected, dict) and "$any" in expected:
        return isinstance(got, TYPES[expected["$any"]]) and not isinstance(got, bool)
    if isinstance(expected, dict) and "$in_any_order" in expected:
        orders = permutations(expected["$in_any_order"])
        return any(matches(list(order), got) for order in orders)
    if isinstance(expected, dict) and isinstance(got, dict):
        return expected.keys() == got.keys() and all(
            matches(value, got[key]) for key, value in expected.items()
        )
    if isinstance(expected, list) and isinstance(got, list):
        return len(expected) == len(got) and all(map(matches, expected, got))
    return isinstance(expected, bool) == isinstance(got, bool) and bool(expected == got)


def named(expected: Any, got: Any) -> Iterator[tuple[str, str]]:
    """The names that a message which matches gives, and to what."""
    if isinstance(expected, dict) and "$bind" in expected:
        yield expected["$bind"], got
    elif isinstance(expected, dict) and isinstance(got, dict):
        for key in expected.keys() & got.keys():
            yield from named(expected[key], got[key])
    elif isinstance(expected, list) and isinstance(got, list):
        for one, other in zip(expected, got, strict=True):
            yield from named(one, other)


def assert_match(expected: Any, got: Any) -> None:
    """Fail with both if they do not match."""
    assert matches(expected, got), f"expected {expected}\ngot {got}"


def fragments(pieces: list[Any]) -> bytes:
    """The frames of one text message in fragments, masked with zeros."""
    texts: list[str] = []
    for piece in pieces:
        texts += [piece] if isinstance(piece, str) else [piece["repeat"]] * piece["times"]
    frames = b""
    for index, fragment in enumerate(texts):
        payload = fragment.encode()
        first = (0x80 if index == len(texts) - 1 else 0) | (0 if index else 1)
        frames += bytes((first, 0x80 | len(payload))) + bytes(4) + payload
    return frames


def _as_it_is(message: Any) -> Any:
    return message
