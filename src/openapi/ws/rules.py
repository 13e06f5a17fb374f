"""What a channel promises, declared once: who may be on it is another matter, see ``authorize``.

SocketsManager(
    channels=[
        ChannelRule("orders:*", data=Order, history=100, ttl=timedelta(minutes=5)),
        ChannelRule("prices", slow=Latest(key="symbol")),
        ChannelRule("*", refused=True),
    ]
)
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import timedelta
from inspect import iscoroutinefunction
from typing import Any, Final, Literal, TypeAlias, get_args

from openapi.errors import DeclarationError, InvalidData
from openapi.protocol.publication import Data
from openapi.protocol.stream import Retention
from openapi.protocol.topics import SERVER_EVENT
from openapi.schema import Schema, encode_msgpack
from openapi.ws.broker import Broker, KeepsHistory, KeepsPresence

__all__ = ["ChannelRule", "ChannelRules", "Latest", "OccupancyHook", "Slow"]

OccupancyHook: TypeAlias = Callable[[str], Awaitable[object]]
"""``await hook(channel)``"""

#: Channels whose rule is remembered: to look it up counts for each message.
_REMEMBERED: Final = 4096

_ANYTHING: Final = Schema[Any](Any)


@dataclass(frozen=True, slots=True)
class Latest:
    """Of the messages that a slow subscriber has not got, keep the newest of each key.

    ``key`` is a field of the data; without it, each event has one. Messages of different events
    never take each other's place.
    """

    key: str | None = None


_Policy: TypeAlias = Literal["disconnect", "drop_oldest", "catch_up"]
Slow: TypeAlias = _Policy | Latest
"""What becomes of a subscriber that reads more slowly than a channel's messages come.

