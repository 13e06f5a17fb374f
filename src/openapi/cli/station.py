"""A worker's line to the process that started it.

| who        | what                                          | when                               |
|------------|-----------------------------------------------|------------------------------------|
| worker     | ``{"serving": [[method, path, summary], …]}`` | it listens                         |
| worker     | ``{"warning": text}``                         | something is wrong, and it goes on |
| worker     | ``{"failed": text, "misused": bool}``         | it ends, and why                   |
| supervisor | ``s``                                         | it is to end                       |
| supervisor | ``n``                                         | and not to wait for what runs      |
| supervisor | the end of the line                           | it is gone: the worker is to end   |

What the worker says is one JSON document a line. The worker is the same command line with the
number of its end of a socket pair, and that of the port, in the environment.
"""

import asyncio
import json
import os
import socket
from collections.abc import Iterable, Mapping
from typing import Any, Final, Self

from openapi.cli.ending import Ending

__all__ = ["NOW", "STOP", "Station"]

STOP: Final = b"s"
NOW: Final = b"n"

_VARIABLE: Final = "OPENAPI_WORKER"


class Station:
    """The worker's end. ``port`` is where all of them listen."""

    def __init__(self, line: socket.socket, port: int) -> None:
        self.port: Final = port
        self._line = line

    @classmethod
    def found(cls) -> Self | None:
        """That of this process; None if it is no worker. What the process starts is none."""
        given = os.environ.pop(_VARIABLE, None)
        if given is None:
            return None
        fd, port = map(int, given.split(":"))
        line = socket.socket(fileno=fd)
        line.set_inheritable(False)
        return cls(line, port)

    @staticmethod
    def environment(fd: int, port: int) -> dict[str, str]:
        """The environment of a worker that has the other end."""
        return {**os.environ, _VARIABLE: f"{fd}:{port}"}

    def obey(self, ending: Ending) -> None:
        """End when it is said, in the loop that runs."""
        asyncio.get_running_loop().add_reader(self._line, self._heard, ending)

    def serving(self, routes: Iterable[tuple[str, str, str]]) -> None:
        """Say that it listens, and what it answers."""
        self._say({"serving": list(routes)})

    def warning(self, text: str) -> None:
        """Say what is wrong though it goes on."""
        self._say({"warning": text})

    def failed(self, text: str, *, misused: bool) -> None:
        """Say why it ends; ``misused``: the command was used wrongly."""
        self._say({"failed": text, "misused": misused})

    def _heard(self, ending: Ending) -> None:
        try:
            orders = self._line.recv(64)
        except ConnectionError:
            orders = b""
        if not orders:
            asyncio.get_running_loop().remove_reader(self._line)
        if NOW in orders:
            ending.press()
        ending.ask()

    def _say(self, document: Mapping[str, Any]) -> None:
        try:
            self._line.sendall(json.dumps(document).encode() + b"\n")
        except ConnectionError:
            pass  # nobody is there to be told, which the worker hears as the end of the line
