"""The conversations of ``wire/vectors``, held with a real server. See ``wire/README.md``."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, fields
from inspect import signature
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol
from yarl import URL

from openapi import client
from openapi.errors import CloseCode, ErrorCode, may_reconnect
from openapi.ws import Limits
from tests.conftest import Serve
from tests.wire_endpoint import RELEASES, SOCKETS, application

WIRE = Path(__file__).parents[1] / "wire"
CONTRACT = (WIRE / "README.md").read_text("utf-8")
VECTORS = {
    f"{path.stem}: {vector['name']}": vector
    for path in sorted((WIRE / "vectors").glob("*.json"))
    for vector in json.loads(path.read_text("utf-8"))["vectors"]
}

# What the contract defines for later.
RESERVED_ERRORS = {
    ErrorCode.NOT_AUTHENTICATED,
    ErrorCode.NOT_ALLOWED,
    ErrorCode.RATE_LIMITED,
    ErrorCode.DEADLINE_EXCEEDED,
    ErrorCode.BROKER_UNAVAILABLE,
}
RESERVED_CLOSINGS = {
    CloseCode.CREDENTIALS_EXPIRED,
    CloseCode.POSITION_LOST,
    CloseCode.NOT_AUTHENTICATED,
    CloseCode.NOT_ALLOWED,
    CloseCode.TOO_MANY_CONNECTIONS,
}
NEVER_SENT = {CloseCode.NO_STATUS, CloseCode.ABNORMAL}
# It takes a clock, a peer that stops reading, or an application with a fault, to come here: tests
# of the server's own do that.
UNHURRIED_ERRORS = {ErrorCode.CANCELLED}
UNHURRIED_CLOSINGS = {CloseCode.NO_PONG, CloseCode.TOO_SLOW, CloseCode.INTERNAL_ERROR}
UNHURRIED_LIMITS = {"outbox_bytes", "ping_interval", "pong_timeout", "close_timeout"}
FRAMES = {"call", "notification", "result", "failure", "message", "reconnect"}
METHODS = {"publish", "subscribe", "unsubscribe"}
OTHERS = {"wsrpc.v1.json", "jsonrpc2.0", "application error"}
ROWS: set[str | int] = (
    {int(code) for code in set(ErrorCode) - RESERVED_ERRORS - UNHURRIED_ERRORS}
    | {int(code) for code in set(CloseCode) - RESERVED_CLOSINGS - NEVER_SENT - UNHURRIED_CLOSINGS}
    | {field.name for field in fields(Limits)} - UNHURRIED_LIMITS
    | FRAMES
    | METHODS
    | OTHERS
)


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How a connection writes and reads messages, and the call that it ends with."""

    write: Callable[[Any], str | bytes]
    read: Callable[[str | bytes], Any]
    request: dict[str, Any]
    answer: dict[str, Any]


def read_text(message: str | bytes) -> Any:
    """The JSON of a text message."""
    assert isinstance(message, str)
    return json.loads(message)


NATIVE = "wsrpc.v1.json"
DIALECTS = {
    NATIVE: Dialect(
        write=json.dumps,
        read=read_text,
        request={"id": "end", "method": "echo", "payload": {"end": True}},
        answer={"id": "end", "method": "echo", "response": {"end": True}},
    ),
    "jsonrpc2.0": Dialect(
        write=json.dumps,
        read=read_text,
        request={"jsonrpc": "2.0", "method": "echo", "params": {"end": True}, "id": "end"},
        answer={"jsonrpc": "2.0", "result": {"end": True}, "id": "end"},
    ),
}
TYPES = {"string": str, "integer": int, "object": dict, "array": list}


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS.keys())
async def test_the_server_holds_the_conversation(vector: dict[str, Any], serve: Serve) -> None:
    app = application()
    url = (await serve(app)) / "stream"
    async with asyncio.timeout(20), AsyncExitStack() as stack:
        replay = Replay(url, app)
        for name, options in vector.get("connections", {"a": {}}).items():
            await replay.connect(stack, name, options)
        for step in vector["steps"]:
            await replay.step(step)
        await replay.finish()


@pytest.mark.parametrize("row", sorted(ROWS, key=str))
def test_every_row_of_the_contract_has_a_vector(row: str | int) -> None:
    assert any(row in vector.get("covers", ()) for vector in VECTORS.values())


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS.keys())
def test_a_vector_covers_rows_that_exist_and_shows_the_codes_that_it_covers(
    vector: dict[str, Any],
) -> None:
    covered = set(vector.get("covers", ()))
    shown = set(codes_in(vector["steps"]))

    assert covered <= ROWS
    assert {row for row in covered if isinstance(row, int)} <= shown


def test_the_contract_has_every_error_code() -> None:
    assert {int(row[0].replace("−", "-")) for row in rows("Errors") if row[0][0] in "−"} == {
        int(code) for code in ErrorCode
    }


def test_the_contract_says_for_every_close_code_whether_a_client_comes_back() -> None:
    said = {int(code): row[-1] for row in rows("Close codes") for code in row[0].split(", ")}

    assert said == {int(code): "yes" if may_reconnect(code) else "no" for code in CloseCode}


