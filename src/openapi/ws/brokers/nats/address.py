"""A URL as what connects to its servers."""

import ssl
from collections.abc import Sequence
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final
from urllib.parse import ParseResult, unquote, urlsplit

from openapi.errors import DeclarationError

__all__ = ["Address"]

_PORT: Final = 4222
#: Servers of a cluster that are remembered.
_SERVERS: Final = 64
_CREDENTIALS: Final = ("NATS USER JWT", "USER NKEY SEED")


class Address:
    """Where the servers are, and who one is to them.

    ``nats://user:password@one:4222,two:4222`` names several of one cluster; ``nats://token@host``
    has a token. Over ``tls://`` nothing is said to a server that does not encrypt. Raises
    DeclarationError for what cannot be read, without the URL: it may have a password.
    """

    def __init__(
        self, url: str, *, tls: ssl.SSLContext | None = None, credentials: str | None = None
    ) -> None:
        try:
            parts = urlsplit(url)
        except ValueError:
            # Without the URL: it may have a password.
            raise DeclarationError(
                "the URL of the NATS broker cannot be read: in a user or password, `/`, `?`, `#`,"
                " `@`, `[` and `%` are written %2F, %3F, %23, %40, %5B and %25"
            ) from None
        self.scheme: Final = parts.scheme
        if parts.path.strip("/") or parts.query or parts.fragment:
            raise DeclarationError(
                "the URL of the NATS broker ends with its hosts: what else there is to say are"
                " options of NatsBroker"
            )
        account, _, hosts = parts.netloc.rpartition("@")
        if "@" in account and "," in account:
            raise DeclarationError(
                "the URL of the NATS broker has an account for each host: write it once, before the"
                " first one, and a `@` in a password as %40"
            )
        self.servers: Final = [self._server(host) for host in hosts.split(",")]
        """URLs without an account."""
        self.name: Final = f"NATS at {hosts}"
        self._host: Final = urlsplit(self.servers[0]).hostname
        self._tls = tls
        self._credentials = credentials
        user, colon, password = account.partition(":")
        self._account: dict[str, str] = {}
        if colon:
            self._account = {"user": unquote(user), "password": unquote(password)}
        elif user:
            self._account = {"token": unquote(user)}

    def check(self) -> None:
        """Raise DeclarationError where the credentials are of no use."""
        if self._credentials is None:
            return
        try:
            found = Path(self._credentials).read_text()
        except (OSError, ValueError) as exc:
            raise DeclarationError(
                f"the credentials {self._credentials!r} of the NATS broker cannot be read:"
                f" {type(exc).__name__}"
            ) from None
        if not all(f"-----BEGIN {part}-----" in found for part in _CREDENTIALS):
            raise DeclarationError(
                f"{self._credentials!r} has no credentials of NATS: have it written by"
                " `nsc generate creds`"
            )
        if find_spec("nkeys") is None:
            raise DeclarationError(
                "credentials of NATS need the package nkeys: pip install 'nats-py[nkeys]'"
            )

    @property
    def encrypted(self) -> bool:
        """Whether nothing may be said to a server that does not encrypt."""
        return self.scheme == "tls" or self._tls is not None

    def options(self, server: str) -> dict[str, Any]:
        """What a client is told of a server."""
        options: dict[str, Any] = dict(self._account)
        if self._credentials is not None:
            options["user_credentials"] = self._credentials
        if self._tls is not None:
            options["tls"] = self._tls
        if server not in self.servers[:1] and _is_ip(urlsplit(server).hostname):
            options["tls_hostname"] = self._host  # a server that was discovered has no other name
        return options

    def discovered(self, servers: Sequence[ParseResult]) -> None:
        """Remember servers of the cluster for the time when others are away."""
        for server in servers:
            url = self._server(server.netloc)
            if url not in self.servers and len(self.servers) < _SERVERS:
                self.servers.append(url)

    def _server(self, host: str) -> str:
        try:
            each = urlsplit(f"//{host}")
            name, port = each.hostname, each.port or _PORT
        except ValueError as exc:
            raise DeclarationError(f"the URL of the NATS broker cannot be read: {exc}") from None
        if not name:
            raise DeclarationError("the URL of the NATS broker names no host: nats://HOST:4222")
        return (
            f"{self.scheme}://[{name}]:{port}" if ":" in name else f"{self.scheme}://{name}:{port}"
        )


def _is_ip(host: str | None) -> bool:
    try:
        ip_address(host or "")
    except ValueError:
        return False
    return True