* ``"disconnect"``: it is closed with 4008 when ``limits.outbox_bytes`` wait for it
* ``"drop_oldest"``, ``Latest(key=…)``: it misses some, and ``$lagged`` tells how many
* ``"catch_up"``: it gets them later, from history; ``$reset`` if that is too short
"""


@dataclass(frozen=True, slots=True)
class ChannelRule:
    """What is promised of a channel, or of all whose names begin alike.

    ``name`` is the channel's, or what it begins with and ``*``. Of several that fit, the one with
    the longest name holds. Those that none fits are as with ``ChannelRule("*")``.

    * ``data``: the type of what is published. Anything else is refused, naming every faulty field
    * ``history``: how many messages are kept for those who were away. 0: none
    * ``ttl``: how long each is kept
    * ``presence``: whether subscribers may know of each other
    * ``slow``: what becomes of a subscriber that reads too slowly, see :data:`Slow`
    * ``max_rate``: how many messages a second one connection may publish to all channels of the
      rule, and at once after a pause. More: -32003. None: as many as it likes
    * ``refused``: nobody may subscribe or publish
    * ``on_occupied``, ``on_vacated``: awaited when a channel gets its first subscriber in this
      process, and when the last has left. They never overlap, and take turns; what they raise is
      logged. Subscribers wait for ``on_occupied``: what goes on there belongs into a task

    Raises :class:`DeclarationError` for what cannot be meant.
    """

    name: str
    _: KW_ONLY
    data: Any = Any
    history: int = 0
    ttl: timedelta = timedelta(minutes=5)
    presence: bool = False
    slow: Slow = "disconnect"
    max_rate: float | None = None
    refused: bool = False
    on_occupied: OccupancyHook | None = None
    on_vacated: OccupancyHook | None = None
    retention: Retention = field(init=False, repr=False, compare=False)
    """``history`` and ``ttl``."""
    schema: Schema[Any] | None = field(init=False, repr=False, compare=False)
    """That of ``data``; None where it is anything."""

    def __post_init__(self) -> None:
        where = f"ChannelRule({self.name!r})"
        if fault := self._fault():
            raise DeclarationError(f"{where}: {fault}")
        try:
            schema = None if self.data is Any else Schema.of(self.data)
        except DeclarationError as exc:
            raise DeclarationError(f"{where}: data: {exc}") from None
        object.__setattr__(self, "schema", schema)
        retention = Retention(self.history, self.ttl.total_seconds())
        object.__setattr__(self, "retention", retention)

    @property
    def prefix(self) -> str | None:
        """What its channels begin with; None where it is of one channel."""
        return self.name[:-1] if self.name.endswith("*") else None

    def checked(self, data: object) -> Data:
        """Data as it is published. Raises InvalidData, Unserializable."""
        if self.schema is None:
            return Data.of(data)
        try:
            return Data(self.schema.encode(data), self.schema.pack(data))
        except InvalidData as exc:
            raise InvalidData(exc.within("data")) from None

    def kept(self, data: object) -> Data:
        """Data that a history can give to everyone.

        Raises as :meth:`checked`, and Unserializable where MessagePack has no form for it: an
        integer of more than 64 bits is refused in answers, in JSON too.
        """
        kept = self.checked(data)
        _ = kept.packed
        return kept

    def read(self, data: object) -> object:
        """What a client publishes, as the rule's type. Raises InvalidData, Unserializable.

        Unlike :meth:`checked`, it refuses fields that the type has not: they are misspelt.
        """
        if self.schema is None:
            return data
        try:
            # In MessagePack what the type leaves open, as bytes, stays what it is.
            return self.schema.unpack(encode_msgpack(data))
        except InvalidData as exc:
            raise InvalidData(exc.within("data")) from None

    def plain(self, data: object) -> object:
        """Data for a broker that knows no types: plain values, where the rule has a type."""
        return data if self.schema is None else _ANYTHING.unpack(self.checked(data).packed)

    def _fault(self) -> str | None:
        name: object = self.name
        if not isinstance(name, str) or not name or "*" in name[:-1]:
            return 'its name is that of a channel, or what channels begin with and a "*"'
        if type(self.history) is not int or self.history < 0:
            return f"history is a number of messages from 0, not {self.history!r}"
        ttl: object = self.ttl
        if not isinstance(ttl, timedelta) or ttl <= timedelta():
            return f"ttl is a timedelta of more than 0, not {self.ttl!r}"
        for name in ("presence", "refused"):
            if not isinstance(value := getattr(self, name), bool):
                return f"{name} is True or False, not {value!r}"
        slow = self.slow
        key: object = slow.key if isinstance(slow, Latest) else None
        if not isinstance(slow, Latest) and slow not in get_args(_Policy):
            return f'slow is one of {", ".join(map(repr, get_args(_Policy)))} or Latest(key="…")'
        if not isinstance(key, str | None):
            return f"slow: the key of Latest is the name of a field of the data, not {key!r}"
        if slow == "catch_up" and not self.history:
            return 'slow="catch_up" reads from history: give it one, history=100'
        rate = self.max_rate
        is_number = isinstance(rate, int | float) and not isinstance(rate, bool)
        if rate is not None and not (is_number and 0 < rate < float("inf")):
            return f"max_rate is a number of messages a second, more than 0, not {rate!r}"
        for name in ("on_occupied", "on_vacated"):
            hook = getattr(self, name)
            if hook is not None and not iscoroutinefunction(hook):
                return f"{name} is an `async def` function of a channel's name, not {hook!r}"
        return None


_SERVERS_OWN: Final = ChannelRule(f"{SERVER_EVENT}*", refused=True)


class ChannelRules:
    """The rules of a manager. ``where`` names it in refusals.

    Raises :class:`DeclarationError` for what is no rule, and for two of one name.
    """

    def __init__(self, where: str, rules: Sequence[ChannelRule] = ()) -> None:
        self._exact: dict[str, ChannelRule] = {}
        self._prefixes: list[tuple[str, ChannelRule]] = []
        self._known: dict[str, ChannelRule] = {}
        given: object = rules
        if not isinstance(given, Sequence):
            raise DeclarationError(f"{where}: channels is a list of ChannelRule(…), not {given!r}")
        self.all: Final = tuple(rules)
        names: set[str] = set()
        for rule in self.all:
            if not isinstance(rule, ChannelRule):
                raise DeclarationError(f"{where}: channels are ChannelRule(…), {rule!r} is none")
            if rule.name in names:
                raise DeclarationError(f"{where}: there are two rules for {rule.name!r}")
            if rule.name.startswith(SERVER_EVENT):
                raise DeclarationError(
                    f"{where}: {rule.name!r}: channels that begin with {SERVER_EVENT!r} are the"
                    " server's own, and have no rule"
                )
            names.add(rule.name)
            if (prefix := rule.prefix) is None:
                self._exact[rule.name] = rule
            else:
                self._prefixes.append((prefix, rule))
        if "*" not in names:
            self._prefixes.append(("", ChannelRule("*")))
        self._prefixes.sort(key=lambda each: -len(each[0]))

    def of(self, channel: str) -> ChannelRule:
        """The rule of a channel. Those that begin with ``$`` are the server's own, and refused."""
        rule = self._known.get(channel)
        if rule is None:
            rule = _SERVERS_OWN if channel.startswith(SERVER_EVENT) else None
            rule = (
                rule
                or self._exact.get(channel)
                or next(rule for prefix, rule in self._prefixes if channel.startswith(prefix))
            )
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[channel] = rule
        return rule

    def check(self, where: str, broker: Broker) -> None:
        """Raise DeclarationError for a rule that promises what the broker cannot keep."""
        for rule in self.all:
            for asked, ability, what in (
                (bool(rule.history), KeepsHistory, "history"),
                (rule.presence, KeepsPresence, "presence"),
            ):
                if asked and not isinstance(broker, ability):
                    raise DeclarationError(
                        f"{where}: the rule for {rule.name!r} promises {what}, which the broker"
                        f" {type(broker).__name__} cannot keep: leave it out, or take another"
                        " broker"
                    )
            most = broker.most if isinstance(broker, KeepsHistory) else None
            if most is not None and rule.history:
                kept = rule.retention
                if kept.messages > most.messages or kept.seconds > most.seconds:
                    raise DeclarationError(
                        f"{where}: the rule for {rule.name!r} promises {kept.messages} messages"
                        f" for {kept.seconds:g} seconds, and {type(broker).__name__} keeps at most"
                        f" {most.messages} for {most.seconds:g} seconds: promise less, or have it"
                        " keep more"
                    )
