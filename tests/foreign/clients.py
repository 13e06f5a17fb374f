"""JSON-RPC 2.0 clients that are not ours, behind one interface.

Each library builds its own requests, gives them its own ids and reads the answers itself; what is
here only hands over. Two are from PyPI, two from npm, the latter led by ``jsonrpc.mjs``.
"""

import asyncio
import itertools
import json
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import jsonrpcclient
from aiohttp import ClientWebSocketResponse
from aiohttp_rpc.client import WSJSONRPCClient
from aiohttp_rpc.errors import JSONRPCError
from aiohttp_rpc.protocol import JSONRPCRequest, JSONRPCResponse
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol
from yarl import URL

HERE = Path(__file__).parent

Params: TypeAlias = dict[str, Any] | list[Any] | None
"""Parameters by name, by position, or none."""


class Refused(Exception):
    """The error that a call was answered with."""

    def __init__(self, code: int, message: str, data: Any) -> None:
        super().__init__(code, message, data)
        self.code = code
        self.message = message
        self.data = data


@dataclass(frozen=True, slots=True)
class Request:
    """One element of a batch."""

    method: str
    params: Params = None
    is_call: bool = True


@dataclass
class Foreign(ABC):
    """A client."""

    heard: asyncio.Queue[tuple[str, Any]] = field(default_factory=asyncio.Queue)
    """What the server said of its own accord: methods with their parameters."""
    unexpected: list[Any] = field(default_factory=list)
    """What the library could not make anything of: answers to nothing."""

    @abstractmethod
    async def call(self, method: str, params: Params = None, *, name: str | None = None) -> Any:
        """Call; returns the result. Raises Refused. The name is for :meth:`cancel`."""

    @abstractmethod
    async def notify(self, method: str, params: Params = None) -> None:
        """Send a notification."""

    async def cancel(self, name: str) -> None:
        """Send ``$/cancelRequest`` for a call that is in flight, whose name is its id."""
        await self.notify("$/cancelRequest", {"id": name})

    async def batch(self, *requests: Request) -> list[Any]:
        """Send a batch; returns the results of its calls, or Refused, in their order."""
        raise NotImplementedError(f"{type(self).__name__} has no batches")

    async def answer(self, method: str, result: Any) -> None:
        """Say what the server gets when it calls a method of the client."""
        raise NotImplementedError(f"{type(self).__name__} answers no calls")


class AiohttpRpc(Foreign):
    """PyPI's ``aiohttp-rpc``: its ids are UUIDs. It leaves out ``params`` where there are none."""

    def __init__(self, url: URL, subprotocol: str | None) -> None:
        super().__init__()
        self.results: dict[str, Any] = {}
        self.client = WSJSONRPCClient(
            str(url),
            protocols=(subprotocol,) if subprotocol else (),
            json_requests_handler=self._asked,
            unprocessed_json_responses_handler=self._unprocessed,
        )

    async def call(self, method: str, params: Params = None, *, name: str | None = None) -> Any:
        try:
            if name is None:
                return await self.client.call(method, *_by_position(params), **_by_name(params))
            request = JSONRPCRequest(method, name, **_as_arguments(params))
            response = await self.client.direct_call(request)
            assert response is not None
            if response.error is not None:
                raise response.error
            return response.result
        except JSONRPCError as error:
            raise Refused(error.code, error.message, error.data) from error

    async def notify(self, method: str, params: Params = None) -> None:
        await self.client.notify(method, *_by_position(params), **_by_name(params))

    async def batch(self, *requests: Request) -> list[Any]:
        built = []
        for each in requests:
            method = getattr(self.client.methods, each.method)
            build = method.request if each.is_call else method.notification
            built.append(build(*_by_position(each.params), **_by_name(each.params)))
        if not any(each.is_call for each in requests):
            await self.client.batch_notify(*built)
            return []
        return [
            Refused(found.code, found.message, found.data)
            if isinstance(found, JSONRPCError)
            else found
            for found, each in zip(await self.client.batch(*built), requests, strict=True)
            if each.is_call
        ]

    async def answer(self, method: str, result: Any) -> None:
        self.results[method] = result

    async def _asked(
        self, *, json_requests: Sequence[Mapping[str, Any]], **connection: Any
    ) -> None:
        for request in json_requests:
            self.heard.put_nowait((request["method"], request.get("params")))
            if "id" in request:
                result = self.results[request["method"]]
                response = JSONRPCResponse(id=request["id"], result=result)
                await connection["ws_connect"].send_json(response.dump())

    async def _unprocessed(
        self, *, json_responses: Sequence[Mapping[str, Any]], **connection: Any
    ) -> None:
        self.unexpected.extend(json_responses)


