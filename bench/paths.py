"""The hot paths, each in a process of its own, so that nothing is in it but one of them.

    python -m bench.paths PATH STEPS      under valgrind, which is told to count what is behind
                                          the start and the warm-up
    python -m bench.paths PATH --time     prints the CPU time of an operation, in nanoseconds

Everything from the transport inwards is the real thing: aiohttp reads the handshake, the endpoint
answers it and takes the transport over. What is written is kept in a list: there is no system call
in these figures, but for the one that each turn of asyncio's own loop has.
"""

import asyncio
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from bench.dialects import ORDER
from bench.servers.ours import SOCKETS, Endpoint
from openapi.protocol.framing import text_frame
from openapi.protocol.topics import TopicIndex
from openapi.protocol.websocket import WebSocket
from openapi.ws import Limits, SocketsManager

__all__ = ["COUNTING", "PATHS", "HotPath", "Step"]

COUNTING: Final = "callgrind_control"
"""What has valgrind count from a moment on: the interpreter's start is most of what a run does."""

RECEIPT: Final = {"id": 123456, "total": 15.0, "text": "leave it there"}
DATA: Final = "x" * 100
SUBSCRIBERS: Final = 100
PATTERNS: Final = 10_000
#: Turns of the loop in which an answer has to come.
TURNS: Final = 50
#: CPU seconds that one round of --time takes, and how many there are; the best one counts.
ROUND: Final = 0.2
ROUNDS: Final = 7

Step = Callable[[], Awaitable[object]]
Server = Callable[[], asyncio.BaseProtocol]


@dataclass(frozen=True, slots=True)
class HotPath:
    """``prepare`` makes all that is needed, and returns one step of so many ``operations``.

    ``steps`` of them are counted, and then twice as many: the difference is what is told.
    """

    what: str
    prepare: Callable[[], Awaitable[Step]]
    steps: int
    operations: int = 1


class Sink(asyncio.Transport):
    """Keeps what is written. What it costs is no more than a list that is added to."""

    def __init__(self, protocol: asyncio.BaseProtocol, written: list[bytes]) -> None:
        super().__init__()
        self.write = written.append  # type: ignore[assignment] # a call less
        self.writelines = written.extend  # type: ignore[assignment] # likewise
        self._protocol = protocol
        self._closed = False

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Who has it."""
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand it over."""
        self._protocol = protocol

    def get_write_buffer_size(self) -> int:
        """Nothing waits."""
        return 0

    def is_closing(self) -> bool:
        """Whether it is closed."""
        return self._closed

    def close(self) -> None:
        """End: there is nothing that would have to be sent first."""
        if not self._closed:
            self._closed = True
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)

    abort = close

    def is_reading(self) -> bool:
        """Always."""
        return True

    def pause_reading(self) -> None:
        """Not that anybody does."""

    def resume_reading(self) -> None:
        """See above."""


class Client:
    """The other end of a Sink. Several may have one list of what is written to any of them."""

    def __init__(self, server: Server, written: list[bytes] | None = None) -> None:
        self._written = [] if written is None else written
        protocol = server()
        self._sink = Sink(protocol, self._written)
        protocol.connection_made(self._sink)

    def say(self, data: bytes) -> None:
        """Let bytes arrive in one read."""
        protocol = self._sink.get_protocol()
        if isinstance(protocol, asyncio.BufferedProtocol):
            memoryview(protocol.get_buffer(len(data)))[: len(data)] = data
            protocol.buffer_updated(len(data))
        else:
            assert isinstance(protocol, asyncio.Protocol)
            protocol.data_received(data)

    async def hear(self, size: int) -> bytes:
        """What is written next, once it is so many bytes."""
        written = self._written
        for _ in range(TURNS):
            if written and sum(map(len, written)) >= size:
                heard = b"".join(written)
                written.clear()
                return heard
            await asyncio.sleep(0)
        raise AssertionError(f"{size} bytes were to come in {TURNS} turns of the loop: {written}")

    async def hear_messages(self, count: int) -> bytes:
        """The bytes of so many messages."""
        heard = await self.hear(1)
        while len(_messages(heard)) < count:
            heard += await self.hear(1)
        return heard

    async def answer(self, request: bytes, answers: int = 1) -> bytes:
        """Say something, and return the bytes of so many answers, each of which is no error."""
        self.say(request)
        heard = await self.hear_messages(answers)
        assert all("response" in message for message in _messages(heard)), heard
        return heard


async def _server() -> Server:
    """What makes the protocol of a connection, on a server that listens nowhere."""
    app = web.Application()
    app[SOCKETS] = SocketsManager(limits=Limits(ping_interval=None))
    app.router.add_view("/stream", Endpoint)
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    assert runner.server is not None
    return runner.server


async def _connect(server: Server, written: list[bytes] | None = None) -> Client:
    client = Client(server, written)
    client.say(
        b"GET /stream HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        b"Sec-WebSocket-Protocol: wsrpc.v1.json\r\n\r\n"
    )
    heard = await client.hear(1)
    assert heard.startswith(b"HTTP/1.1 101 "), heard
    return client


def _messages(frames: bytes) -> list[Any]:
    messages, at = list[Any](), 0
    while at < len(frames):
        assert frames[at] == 0x81, frames[at:]
        size, body = frames[at + 1], at + 2
        if size == 126:
            size, body = int.from_bytes(frames[at + 2 : at + 4]), at + 4
        at = body + size
        messages.append(json.loads(frames[body:at]))
    return messages