def test_the_contract_says_which_codes_are_reserved() -> None:
    errors = {int(row[0].replace("−", "-")) for row in rows("Errors") if row[2] == "reserved"}
    closings = {int(row[0]) for row in rows("Close codes") if row[2] == "reserved"}

    assert errors == {int(code) for code in RESERVED_ERRORS}
    assert closings == {int(code) for code in RESERVED_CLOSINGS}


def test_the_contract_has_every_limit_with_its_default() -> None:
    said = {row[0].strip("`"): row[1] for row in rows("Limits")}

    assert said == {field.name: f"{field.default:,}" for field in fields(Limits)}


def test_the_contract_has_the_bounds_of_the_client() -> None:
    opening, subscribing = signature(client.connect), signature(client.Client.subscribe)
    assert opening.parameters["message_bytes"].default == 4 * 1024**2
    assert opening.parameters["calls"].default == 64
    for function in (opening, subscribing):
        assert function.parameters["queue_bytes"].default == 1024**2

    said = CONTRACT.partition("## Limits")[2].partition("\n|")[0]
    for text in ("`message_bytes` (4 MiB)", "`calls` (64)", "`queue_bytes` (1 MiB)"):
        assert text in said


def test_vectors_have_names_of_their_own() -> None:
    names = [vector["name"] for vector in VECTORS.values()]

    assert len(set(names)) == len(names)


def rows(heading: str) -> Iterator[list[str]]:
    """The cells of the tables below a heading of the contract, without their own headings."""
    section = CONTRACT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    table = [line for line in section.splitlines() if line.startswith("|")]
    for line in table[2:]:
        yield [cell.strip() for cell in line.strip("|").split(" | ")]


def codes_in(value: Any) -> Iterator[int]:
    """Every code that a conversation shows."""
    if isinstance(value, list):
        for item in value:
            yield from codes_in(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key in ("code", "closed") and isinstance(item, int):
                yield item
            yield from codes_in(item)


class Replay:
    """One conversation."""

    def __init__(self, url: URL, app: web.Application) -> None:
        self.url = url
        self.manager = app[SOCKETS]
        self.releases = app[RELEASES]
        self.sockets: dict[str, ClientConnection] = {}
        self.dialects: dict[str, Dialect] = {}
        self.server: list[asyncio.Task[None]] = []

    async def connect(self, stack: AsyncExitStack, name: str, options: dict[str, Any]) -> None:
        """Open a connection. It selects the subprotocol that the vector says."""
        speaks = options.get("speaks") or options.get("selects") or NATIVE
        self.dialects[name] = DIALECTS[speaks]
        offers = [Subprotocol(offer) for offer in options.get("offers", ())]
        self.sockets[name] = socket = await stack.enter_async_context(
            connect(
                str(self.url.with_scheme("ws")),
                subprotocols=offers or None,
                compression=None,
                ping_interval=None,
                max_size=None,
                max_queue=None,
            )
        )
        assert socket.subprotocol == options.get("selects")

    async def step(self, step: dict[str, Any]) -> None:
        """Take one step."""
        times = step.get("times", 1)
        match step:
            case {"from": name, "send": value}:
                for n in range(times):
                    await self.send(name, expand(value, n))
            case {"from": name, "send_text": value}:
                for n in range(times):
                    await self.sockets[name].send(text(value, n))
            case {"from": name, "send_binary": value}:
                await self.sockets[name].send(bytes.fromhex(value))
            case {"from": name, "send_fragments": pieces}:
                self.sockets[name].transport.write(fragments(pieces))
            case {"from": name, "send_frames": frames}:
                self.sockets[name].transport.write(bytes.fromhex("".join(frames)))
            case {"from": name, "close": code}:
                await self.sockets[name].close(code)
            case {"to": name, "expect": value}:
                for n in range(times):
                    assert_match(expand(value, n), await self.receive(name))
            case {"to": name, "expect_in_any_order": value}:
                values = value if isinstance(value, list) else [value] * times
                expected = [expand(value, n) for n, value in enumerate(values)]
                for _ in values:
                    frame = await self.receive(name)
                    found = [one for one in expected if matches(one, frame)]
                    assert found, f"{frame} is none of {expected}"
                    expected.remove(found[0])
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
        for name in self.sockets:
            await self.send(name, self.dialects[name].request)
            assert_match(self.dialects[name].answer, await self.receive(name))
        await asyncio.gather(*self.server)

    async def send(self, name: str, frame: Any) -> None:
        """Send a frame in the dialect of a connection."""
        await self.sockets[name].send(self.dialects[name].write(frame))

    async def receive(self, name: str) -> Any:
        """The next frame of a connection."""
        return self.dialects[name].read(await self.sockets[name].recv())

    async def closed(self, name: str, code: int) -> None:
        """See that a connection is closed with nothing in front of it."""
        socket = self.sockets.pop(name)
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


def expand(value: Any, n: int) -> Any:
    """JSON with its placeholders filled in, all but ``$any``."""
    if isinstance(value, list):
        return [expand(item, n) for item in value]
    if isinstance(value, dict):
        if "$n" in value:
            return value["$n"] + n
        if "$text" in value:
            return text(value["$text"], n)
        return {key: expand(item, n) for key, item in value.items()}
    return value


def matches(expected: Any, got: Any) -> bool:
    """Whether a frame is what was expected: no key less, no key more."""
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
