"""The streams of one application on the server: made where they are missing, and looked after."""

import asyncio
import time
from typing import Any, Final

from openapi.errors import BrokerUnavailable, DeclarationError
from openapi.ws.broker import KEY_SECONDS
from openapi.ws.brokers.nats import jetstream
from openapi.ws.brokers.nats.clock import ServerClock
from openapi.ws.brokers.nats.jetstream import Refused
from openapi.ws.brokers.nats.link import Link, NobodyAnswers
from openapi.ws.brokers.nats.names import Names

__all__ = ["KEPT_SECONDS", "Streams"]

KEPT_SECONDS: Final = 30 * 86400.0
"""How long the newest message of a channel is there at least, and its epoch with it: seconds."""

#: The first that has batches that are kept as a whole or not at all.
_VERSION: Final = (2, 12)
#: Messages of a log besides those of the history: where a stream began, or had a new epoch.
_MARKS: Final = 16
#: What remembers the number of partitions, for which each channel has its place.
_PARTITIONS: Final = "openapi.partitions"

_NOT_ENABLED: Final = frozenset({10039, 10076})
_OTHER_CONFIG: Final = 10058
_NO_STREAM: Final = 10059
_NANOSECONDS: Final = 10**9


class Streams:
    """The streams, of which each node knows how they are to be."""

    def __init__(
        self,
        names: Names,
        *,
        messages: int,
        seconds: float,
        max_bytes: int | None,
        storage: str,
        replicas: int,
    ) -> None:
        self._names = names
        kept = {"storage": storage, "num_replicas": replicas, "discard": "old"}
        logs = {
            **kept,
            "max_msgs_per_subject": messages + _MARKS,
            "max_age": round(max(seconds, KEPT_SECONDS) * _NANOSECONDS),
            # Rounded up: 0 would be without a bound.
            "max_bytes": -1 if max_bytes is None else -(-max_bytes // names.partitions),
            "allow_direct": True,
            "allow_atomic": True,
            "allow_msg_ttl": True,
        }
        prefix = names.prefix
        live = f"{prefix}.live.{{{{wildcard(1)}}}}"
        self._wanted: dict[str, dict[str, Any]] = {
            name: {
                **logs,
                "subjects": [f"{prefix}.log.{number}.*", f"{prefix}.key.{number}.*"],
                "republish": {"src": f"{prefix}.log.{number}.*", "dest": live},
            }
            for number, name in enumerate(names.logs)
        }
        self._wanted[names.onces] = {
            **kept,
            "subjects": [f"{prefix}.once.*.*"],
            "republish": {"src": f"{prefix}.once.*.*", "dest": live},
            "max_msgs_per_subject": 1,
            "max_age": round(2 * KEY_SECONDS * _NANOSECONDS),
        }
        self._wanted[names.rosters] = {  # as a bucket is
            **kept,
            "discard": "new",
            "subjects": [f"$KV.{names.bucket}.>"],
            "max_msgs_per_subject": 1,
            "allow_direct": True,
            "allow_msg_ttl": True,
            "allow_rollup_hdrs": True,
            "deny_delete": True,
        }

    async def prepare(self, link: Link, clock: ServerClock) -> bool:
        """Have all of them, and the time. Returns whether some were missing.

        Raises DeclarationError for a server that cannot have them; BrokerUnavailable.
        """
        try:
            await jetstream.ask(link, "INFO")
        except NobodyAnswers:
            raise DeclarationError(
                "NATS is there without JetStream, which keeps history, keys and presence: have it"
                " by `jetstream {}` in the server's configuration, or its option -js"
            ) from None
        except Refused as exc:
            raise _not_now(exc) or DeclarationError(
                f"NATS refuses JetStream to this account ({exc}): enable it there by the setting"
                " jetstream"
            ) from None
        # Of several who begin at once, the one who makes the first stream makes them all: those who
        # want them otherwise find that one, and have made none.
        first, *others = self._wanted
        made = [await self._prepare(link, first, clock)]
        made += await asyncio.gather(*(self._prepare(link, name, clock) for name in others))
        return any(made)

    async def _prepare(self, link: Link, name: str, clock: ServerClock) -> bool:
        wanted = {"name": name, "metadata": {_PARTITIONS: str(self._names.partitions)}}
        wanted |= self._wanted[name]
        try:
            if await self._there(link, wanted, clock):
                return False
            await self._create(link, wanted, clock)
            return True
        except Refused as exc:
            raise _not_now(exc) or DeclarationError(
                f"NATS refuses the stream {name}: {exc}. Change what the broker is to keep (its"
                " storage, replicas, history_bytes), or the limits of the server or the account"
            ) from exc

    async def _there(self, link: Link, wanted: dict[str, Any], clock: ServerClock) -> bool:
        """Whether a stream is there, which has what is wanted of it then."""
        asked = clock.asked()
        try:
            answer = await jetstream.ask(link, f"STREAM.INFO.{wanted['name']}")
        except Refused as exc:
            if exc.code != _NO_STREAM:
                raise
            return False
        clock.heard(answer["ts"], asked)
        await self._update(link, wanted, answer["config"])
        return True

    async def _create(self, link: Link, wanted: dict[str, Any], clock: ServerClock) -> None:
        # No sequence comes a second time when the stream is lost and made anew, so that nobody
        # takes a message of the new one for what it knows of the old one.
        first = time.time_ns() // 1000
        asked = clock.asked()
        try:
            answer = await jetstream.ask(
                link, f"STREAM.CREATE.{wanted['name']}", {**wanted, "first_seq": first}
            )
        except Refused as exc:
            if exc.code != _OTHER_CONFIG:
                raise
            await self._there(link, wanted, clock)  # another node was faster
        else:
            clock.heard(answer["ts"], asked)

    async def _update(self, link: Link, wanted: dict[str, Any], there: dict[str, Any]) -> None:
        """Have a stream keep as much as it is to keep here. It never keeps less than elsewhere."""
        name = wanted["name"]
        partitions = there.get("metadata", {}).get(_PARTITIONS)
        if partitions != str(self._names.partitions):
            raise DeclarationError(
                f"the stream {name} on NATS was made for partitions={partitions}, and this broker"
                f" has partitions={self._names.partitions}: all of one prefix have the same"
            )
        changed = {
            bound: wanted[bound]
            for bound in ("max_msgs_per_subject", "max_age", "max_bytes")
            # One that is not positive is none, and so the most.
            if wanted.get(bound, 0) > there[bound] > 0
        }
        if changed:
            await jetstream.ask(link, f"STREAM.UPDATE.{name}", {**there, **changed})

    def check(self, info: Any) -> None:
        """Raise DeclarationError for a server that is too old."""
        version = str(info.get("version", ""))
        try:
            numbers = tuple(map(int, version.split("-")[0].split(".")))
        except ValueError:
            numbers = _VERSION  # one of one's own making
        if numbers < _VERSION:
            raise DeclarationError(
                f"the NATS server is of version {version}: 2.12 or newer is needed, which stores a"
                " message and its key as one act"
            )


def _not_now(refused: Refused) -> BrokerUnavailable | None:
    """What may be otherwise soon, as a leader is chosen."""
    if refused.status == 503 and refused.code not in _NOT_ENABLED:
        return BrokerUnavailable(f"JetStream is not ready: {refused}")
    return None
