"""A URL as what connects to its servers."""

from collections.abc import Callable, Collection
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from redis.asyncio.connection import Connection as TcpConnection
from redis.asyncio.connection import parse_url

from openapi.errors import DeclarationError
from openapi.ws.brokers.redis.cluster import Cluster
from openapi.ws.brokers.redis.connection import Connection
from openapi.ws.brokers.redis.reader import Receive
from openapi.ws.brokers.redis.servers import Servers
from openapi.ws.brokers.redis.single import Single
from openapi.ws.brokers.redis.topology import At

__all__ = ["Address"]

_CLUSTER: Final = "+cluster"
_PORT: Final = 6379


class Address:
    """What a URL says. Raises DeclarationError where it cannot be read."""

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
        except ValueError:
            raise _unreadable() from None
        self.cluster: Final = parts.scheme.endswith(_CLUSTER)
        scheme = parts.scheme.removesuffix(_CLUSTER)
        account, at, hosts = parts.netloc.rpartition("@")
        self.nodes: list[tuple[str, int]] = []
        """Where the servers are, of a cluster some of them."""
        try:
            for host in hosts.split(","):
                each = urlsplit(f"//{host}")
                self.nodes.append((each.hostname or "localhost", each.port or _PORT))
            first = urlunsplit(
                parts._replace(scheme=scheme, netloc=f"{account}{at}{hosts.split(',')[0]}")
            )
            self._options: dict[str, Any] = dict(parse_url(first))
        except ValueError:
            raise _unreadable() from None
        if parts.path.strip("/") and "db" not in self._options:
            raise _unreadable()  # redis-py would take 0
        if len(self.nodes) > 1 and not self.cluster:
            raise DeclarationError(
                f"a {scheme}:// URL names one server; several of a cluster are {scheme}+cluster://"
            )
        if self.cluster and self._options.get("db"):
            raise DeclarationError("a Redis Cluster has no databases: leave the number out")
        self._kind: Callable[..., Connection] = self._options.pop("connection_class", TcpConnection)
        try:
            self.connection(*self.nodes[0])
        except TypeError as exc:
            raise DeclarationError(
                f"the URL of the Redis broker has an option that redis-py has not: {exc}"
            ) from None

    def connection(self, host: str, port: int) -> Connection:
        """A connection that is not connected yet."""
        ours = {
            "host": host,
            "port": port,
            "protocol": 2,  # messages are arrays like all else
            "socket_timeout": None,  # a link has its own, and messages come when they come
            "socket_keepalive": True,
        }
        return self._kind(**{"client_name": "aio-openapi", **self._options, **ours})

    def servers(
        self,
        *,
        prefix: str,
        receive: Receive,
        missed: Callable[[Collection[str] | None], object],
        probe_interval: float,
        timeout: float,
    ) -> Servers:
        """The servers, not connected yet."""
        if self.cluster:
            return Cluster(
                [At(*node) for node in self.nodes],
                self.connection,
                prefix=prefix,
                receive=receive,
                missed=missed,
                probe_interval=probe_interval,
                timeout=timeout,
            )
        host, port = self.nodes[0]
        return Single(
            f"Redis at {host}:{port}",
            lambda: self.connection(host, port),
            prefix=prefix,
            database=self._options.get("db", 0),
            receive=receive,
            missed=missed,
            probe_interval=probe_interval,
            timeout=timeout,
        )


def _unreadable() -> DeclarationError:
    # Without the URL or a part of it: that may be the password.
    return DeclarationError(
        "the URL of the Redis broker cannot be read, look at its host, port and options; in a user"
        " or password, `/`, `?`, `#`, `@`, `[` and `%` are written %2F, %3F, %23, %40, %5B and %25"
    )
