"""Publishing by the rules of the channels: what a manager and a :class:`Publisher` share."""

from collections.abc import Awaitable, Callable

from openapi.errors import CannotPublish, InvalidData
from openapi.protocol.stream import Position
from openapi.protocol.topics import SERVER_EVENT
from openapi.ws.broker import Broker, KeepsHistory, PublishesOnce
from openapi.ws.rules import ChannelRule, ChannelRules

__all__ = ["Publishing", "remembers_no_keys"]


class Publishing:
    """Publishes on the broker that ``opened`` returns, which raises CannotPublish where it is gone.

    A rule decides what becomes of a message: it is refused, or checked and handed on, or numbered
    and kept as well. The rules are checked against the broker before: see ``ChannelRules.check``.
    """

    def __init__(self, rules: ChannelRules, opened: Callable[[], Awaitable[Broker]]) -> None:
        self._rules = rules
        self._opened = opened

    async def publish(self, channel: str, event: str, data: object) -> Position | None:
        """See :meth:`openapi.ws.SocketsManager.publish`."""
        rule = self._rule(channel)
        broker = await self._opened()
        own = event.startswith(SERVER_EVENT)
        if own or not rule.history:
            await broker.publish(channel, event, data if own else rule.plain(data))
            return None
        assert isinstance(broker, KeepsHistory)  # or the rule had been refused
        return await broker.append(channel, event, rule.kept(data), retention=rule.retention)

    async def publish_once(
        self, channel: str, event: str, data: object, *, key: str
    ) -> Position | None:
        """See :meth:`openapi.ws.SocketsManager.publish_once`."""
        if event.startswith(SERVER_EVENT):
            raise InvalidData({"event": f"{event!r} is the server's own, and has no key"})
        rule = self._rule(channel)
        broker = await self._opened()
        if rule.history:
            assert isinstance(broker, KeepsHistory)  # or the rule had been refused
            kept = rule.kept(data)
            return await broker.append(channel, event, kept, retention=rule.retention, key=key)
        if not isinstance(broker, PublishesOnce):
            raise remembers_no_keys(broker)
        await broker.publish_once(channel, event, rule.checked(data), key=key)
        return None

    def _rule(self, channel: str) -> ChannelRule:
        rule = self._rules.of(channel)
        if rule.refused:
            raise CannotPublish(f"the rule for {rule.name!r} refuses the channel {channel!r}")
        return rule


def remembers_no_keys(carrier: object) -> InvalidData:
    """The error for a key that nobody would know again."""
    return InvalidData({"key": f"{type(carrier).__name__} remembers no keys: leave it out"})