@asynccontextmanager
async def aiohttp_rpc_client(url: URL, subprotocol: str | None) -> AsyncIterator[AiohttpRpc]:
    """Connect by ``aiohttp-rpc``."""
    foreign = AiohttpRpc(url, subprotocol)
    async with foreign.client:
        assert isinstance(foreign.client.ws_connect, ClientWebSocketResponse)
        assert foreign.client.ws_connect.protocol == subprotocol
        yield foreign


class JsonRpcClient(Foreign):
    """PyPI's ``jsonrpcclient``, which writes requests and reads responses, over ``websockets``.

    Its ids count from 1. It leaves out ``params`` where there are none, and where they are empty.
    """

    def __init__(self, socket: ClientConnection) -> None:
        super().__init__()
        self.socket = socket
        self.pending: dict[Any, asyncio.Future[Any]] = {}

    async def call(self, method: str, params: Params = None, *, name: str | None = None) -> Any:
        request = self._request(Request(method, params), name)
        return _result(await self._say(json.dumps(request), [request["id"]]))

    async def notify(self, method: str, params: Params = None) -> None:
        await self.socket.send(json.dumps(self._request(Request(method, params, is_call=False))))

    async def batch(self, *requests: Request) -> list[Any]:
        built = [self._request(each) for each in requests]
        ids = [each["id"] for each in built if "id" in each]
        if not ids:
            await self.socket.send(json.dumps(built))
            return []
        responses = {each.id: each for each in await self._say(json.dumps(built), ids)}
        assert responses.keys() == set(ids)
        return [_outcome(responses[id]) for id in ids]

    async def unreadable(self, text: str) -> Any:
        """Send what the server cannot find an id in. Raises Refused, as it answers with none."""
        return _result(await self._say(text, [None]))

    async def read(self) -> None:
        """Hand on what comes, until the end."""
        try:
            async for text in self.socket:
                self._receive(json.loads(text))
        finally:
            _fail(self.pending)

    def _request(self, request: Request, name: str | None = None) -> dict[str, Any]:
        params = tuple(request.params) if isinstance(request.params, list) else request.params
        if not request.is_call:
            return jsonrpcclient.notification(request.method, params)
        given = {} if name is None else {"id": name}
        built: dict[str, Any] = jsonrpcclient.request(request.method, params, **given)
        return built

    def _receive(self, said: Any) -> None:
        if "method" in said:
            self.heard.put_nowait((said["method"], said.get("params")))
            return
        parsed: Any = jsonrpcclient.parse(said)
        responses = list(parsed) if isinstance(said, list) else [parsed]
        for waiting in {self.pending.pop(each.id, None) for each in responses}:
            if waiting is None:
                self.unexpected.append(said)
            else:
                waiting.set_result(responses if isinstance(said, list) else parsed)

    async def _say(self, text: str, ids: Iterable[Any]) -> Any:
        """Send a text; returns what comes for its ids: one response, or the list of a batch."""
        coming = asyncio.get_running_loop().create_future()
        self.pending.update(dict.fromkeys(ids, coming))
        await self.socket.send(text)
        return await coming


@asynccontextmanager
async def jsonrpcclient_client(url: URL, subprotocol: str | None) -> AsyncIterator[JsonRpcClient]:
    """Connect by ``websockets``, and speak as ``jsonrpcclient`` has it."""
    offered = [Subprotocol(subprotocol)] if subprotocol else None
    async with connect(str(url.with_scheme("ws")), subprotocols=offered) as socket:
        assert socket.subprotocol == subprotocol
        foreign = JsonRpcClient(socket)
        reading = asyncio.create_task(foreign.read())
        yield foreign
        await socket.close()
        await reading


