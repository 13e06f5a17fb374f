"""What the server's own calls are answered with: given beforehand, or typed at the terminal."""

import asyncio
import os
import sys
import termios
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from openapi.cli.output import Output, json_line
from openapi.errors import ErrorCode, InvalidData, RpcError
from openapi.schema import Schema

if TYPE_CHECKING:
    from openapi.client.handlers import Handler

__all__ = ["ASK", "Answers", "can_ask"]

ASK: Final = object()
"""In place of an answer: the person at the terminal is asked."""

_LINE_BYTES: Final = 4096
"""What a terminal hands over at once, at most."""

_PROMPT: Final = "answer (JSON, empty refuses): "

_anything: Final = Schema[Any](Any)


def can_ask() -> bool:
    """Whether somebody sits there who can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


class Answers:
    """The answers to the methods that the server may call: ``{method: anything, or ASK}``.

    Questions to the person come one after another. While one is open it has the ``screen``, and
    all else that is shown on a terminal waits for it.
    """

    def __init__(self, out: Output, given: Mapping[str, object]) -> None:
        self.screen: Final = asyncio.Lock()
        self._out = out
        self._given = given
        self._ending = False

    def handlers(self) -> "dict[str, Handler]":
        """What serves the methods; see :func:`openapi.client.connect`."""
        return {
            method: partial(self._ask, method)
            if answer is ASK
            else partial(self._answer, method, answer)
            for method, answer in self._given.items()
        }

    def end(self) -> None:
        """The command ends: a question that is open is the server's no more."""
        self._ending = True

    async def _answer(self, method: str, answer: object, payload: dict[str, Any]) -> Any:
        if not self.screen.locked():  # an open question is not to be written into
            self._out.answered(method, payload, json_line(answer))
        return answer

    async def _ask(self, method: str, payload: dict[str, Any]) -> Any:
        async with self.screen:
            # What was typed before is no answer to this.
            termios.tcflush(sys.stdin, termios.TCIFLUSH)
            self._out.question(method, payload)
            while True:
                line = await self._typed()
                if not line.strip():
                    raise RpcError(ErrorCode.NOT_ALLOWED, "It was refused")
                try:
                    return _anything.decode(line)
                except InvalidData:
                    self._out.log('that is no JSON, write as in {"yes": true}')

    async def _typed(self) -> bytes:
        """A line from the keyboard, empty at its end; the loop goes on meanwhile."""
        loop, typed, fd = asyncio.get_running_loop(), bytearray(), sys.stdin.fileno()
        ended: asyncio.Future[None] = loop.create_future()

        def read() -> None:
            try:
                data = os.read(fd, _LINE_BYTES)
            except OSError:  # the terminal is gone
                data = b""
            typed.extend(data)
            if not data or data.endswith(b"\n"):
                loop.remove_reader(fd)
                ended.set_result(None)

        self._out.log(_PROMPT, end="")
        loop.add_reader(fd, read)
        try:
            await ended
        except asyncio.CancelledError:
            if not self._ending:
                self._out.log("\nthe server waits no longer")
            raise
        finally:
            loop.remove_reader(fd)
        if not typed.endswith(b"\n"):
            self._out.log("")  # behind the end of the input
        return bytes(typed)
