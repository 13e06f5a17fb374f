"""Where a request was sent to, before any proxy: what a browser calls its origin."""

from collections.abc import Mapping
from typing import Final

__all__ = ["sent_to"]

_PORTS: Final = {"http": "80", "https": "443"}


def sent_to(headers: Mapping[str, str], *, scheme: str, host: str) -> tuple[str, str]:
    """The scheme, and the host with its port if it has one, that the client used.

    They are those of ``X-Forwarded-Proto``, ``-Host`` and ``-Port``, each the first of its list;
    what is missing is the request's own, ``scheme`` and ``host``. Anybody can send these headers,
    but no page in a browser can: good enough to compare with its Origin, and otherwise to be
    believed only behind a proxy that sets them.
    """
    proto, name, port = (
        headers.get(f"X-Forwarded-{part}", "").partition(",")[0].strip()
        for part in ("Proto", "Host", "Port")
    )
    if proto not in _PORTS:
        return scheme, name or host
    if not name:
        return proto, host
    has_port = ":" in name.rpartition("]")[2]
    if not has_port and port.isascii() and port.isdigit() and port != _PORTS[proto]:
        name = f"{name}:{port}"
    return proto, name