class Npm(Foreign):
    """A client of npm, led by ``jsonrpc.mjs``."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        super().__init__()
        self.process = process
        self.pending: dict[str, asyncio.Future[Any]] = {}
        self.names = map("call {}".format, itertools.count())

    async def call(self, method: str, params: Params = None, *, name: str | None = None) -> Any:
        name = name or next(self.names)
        return await self._ended(name, "call", name, method, params)

    async def notify(self, method: str, params: Params = None) -> None:
        await self._lead("notify", method, params)

    async def cancel(self, name: str) -> None:
        await self._lead("cancel", name)

    async def answer(self, method: str, result: Any) -> None:
        await self._lead("answer", method, result)

    async def batch(self, *requests: Request) -> list[Any]:
        name = next(self.names)
        built = [[each.method, each.params, each.is_call] for each in requests]
        responses = await self._ended(name, "batch", name, built)
        return [
            Refused(**{"data": None, **each["error"]}) if "error" in each else each["result"]
            for each in responses
        ]

    async def read(self) -> None:
        """Hand on what it prints, until the end."""
        assert self.process.stdout is not None
        try:
            async for line in self.process.stdout:
                self._receive(json.loads(line))
        finally:
            _fail(self.pending)

    def _receive(self, said: Any) -> None:
        match said:
            case ["heard", method, params]:
                self.heard.put_nowait((method, params))
            case ["ended", name, outcome]:
                self.pending.pop(name).set_result(outcome)
            case ["unexpected", text]:
                self.unexpected.append(text)

    async def _ended(self, name: str, *line: Any) -> Any:
        ending = self.pending[name] = asyncio.get_running_loop().create_future()
        await self._lead(*line)
        outcome = await ending
        if "error" in outcome:
            raise Refused(**{"data": None, **outcome["error"]})
        return outcome["result"]

    async def _lead(self, *line: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{json.dumps(line)}\n".encode())
        await self.process.stdin.drain()


@asynccontextmanager
async def npm_client(
    library: str, node: str, url: URL, subprotocol: str | None
) -> AsyncIterator[Npm]:
    """Connect by a library of npm."""
    process = await asyncio.create_subprocess_exec(
        node,
        "jsonrpc.mjs",
        library,
        str(url.with_scheme("ws")),
        *([subprotocol] if subprotocol else []),
        cwd=HERE,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=sys.stderr,
    )
    foreign = Npm(process)
    reading = asyncio.create_task(foreign.read())
    try:
        yield foreign
        assert process.stdin is not None
        process.stdin.close()
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await reading


Connect: TypeAlias = Callable[[URL, str | None], AbstractAsyncContextManager[Foreign]]


def clients(node: str) -> dict[str, Connect]:
    """How each client connects, by the name of its library."""
    return {
        "aiohttp-rpc": aiohttp_rpc_client,
        "jsonrpcclient": jsonrpcclient_client,
        "json-rpc-2.0": partial(npm_client, "json-rpc-2.0", node),
        "vscode-jsonrpc": partial(npm_client, "vscode-jsonrpc", node),
    }


def _by_position(params: Params) -> list[Any]:
    return params if isinstance(params, list) else []


def _by_name(params: Params) -> dict[str, Any]:
    return params if isinstance(params, dict) else {}


def _as_arguments(params: Params) -> dict[str, Any]:
    return {} if params is None else {"params": params}


def _fail(pending: Mapping[Any, asyncio.Future[Any]]) -> None:
    """Nothing more will come."""
    for each in pending.values():
        if not each.done():
            each.set_exception(ConnectionError("the client has ended before the call"))


def _outcome(response: Any) -> Any:
    if isinstance(response, jsonrpcclient.Error):
        return Refused(response.code, response.message, response.data)
    return response.result


def _result(response: Any) -> Any:
    outcome = _outcome(response)
    if isinstance(outcome, Refused):
        raise outcome
    return outcome
