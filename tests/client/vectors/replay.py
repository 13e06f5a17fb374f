"""One conversation of ``wire/vectors``, held by clients with a real server, step by step.

Connections that speak JSON-RPC 2.0, and requests that ask for no WebSocket, are no client's: these
are raw sockets, as in :mod:`tests.wire_replay`.
"""

from base64 import b64decode
from contextlib import AsyncExitStack
from typing import Any, Final, Literal

import pytest
from aiohttp import web
from yarl import URL

from openapi.client import ClientState, connect
from openapi.errors import HandshakeRefused
from tests import wire_replay
from tests.client.vectors.connection import Connection, connected
from tests.wire_dialects import JSONRPC, NATIVE, PACKED
from tests.wire_replay import fragments, text

__all__ = ["Replay", "is_of_client"]

_HANDSHAKE: Final = {"Connection", "Upgrade", "Sec-WebSocket-Version", "Sec-WebSocket-Key"}
"""What a client says itself."""


class Replay:
    """One conversation.

    ``dialect`` is that of connections of which the vector says nothing.
    """

    def __init__(
        self, url: URL, app: web.Application, dialect: str, steps: list[dict[str, Any]]
    ) -> None:
        self._url = url
        self._dialect = dialect
        self._steps = steps
        self._raw = wire_replay.Replay(url, app, dialect)
        self._connections: dict[str, Connection] = {}

    async def connect(self, stack: AsyncExitStack, name: str, options: dict[str, Any]) -> None:
        """Open a connection. It selects the subprotocol that the vector says."""
        selects = options.get("selects") if options else self._dialect
        speaks = options.get("speaks") or selects or NATIVE
        if speaks == JSONRPC:
            await self._raw.connect(stack, name, options)
            return
        self._connections[name] = await stack.enter_async_context(
            connected(
                self._url,
                offers=options.get("offers", []) if options else None,
                selects=selects,
                speaks=speaks,
                methods=_methods_asked(self._steps),
                names=self._raw.names,
                once=_is_called_at_its_end(self._steps),
            )
        )

    async def run(self) -> None:
        """Take all steps."""
        for number, step in enumerate(self._steps):
            try:
                connection = self._connections.get(step.get("from", step.get("to", "")))
                if connection is None:
                    await self._raw.step(step)
                    if is_of_client(step):
                        await _ask_to_open(self._url, self._dialect, **step)
                elif "from" in step:
                    await _say(connection, step)
                else:
                    await _hear(connection, step)
                    if "closed" in step:
                        del self._connections[step["to"]]
            except BaseException as exc:  # whatever it is, it says where
                exc.add_note(f"step {number}: {step}")
                raise

    async def finish(self) -> None:
        """See that nothing else came, and that every connection still answers."""
        for connection in self._connections.values():
            await connection.finish()
        for connection in self._connections.values():
            connection.check_silence()
        await self._raw.finish()


def is_of_client(step: dict[str, Any]) -> bool:
    """Whether the request of a step is the handshake of a client, but for its own key."""
    match step:
        case {
            "request": {
                "Connection": "Upgrade",
                "Upgrade": "websocket",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": key,
            }
        }:
            return len(b64decode(key)) == 16
    return False


async def _ask_to_open(
    url: URL, dialect: str, *, request: dict[str, str], answer: dict[str, Any]
) -> None:
    """See that a client gets the answer to a handshake."""
    headers = {name: value for name, value in request.items() if name not in _HANDSHAKE}
    encoding: Literal["json", "msgpack"] = "msgpack" if dialect == PACKED else "json"
    if answer["status"] == 101:
        async with connect(url, headers=headers, encoding=encoding, reconnect=None) as client:
            assert client.state is ClientState.OPEN
        return
    with pytest.raises(HandshakeRefused) as caught:
        async with connect(url, headers=headers, encoding=encoding, reconnect=None):
            pass
    seconds = answer.get("headers", {}).get("Retry-After")
    assert caught.value.status == answer["status"]
    assert caught.value.retry_after == (None if seconds is None else int(seconds) * 1000)


async def _say(connection: Connection, step: dict[str, Any]) -> None:
    tap = connection.tap
    for n in range(step.get("times", 1)):
        match step:
            case {"send": value}:
                await connection.say(value, n)
            case {"send_text": value}:
                await connection.say_exactly(text(value, n))
            case {"send_binary": value}:
                await connection.say_exactly(bytes.fromhex(text(value, n)))
            case {"send_fragments": pieces}:
                tap.write(fragments(pieces))
            case {"send_frames": frames}:
                tap.write(bytes.fromhex("".join(frames)))
            case {"close": code}:
                connection.close(code)
            case {"reads": reads}:
                tap.read(reads)
            case _:
                raise AssertionError(f"it is nothing that a client does: {step}")


async def _hear(connection: Connection, step: dict[str, Any]) -> None:
    times = step.get("times", 1)
    match step:
        case {"expect": value, "behind": others}:
            await connection.expect_behind(value, others)
        case {"expect": value}:
            for n in range(times):
                await connection.expect(value, n)
        case {"expect_binary": digits}:
            await connection.expect_binary(digits)
        case {"expect_in_any_order": value}:
            values = value if isinstance(value, list) else [value] * times
            await connection.expect_in_any_order(values)
        case {"closed": code}:
            await connection.closed(code)
        case _:
            raise AssertionError(f"it is nothing that comes to a client: {step}")


def _methods_asked(steps: list[dict[str, Any]]) -> set[str]:
    """The methods of the client that the server is asked to call."""
    asked = set()
    for step in steps:
        match step:
            case {"send": {"payload": {"method": str(method)}}}:
                asked.add(method)
    return asked


def _is_called_at_its_end(steps: list[dict[str, Any]]) -> bool:
    """Whether a server is called that has said that it shuts down.

    A client that may come back calls the next server instead.
    """
    shuts_down = False
    for step in steps:
        shuts_down = shuts_down or step.get("server") == "shuts down"
        if shuts_down and "send" in step:
            return True
    return False
