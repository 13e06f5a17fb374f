"""What every connection of a client is made of, whichever it is."""

from collections.abc import Callable
from typing import Any, Final

from openapi.client.connection import Connection
from openapi.client.dialing import Dialer
from openapi.client.handlers import Handler, method_of
from openapi.protocol.frames import Codec, Reconnect
from openapi.protocol.methods import MethodTable
from openapi.schema import Schema, encode_json, encode_msgpack

__all__ = ["Wiring"]


class Wiring:
    """Makes the connections of one client, by what does not change from one to the next.

    ``methods`` are what the server may call at the beginning. ``calls`` and ``queue_bytes`` are
    those of :func:`openapi.client.connect`.
    """

    def __init__(
        self, dialer: Dialer, *, codec: Codec, methods: MethodTable, calls: int, queue_bytes: int
    ) -> None:
        self._dialer = dialer
        self._codec = codec
        self._methods = methods
        self._calls = calls
        self._queue_bytes = queue_bytes
        self.read: Final = self.reader(Any)
        """Reads data of the server as plain values."""
        self.write: Final = encode_msgpack if codec.packed else encode_json
        """Writes data as the server does."""

    def reader(self, hint: object) -> Callable[[Any], Any]:
        """What reads data of the server as a type. It raises InvalidData."""
        schema = Schema.of(hint)
        return schema.unpack if self._codec.packed else schema.decode

    async def dial(self, told: Callable[[Connection, Reconnect], object]) -> Connection:
        """Make a connection. ``told`` is called when its server is about to close it."""
        return Connection(
            await self._dialer.dial(),
            codec=self._codec,
            methods=self._methods,
            read=self.read,
            write=self.write,
            told=told,
            calls=self._calls,
            queue_bytes=self._queue_bytes,
            close_timeout=self._dialer.close_timeout,
        )

    def serve(
        self, method: str, handler: Handler, changed: Callable[[MethodTable], object]
    ) -> Callable[[], None]:
        """Let the server call a handler; returns what takes that back.

        ``changed`` is called with all that it may call from then on. Raises DeclarationError.
        """
        served = method_of(method, handler)

        def have(methods: MethodTable) -> None:
            self._methods = methods
            changed(methods)

        def take_back() -> None:
            others = dict(self._methods)
            if others.get(method) is served:
                del others[method]
                have(MethodTable(others))

        have(MethodTable({**self._methods, method: served}))
        return take_back