def _masked(payload: bytes, mask: bytes = b"\1\2\3\4") -> bytes:
    """A client's text frame."""
    head = bytearray(text_frame(payload, 0)[: -len(payload)])
    head[1] |= 0x80
    key = (mask * (len(payload) // 4 + 1))[: len(payload)]
    body = int.from_bytes(payload) ^ int.from_bytes(key)
    return bytes(head) + mask + body.to_bytes(len(payload))


def _said(method: str, payload: object, id: int = 0) -> bytes:
    message = {"id": id, "method": method, "payload": payload}
    return _masked(json.dumps(message, separators=(",", ":")).encode())


async def _asking(client: Client, request: bytes, answers: int = 1) -> Step:
    """A step that asks this and hears what was answered the first time."""
    expected = await client.answer(request, answers)
    size = len(expected)

    async def step() -> None:
        client.say(request)
        heard = await client.hear(size)
        assert heard == expected, heard

    return step


async def _calls(depth: int) -> Step:
    client = await _connect(await _server())
    request = b"".join(_said("order", ORDER, id) for id in range(depth))
    answered = _messages(await client.answer(request, depth))
    assert all(message["response"] == RECEIPT for message in answered), answered
    return await _asking(client, request, depth)


async def _publishes(depth: int) -> Step:
    server, written = await _server(), list[bytes]()
    subscribers = [await _connect(server, written) for _ in range(SUBSCRIBERS)]
    for subscriber in subscribers:
        await subscriber.answer(_said("subscribe", {"channel": "c"}))
    publisher = await _connect(server)
    payload = {"channel": "c", "event": "e", "data": DATA}
    request = b"".join(_said("publish", payload, id) for id in range(depth))
    answer = await publisher.answer(request, depth)
    delivered = await subscribers[0].hear_messages(depth * SUBSCRIBERS)
    assert _messages(delivered) == [payload] * (depth * SUBSCRIBERS), delivered

    async def step() -> None:
        publisher.say(request)
        assert await publisher.hear(len(answer)) == answer
        assert await subscribers[0].hear(len(delivered)) == delivered

    return step


async def _subscribes() -> Step:
    client = await _connect(await _server())
    payload = {"channel": "c", "event": "orders.*"}
    subscribe = await _asking(client, _said("subscribe", payload))
    unsubscribe = await _asking(client, _said("unsubscribe", payload))

    async def step() -> None:
        await subscribe()
        await unsubscribe()

    return step


async def _matches() -> Step:
    index: TopicIndex[int] = TopicIndex()
    for number in range(PATTERNS):
        index.subscribe(number, "c", f"other.{number}.*")
    for number, pattern in enumerate(("*", "other.77.new", "other.*.new", "*.new"), PATTERNS):
        index.subscribe(number, "c", pattern)
    expected = [77, *range(PATTERNS, PATTERNS + 4)]

    async def step() -> None:
        assert list(index.subscribers("c", "other.77.new")) == expected

    return step


async def _frames() -> Step:
    limits = Limits()
    parser = WebSocket(
        message_bytes=limits.message_bytes,
        discard_bytes=limits.discard_bytes,
        fragments=limits.fragments,
    )
    payload = b"x" * 130
    frame, expected = _masked(payload), [payload.decode()]

    async def step() -> None:
        assert list(parser.receive(frame)) == expected

    return step


PATHS: Final[dict[str, HotPath]] = {
    "call": HotPath("a typed call, from the read to the write", lambda: _calls(1), 150),
    "call-16": HotPath("one of 16 typed calls in one read", lambda: _calls(16), 15, 16),
    "publish": HotPath("a publish to 100 connections", lambda: _publishes(1), 20),
    "publish-8": HotPath("one of 8 publishes in one read", lambda: _publishes(8), 5, 8),
    "subscribe": HotPath("subscribe and unsubscribe", _subscribes, 60),
    "match": HotPath("who gets an event, of 10,000 patterns", _matches, 300),
    "frame": HotPath("a masked text frame of 130 bytes is read", _frames, 600),
}


async def _repeat(step: Step, times: int) -> None:
    for _ in range(times):
        await step()


def _begin_to_count() -> None:
    command = [COUNTING, "--instr=on", str(os.getpid())]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


async def _count(path: HotPath, steps: int) -> None:
    step = await path.prepare()
    await _repeat(step, 20)
    gc.collect()
    gc.disable()  # whether one falls into these few steps is chance
    _begin_to_count()
    await _repeat(step, steps)
    os._exit(0)  # what is left to be taken down is no part of it


async def _time(path: HotPath) -> None:
    step = await path.prepare()
    steps, rounds = path.steps, list[float]()
    gc.collect()
    gc.freeze()
    while len(rounds) < ROUNDS:
        before = time.process_time()
        await _repeat(step, steps)
        used = time.process_time() - before
        if used < ROUND / 2:
            steps *= 2
        else:
            rounds.append(used / steps / path.operations)
    print(round(min(rounds) * 1e9), flush=True)
    os._exit(0)


def main(arguments: Sequence[str]) -> None:
    """See the head of the file."""
    name, steps = arguments
    if steps == "--time":
        asyncio.run(_time(PATHS[name]))
    else:
        asyncio.run(_count(PATHS[name], int(steps)))


if __name__ == "__main__":
    main(sys.argv[1:])
