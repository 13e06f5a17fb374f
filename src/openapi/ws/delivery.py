"""One message on its way to many subscribers: encoded and framed once for each dialect."""

import json
from typing import Any, Final

from openapi.errors import InvalidData
from openapi.protocol.frames import Message, written
from openapi.protocol.native import JSON, MSGPACK
from openapi.protocol.publication import Data
from openapi.schema import Schema
from openapi.ws.rules import Slow
from openapi.ws.variant import Variant

__all__ = ["Delivery"]

_ANYTHING: Final = Schema[dict[str, Any]](dict[str, Any])


class Delivery:
    """A published message. ``data`` is what has a JSON form, or a Data.

    ``offset`` is its number where the channel keeps history, otherwise 0; ``at`` when it was
    published, in seconds since the epoch of the clock; ``slow`` what becomes of those who read too
    slowly. Raises Unserializable for data that has no JSON form, whoever is subscribed.
    """

    __slots__ = (
        "_data",
        "_json",
        "_packed",
        "_value",
        "at",
        "channel",
        "event",
        "frames",
        "offset",
        "slow",
    )

    def __init__(
        self,
        channel: str,
        event: str,
        data: object,
        *,
        offset: int = 0,
        at: float = 0.0,
        slow: Slow = "disconnect",
    ) -> None:
        self.channel: Final = channel
        self.event: Final = event
        self.offset: Final = offset
        self.at: Final = at
        self.slow: Final = slow
        self._data = data
        self._json = JSON.encode(self._message(packed=False))
        self._packed: bytes | None = None
        self._value: Any = None
        self.frames: Final[dict[Variant, bytes]] = {}
        """What :meth:`frame` has made."""

    @property
    def data(self) -> Any:
        """The data as whoever gets it over the wire sees it: dictionaries, lists, plain values."""
        if self._value is None:
            try:
                self._value = _ANYTHING.decode(self._json)["data"]
            except InvalidData:  # integers of more than 64 bits, which only JSON can say
                self._value = json.loads(self._json)["data"]
        return self._value

    def written(self, *, packed: bool) -> bytes:
        """The native frame, as JSON or as MessagePack. Raises Unserializable."""
        if not packed:
            return self._json
        if self._packed is None:
            self._packed = MSGPACK.encode(self._message(packed=True))
        return self._packed

    def form(self, *, packed: bool) -> object:
        """The native frame as a part of a response. Raises Unserializable."""
        return written(self.written(packed=packed))

    def frame(self, variant: Variant) -> bytes:
        """The WebSocket frame for a variant.

        Raises Unserializable where the codec, which is then an application's own, fails.
        """
        frame = self.frames.get(variant)
        if frame is None:
            codec = variant.codec
            if codec is JSON or codec is MSGPACK:
                payload = self.written(packed=codec.packed)
            else:
                payload = codec.encode(self._message(packed=codec.packed))
            frame = self.frames[variant] = variant.framed(payload)
        return frame

    def _message(self, *, packed: bool) -> Message:
        data = self._data
        if type(data) is Data:
            written = data.packed if packed else data.json
            return Message.of(self.channel, self.event, written, self.offset)
        return Message(channel=self.channel, event=self.event, data=data, offset=self.offset)
