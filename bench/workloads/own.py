"""What only this project's server is asked: how it is, in calls of its own."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from bench.load import Connection, WrongAnswerError

if TYPE_CHECKING:
    from bench.peers import Peer

__all__ = ["asked", "is_ours", "said", "tell"]

#: The id of these calls, which is no number of another one.
_ID: Final = "own"


def is_ours(peer: "Peer") -> bool:
    """Whether it is this project's server."""
    return peer.name == "ours"


def said(method: str, **payload: object) -> bytes:
    """The call, not framed."""
    return json.dumps({"id": _ID, "method": method, "payload": payload}).encode()


def asked(message: bytes) -> Mapping[str, Any] | None:
    """What was answered to such a call; None for any other message.

    Raises :class:`WrongAnswerError` for a failure.
    """
    if not message.startswith(b'{"id":"own"'):
        return None
    answer = json.loads(message)
    if "response" not in answer:
        raise WrongAnswerError(f"{answer['method']} failed: {answer.get('error')}")
    response: Mapping[str, Any] = answer["response"] or {}
    return response


def tell(connection: Connection, method: str, **payload: object) -> Mapping[str, Any]:
    """Call it, and wait for its result; other messages are passed over."""
    connection.say(said(method, **payload))
    for message in connection.messages():
        if (response := asked(message)) is not None:
            return response
    raise AssertionError("messages do not end")
