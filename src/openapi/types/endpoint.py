"""What a typed client is written from: the methods of an endpoint, and its channels' rules."""

from dataclasses import dataclass

from openapi.protocol.methods import Method

__all__ = ["Channels", "Endpoint"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Channels:
    """The channels of one rule, whose data has a type."""

    rule: str
    """A channel, or what channels begin with and ``*``."""
    data: object
    """The type of what is published there."""
    takes: object
    """The type of what a client publishes, Any if the endpoint makes something else of it."""
    but: tuple[str, ...] = ()
    """Rules of some of these channels that hold in place of this one."""
    subscribe: bool = True
    """Whether the endpoint lets clients subscribe, and so forth."""
    publish: bool = True
    history: bool = False
    presence: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One endpoint class of an application."""

    name: tuple[str, ...]
    """From the package to the class: ``("shop", "orders", "Orders")``."""
    paths: tuple[str, ...]
    """Where it is served, as ``/orders/{id}``."""
    doc: str = ""
    methods: tuple[Method, ...] = ()
    """Those that a client calls by their names."""
    channels: tuple[Channels, ...] = ()
