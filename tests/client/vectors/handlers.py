"""Functions of a client that the server calls, and whose answers the conversation has."""

import asyncio
from typing import Any

__all__ = ["Handled", "Handlers"]


class Handled:
    """A call of the server that a handler of the client works on."""

    def __init__(self, payload: Any) -> None:
        self.payload = payload
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        """What it returns, or raises; it is cancelled with its handler."""


class Handlers:
    """One for all methods: it waits to be told its answer."""

    def __init__(self) -> None:
        self.called: asyncio.Queue[Handled] = asyncio.Queue()

    async def handle(self, payload: Any) -> Any:
        """Work on a call."""
        handled = Handled(payload)
        self.called.put_nowait(handled)
        return await handled.answer
