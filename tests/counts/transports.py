"""Transports that keep what is written to them, around the real ones.

Two writes of one turn are two ``send`` calls on asyncio's own loop, so a write is what is counted.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, cast

__all__ = ["Adopt", "CountedTransport", "Handing"]

Buffer = bytes | bytearray | memoryview


class CountedTransport(asyncio.Transport):
    """A transport, with what was written to it."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        """Each write, as the object that it was where that was bytes."""
        self.port: int = transport.get_extra_info("peername")[1]
        """That of the other end."""
        self._transport = transport

    def write(self, data: Buffer) -> None:
        self.writes.append(data if isinstance(data, bytes) else bytes(data))
        self._transport.write(data)

    def writelines(self, list_of_data: Iterable[Buffer]) -> None:
        several = list(list_of_data)
        self.writes.append(b"".join(several))
        self._transport.writelines(several)

    def write_eof(self) -> None:
        self._transport.write_eof()

    def can_write_eof(self) -> bool:
        return self._transport.can_write_eof()

    def abort(self) -> None:
        self._transport.abort()

    def close(self) -> None:
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def is_reading(self) -> bool:
        return self._transport.is_reading()

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._transport.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        return self._transport.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._transport.get_write_buffer_limits()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._transport.set_protocol(protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._transport.get_protocol()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)


Adopt = Callable[[CountedTransport], object]


class Handing(asyncio.Protocol):
    """Hands a new connection on to the protocol that it is meant for, and does nothing else.

    ``adopt`` is called with the transport that the protocol gets.
    """

    def __init__(self, protocol: asyncio.BaseProtocol, adopt: Adopt) -> None:
        self._protocol = protocol
        self._adopt = adopt

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        counted = CountedTransport(cast("asyncio.Transport", transport))  # uvloop's is none by type
        self._adopt(counted)
        counted.set_protocol(self._protocol)
        self._protocol.connection_made(counted)
