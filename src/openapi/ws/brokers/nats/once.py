"""Messages with a key on channels without history: stored once by their key, and handed on then."""

from collections.abc import Callable
from typing import Final

from openapi.errors import BrokerUnavailable
from openapi.protocol.envelope import Envelope, Unreadable
from openapi.protocol.publication import Data
from openapi.ws.brokers.nats import jetstream
from openapi.ws.brokers.nats.jetstream import EXPECTED, Conflict, Kept, NoStream
from openapi.ws.brokers.nats.key import expired
from openapi.ws.brokers.nats.server import Server
from openapi.ws.refusals import key_taken

__all__ = ["Onces"]

_AT: Final = "Openapi-At"
_TRIES: Final = 10


class Onces:
    """The messages of all channels."""

    def __init__(self, server: Server, ignore: Callable[[str, Unreadable], None]) -> None:
        self._server = server
        self._ignore = ignore

    async def publish(self, channel: str, event: str, data: Data, key: str) -> None:
        """See :meth:`PublishesOnce.publish_once`."""
        server = self._server
        subject = server.names.once(channel, key)
        payload = Envelope.write(event, data)
        sequence = 0
        for tried in range(_TRIES):
            try:
                if tried:
                    kept = await jetstream.last(server.link(), server.names.onces, subject)
                    sequence = 0 if kept is None else kept.sequence
                    digest = kept and self._digest(channel, kept)
                    if digest == data.digest(event):
                        return
                    if digest is not None:
                        raise key_taken()
                headers = {EXPECTED: str(sequence), _AT: str(round(server.clock() * 1000))}
                await jetstream.store(server.link(), subject, payload, headers)
                return
            except Conflict:
                continue  # the key is there, or has expired
            except NoStream:
                await server.mend()
        raise BrokerUnavailable

    def _digest(self, channel: str, kept: Kept) -> bytes | None:
        """What was published with the key; None where that is too long ago."""
        try:
            envelope = Envelope.read(kept.payload, most=len(kept.payload))
            fields = (line.partition(": ") for line in kept.headers.splitlines())
            (at,) = (int(value) / 1000 for name, _, value in fields if name == _AT)
        except (Unreadable, ValueError) as exc:
            self._ignore(channel, Unreadable(str(exc)))
            return None
        if expired(at, self._server.clock()):
            return None
        return envelope.data.digest(envelope.event)
