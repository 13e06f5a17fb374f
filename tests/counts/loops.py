"""Event loops that count what is asked of them, and every write to every connection.

They are the real loops with real sockets: a transport is wrapped on its way to its protocol, and
whatever runs on such a loop is none the wiser.
"""

import asyncio
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeVarTuple

import uvloop

from tests.counts.transports import CountedTransport, Handing

__all__ = ["LOOPS", "CountingLoop", "Counts"]

if TYPE_CHECKING:
    from asyncio import BaseEventLoop as _Loop
else:
    _Loop = object

Ts = TypeVarTuple("Ts")


@dataclass(slots=True)
class Counts:
    """How often something was asked of a loop."""

    tasks: int = 0
    """One that is started eagerly is none: it costs no turn of the loop if it never suspends, and
    where it does, each of its steps is a callback."""
    timers: int = 0
    callbacks: int = 0
    """What is to run in the next turn: steps of tasks, wake-ups, and whatever else."""

    def copy(self) -> "Counts":
        """As it is now."""
        return replace(self)

    def __sub__(self, before: "Counts") -> "Counts":
        return Counts(
            self.tasks - before.tasks,
            self.timers - before.timers,
            self.callbacks - before.callbacks,
        )


class CountingLoop(_Loop):
    """What both loops have in common."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Final = Counts()
        self.accepted: Final[list[CountedTransport]] = []
        """The connections to all servers of this loop, in order."""
        self.connected: Final[list[CountedTransport]] = []
        """The connections that were made from here, in order."""

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        self.counts.callbacks += 1
        return super().call_soon(callback, *args, context=context)

    def create_task(self, *args: Any, **kwargs: Any) -> Any:
        self.counts.tasks += 1
        return super().create_task(*args, **kwargs)

    async def create_server(self, *args: Any, **kwargs: Any) -> Any:
        protocol_factory, *where = args

        def accept() -> Handing:
            return Handing(protocol_factory(), self.accepted.append)

        return await super().create_server(accept, *where, **kwargs)

    async def create_connection(self, *args: Any, **kwargs: Any) -> Any:
        protocol_factory, *where = args
        protocol: asyncio.BaseProtocol = protocol_factory()
        made: list[CountedTransport] = []
        await super().create_connection(lambda: Handing(protocol, made.append), *where, **kwargs)
        self.connected.extend(made)
        return made[0], protocol


class _Asyncio(CountingLoop, asyncio.SelectorEventLoop):
    """asyncio's own, where ``call_later`` asks ``call_at``."""

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        self.counts.timers += 1
        return super().call_at(when, callback, *args, context=context)


class _Uvloop(CountingLoop, uvloop.Loop):  # type: ignore[misc] # it is no BaseEventLoop
    """uvloop's, where ``call_at`` asks ``call_later``."""

    def call_later(
        self,
        delay: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        self.counts.timers += 1
        return super().call_later(delay, callback, *args, context=context)


LOOPS: Final[dict[str, Callable[[], asyncio.AbstractEventLoop]]] = {
    "asyncio": _Asyncio,
    "uvloop": _Uvloop,
}
