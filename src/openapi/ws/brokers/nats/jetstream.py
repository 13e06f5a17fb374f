"""What is asked of JetStream: its streams, and the newest message on a subject."""

import json
from base64 import b64decode
from typing import Any, Final, NamedTuple

from openapi.errors import BrokerUnavailable
from openapi.ws.brokers.nats.link import Link, NobodyAnswers

__all__ = [
    "EXPECTED",
    "TTL",
    "Conflict",
    "Kept",
    "NoStream",
    "Refused",
    "ask",
    "following",
    "last",
    "store",
]

EXPECTED: Final = "Nats-Expected-Last-Subject-Sequence"
"""A header: store it only where this is the sequence of the newest message on the subject."""
TTL: Final = "Nats-TTL"
"""A header: how long a message is kept, as ``60s``."""

_NO_MESSAGE: Final = 10037
_NO_STREAM: Final = 10059
_WRONG_LAST: Final = frozenset({10071, 10164})


class Refused(Exception):
    """JetStream does not do what it was asked for. Its words are for people."""

    def __init__(self, error: dict[str, Any]) -> None:
        self.status: int = error.get("code", 0)
        self.code: int = error.get("err_code", 0)
        super().__init__(error.get("description", "no reason was given"))


class NoStream(Exception):
    """The stream is not there."""


class Conflict(Exception):
    """Somebody else was first: the newest message on a subject is another."""


class Kept(NamedTuple):
    """A message as a stream keeps it."""

    sequence: int
    payload: bytes
    headers: str


async def ask(link: Link, what: str, request: dict[str, Any] | None = None) -> dict[str, Any]:
    """Ask something of the API. Raises Refused, NobodyAnswers, BrokerUnavailable."""
    payload = b"" if request is None else json.dumps(request).encode()
    return _read(await link.ask(f"$JS.API.{what}", payload))


async def last(link: Link, stream: str, subject: str) -> Kept | None:
    """The newest message on a subject, from whoever leads the stream.

    Raises NoStream, BrokerUnavailable.
    """
    return await _get(link, stream, {"last_by_subj": subject})


async def following(link: Link, stream: str, subject: str, sequence: int) -> Kept | None:
    """The first message on a subject from a sequence on, from whoever leads the stream.

    Raises NoStream, BrokerUnavailable.
    """
    return await _get(link, stream, {"next_by_subj": subject, "seq": sequence})


async def _get(link: Link, stream: str, which: dict[str, Any]) -> Kept | None:
    try:
        answer = await ask(link, f"STREAM.MSG.GET.{stream}", which)
    except Refused as exc:
        if exc.code == _NO_MESSAGE:
            return None
        raise _of(link, exc) from exc
    except NobodyAnswers as exc:
        raise NoStream from exc
    message = answer["message"]
    headers = b64decode(message.get("hdrs", "")).decode("utf-8", "replace")
    return Kept(message["seq"], b64decode(message.get("data", "")), headers)


async def store(link: Link, subject: str, payload: bytes, headers: dict[str, str]) -> int:
    """Have a stream keep a message. Returns its sequence.

    Raises Conflict, NoStream, CannotPublish; BrokerUnavailable, where it may be kept or not.
    """
    try:
        answer = _read(await link.ask(subject, payload, headers=headers))
    except NobodyAnswers as exc:
        raise NoStream from exc
    except Refused as exc:
        if exc.code in _WRONG_LAST:
            raise Conflict from exc
        raise _of(link, exc) from exc
    sequence: int = answer["seq"]
    return sequence


def _read(payload: bytes) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(payload)
    if "error" in answer:
        raise Refused(answer["error"])
    return answer


def _of(link: Link, refused: Refused) -> Exception:
    if refused.code == _NO_STREAM:
        return NoStream()
    link.doubt_it()
    return BrokerUnavailable(f"NATS cannot keep messages now, try again later: {refused}")
