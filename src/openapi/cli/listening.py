"""The address on which an application is served."""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from aiohttp import web
from yarl import URL

__all__ = ["CannotListen", "listen", "reserved", "url_of"]


_BACKLOG: Final = 2048
"""Connections that wait to be accepted: all clients of a server that was away come at once.

The system cuts it to what it allows; past it, handshakes are dropped and tried again after seconds.
"""


class CannotListen(Exception):
    """The address cannot be had. Its text says why, and what to try."""


async def listen(runner: web.AppRunner, host: str, port: int, *, shared: bool) -> None:
    """Listen; ``shared`` with whoever does so too. Raises CannotListen."""
    with _telling(host, port):
        site = web.TCPSite(runner, host, port, reuse_port=shared or None, backlog=_BACKLOG)
        await site.start()


@contextmanager
def reserved(host: str, port: int) -> Iterator[int]:
    """Have a port for processes that are to share it; 0 takes a free one. Yields its number.

    It is bound and not listened on: the system gives connections only to those who listen. Who
    shares a port is not refused, whoever had it before; so it is tried first whether it is free.

    Raises CannotListen.
    """
    with ExitStack() as stack:
        with _telling(host, port):
            for family, address in _addresses(host, port):
                if port:
                    with _socket(family) as trying:
                        trying.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                        trying.bind(address)
                holding = stack.enter_context(_socket(family))
                holding.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                holding.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                holding.bind((address[0], port, *address[2:]))
                # Without it, nobody who tries so finds the port free, though nobody listens yet.
                holding.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
                port = holding.getsockname()[1]
        yield port


def url_of(host: str, port: int) -> URL:
    """Where it is."""
    # Nobody can connect to "every address".
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return URL.build(scheme="http", host=host, port=port)


def _addresses(host: str, port: int) -> Iterator[tuple[socket.AddressFamily, tuple[str, ...]]]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, _, _, _, address in dict.fromkeys(found):
        yield family, address  # type: ignore[misc] # those of no IP at all are never found


def _socket(family: socket.AddressFamily) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # as asyncio does
    return made


@contextmanager
def _telling(host: str, port: int) -> Iterator[None]:
    try:
        yield
    except socket.gaierror as exc:
        text = f"cannot listen on {host}: {exc.strerror}; give an address of this machine as --host"
        raise CannotListen(text) from exc
    except OSError as exc:
        if exc.errno in (errno.EADDRNOTAVAIL, None):  # None: asyncio, where none was available
            advice = "give an address of this machine as --host, or 0.0.0.0 for all of them"
        else:
            advice = "try another --port"
        why = os.strerror(exc.errno or errno.EADDRNOTAVAIL)
        raise CannotListen(f"cannot listen on {host}:{port}: {why}; {advice}") from exc
