"""How the frames of ``wire/vectors`` are written and read in each dialect.

A conversation that all dialects can have is written once, in native frames. What goes over the
wire for it is made here, as the tables of ``wire/README.md`` say.
"""

import json
from typing import Any, Protocol

import msgspec

NATIVE = "wsrpc.v1.json"
PACKED = "wsrpc.v1.msgpack"
JSONRPC = "jsonrpc2.0"


class Dialect(Protocol):
    """One of them."""

    def said(self, frame: Any) -> Any:
        """A native frame as it is said here, before it is written; also one that is expected."""

    def write(self, message: Any) -> str | bytes:
        """The WebSocket message for it."""

    def read(self, message: str | bytes) -> Any:
        """What a WebSocket message says."""


class Json:
    """The native frames as JSON."""

    def said(self, frame: Any) -> Any:
        """Itself."""
        return frame

    def write(self, message: Any) -> str | bytes:
        """A text message."""
        return json.dumps(message)

    def read(self, message: str | bytes) -> Any:
        """The JSON of a text message."""
        assert isinstance(message, str)
        return json.loads(message)


class MessagePack(Json):
    """The native frames as MessagePack."""

    def write(self, message: Any) -> str | bytes:
        """A binary message."""
        return msgspec.msgpack.encode(message)

    def read(self, message: str | bytes) -> Any:
        """The value of a binary message."""
        assert isinstance(message, bytes)
        return msgspec.msgpack.decode(message)


class JsonRpc(Json):
    """JSON-RPC 2.0."""

    def said(self, frame: Any) -> Any:
        """The message of JSON-RPC for a native frame."""
        return {"jsonrpc": "2.0", **_members(frame)}


DIALECTS: dict[str, Dialect] = {NATIVE: Json(), PACKED: MessagePack(), JSONRPC: JsonRpc()}


def _members(frame: dict[str, Any]) -> dict[str, Any]:
    match frame:
        case {"error": error}:
            return {"error": _error(error), "id": frame.get("id")}
        case {"id": id, "response": response}:
            return {"result": response, "id": id}
        case {"id": id, "item": item, "seq": seq}:
            return _request("rpc.item", {"id": id, "seq": seq, "item": item})
        case {"id": id, "cancel": True}:
            return _request("$/cancelRequest", {"id": id})
        case {"id": id, "method": method}:
            timeout = {"timeout": frame["timeout"]} if "timeout" in frame else {}
            of = {} if id is None else {"id": id}
            params = {"params": frame["payload"]} if "payload" in frame else {}
            return {"method": method, **params, **of, **timeout}
        case {"event": _, "data": _}:
            return _request("event", frame)
    raise AssertionError(f"JSON-RPC 2.0 has no message for {frame}")


def _request(method: str, params: dict[str, Any]) -> dict[str, Any]:
    return {"method": method, "params": params}


def _error(error: dict[str, Any]) -> dict[str, Any]:
    ours = {key: error[key] for key in ("errors", "retry_after") if key in error}
    if not ours:
        return error
    data = error.get("data", {})
    if not isinstance(data, dict) or data.keys() & {"errors", "retry_after"}:
        data = {"data": data}
    return {"code": error["code"], "message": error["message"], "data": {**data, **ours}}
