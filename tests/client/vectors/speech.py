"""Which frames of a conversation a client can say, and what is the same said otherwise.

The rest is said past it: ids that are in flight, payloads that are no objects, frames with fields
that no client knows.
"""

from collections.abc import Set
from enum import Enum
from typing import Any, Final

from tests.client.vectors.tap import Frame

__all__ = ["Way", "is_id", "meaning", "way_of"]

STREAMS: Final = frozenset({"count", "drip", "falter", "flood"})


class Way(Enum):
    """How a client says something."""

    CALL = "client.call()"
    NOTIFY = "client.notify()"
    STREAM = "client.stream()"
    SUBSCRIBE = "client.subscribe(), entered"
    PUBLISH = "client.publish()"
    HISTORY = "client.history()"
    PRESENCE = "client.presence()"
    LEAVE = "client.subscribe(), left"
    CANCEL = "the cancelled task of a call"
    ANSWER = "what a handler returns, or raises"


def way_of(frame: Any) -> Way | None:
    """How a client says a frame; None if it cannot."""
    match frame:
        case {"cancel": True} if frame.keys() == {"id", "cancel"} and is_id(frame["id"]):
            return Way.CANCEL
        case {"response": _} if frame.keys() <= {"id", "method", "response"}:
            return Way.ANSWER
        case {"error": {"code": int(), "message": str()}}:
            return Way.ANSWER if frame.keys() <= {"id", "method", "error"} else None
        case {"response": _} | {"error": _} | {"item": _}:
            return None
        case {"id": None, "method": str()} if frame.keys() <= {"id", "method", "payload"}:
            return Way.NOTIFY if _is_payload(frame) else None
        case {"id": id, "method": str(method)} if (
            frame.keys() <= {"id", "method", "payload", "timeout"}
            and is_id(id)
            and _is_timeout(frame.get("timeout"))
            and _is_payload(frame)
        ):
            if method in STREAMS:
                return Way.STREAM
            return _way_of_call(method, frame.get("payload") or {})
    return None


def _way_of_call(method: str, payload: Frame) -> Way:
    """What there is no function of its own for is a call."""
    match method, payload:
        case "subscribe", {"channel": str()} if _only(
            payload, "channel", event=str, recover=dict, presence=bool
        ) and _is_position(payload.get("recover")):
            return Way.SUBSCRIBE
        case "unsubscribe", {"channel": str()} if _only(payload, "channel", event=str):
            return Way.LEAVE
        case "publish", {"channel": str(), "data": _} if _only(
            payload, "channel", "data", event=str, key=str
        ):
            return Way.PUBLISH
        case "history", {"channel": str()} if _only(
            payload, "channel", since=dict, limit=int, reverse=bool
        ) and _is_position(payload.get("since")):
            return Way.HISTORY
        case "presence", {"channel": str()} if _only(payload, "channel"):
            return Way.PRESENCE
    return Way.CALL


def meaning(frame: Frame) -> Frame:
    """What a frame means, without its id, and without how long somebody waits.

    What is left out is filled in, and what is null is left out, where that is the same.
    """
    match frame:
        case {"response": response}:
            return {"response": response}
        case {"error": error}:
            return {"error": error}
        case {"method": method}:
            return {"method": method, "payload": _meant(method, frame.get("payload") or {})}
    return {key: value for key, value in frame.items() if key != "id"}


def _meant(method: str, payload: Frame) -> Frame:
    said = {key: value for key, value in payload.items() if value is not None or key == "data"}
    match method:
        case "subscribe":
            presence = {"presence": True} if said.pop("presence", False) else {}
            return {**said, "event": said.get("event") or "*", **presence}
        case "publish":
            return {**said, "event": said.get("event", "")}
        case "history":
            reverse = {"reverse": True} if said.pop("reverse", False) else {}
            return {**said, **reverse}
    return payload


def is_id(id: Any) -> bool:
    """Whether a call may have it."""
    if isinstance(id, str):
        return len(id) <= 64
    return isinstance(id, int) and not isinstance(id, bool) and 0 <= id < 2**53


def _is_payload(frame: Frame) -> bool:
    return isinstance(frame.get("payload"), dict | None)


def _is_timeout(timeout: Any) -> bool:
    if timeout is None:
        return True
    return isinstance(timeout, int) and not isinstance(timeout, bool) and 1 <= timeout < 2**53


def _is_position(value: Frame | None) -> bool:
    match value:
        case None:
            return True
        case {"offset": int(offset), "epoch": str()}:
            return value.keys() == {"offset", "epoch"} and not isinstance(offset, bool)
    return False


def _only(payload: Frame, *required: str, **optional: type) -> bool:
    """Whether nothing else is in it, and what may be missing has its type."""
    keys: Set[str] = payload.keys()
    return keys <= {*required, *optional} and all(
        payload.get(name) is None or type(payload[name]) is kind for name, kind in optional.items()
    )
