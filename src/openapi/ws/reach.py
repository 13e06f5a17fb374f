"""What the server's own code does to connections, wherever they are: found by user or by id.

Each of these is done to the connections here, and asked of the other nodes, which do it to theirs.
Where a ``socket_id`` is one of this process, nobody else is asked.
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Hashable, Iterator
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeGuard, TypeVar

from openapi.errors import (
    CallFailed,
    ConnectionClosed,
    InvalidData,
    OpenApiError,
    UnexpectedData,
    Unserializable,
)
from openapi.protocol.framing import close_frame
from openapi.schema import Schema, encode_json
from openapi.ws.answering import Items, Work
from openapi.ws.asking import Gathered
from openapi.ws.channels import Channels
from openapi.ws.directory import ConnectionInfo, Directory
from openapi.ws.faults import Fault, exception_of, fault_of
from openapi.ws.node_messages import (
    CallQuestion,
    ConnectionItem,
    ConnectionsQuestion,
    DisconnectQuestion,
    InfoItem,
    InfoQuestion,
    Question,
    QuestionOfSome,
    ReplyItem,
    SubscribeQuestion,
    UnsubscribeQuestion,
)
from openapi.ws.nodes import Nodes
from openapi.ws.partial import Count, Found, NodeInfo, Reply

if TYPE_CHECKING:
    from openapi.ws.socket import Websocket

__all__ = ["Reach"]

T = TypeVar("T")

#: Seconds that another node has for what has no time of its own.
_LONGEST: Final = 10.0
#: Seconds behind the timeout of a call, for the answer to travel.
_TRAVEL: Final = 2.0

#: Patterns that one item tells of.
_PATTERNS: Final = 500

_NOBODY: Final = {"id": None, "host": None, "pid": None, "connections": None}
_ANYTHING: Final = Schema[Any](Any)
_LARGEST: Final = 2**63


class Reach:
    """Works on the connections of ``directory``, and by ``nodes`` on those of the others."""

    def __init__(self, directory: Directory, channels: Channels, nodes: Nodes) -> None:
        self._directory = directory
        self._channels = channels
        self._nodes = nodes

    async def call(
        self,
        method: str,
        payload: object,
        *,
        user: Hashable,
        socket_id: str | None,
        returns: object,
        timeout: float | None,
    ) -> Found[Reply]:
        """See :meth:`SocketsManager.call`."""
        here = self._directory.find("call", user, socket_id)
        written = encode_json({} if payload is None else payload)
        schema = Schema.of(returns)
        asking = self._elsewhere(
            # What becomes of the payload while others are asked changes nothing.
            lambda **whom: CallQuestion(
                method=method, payload=_ANYTHING.decode(written), timeout=timeout, **whom
            ),
            ReplyItem,
            here,
            user,
            socket_id,
            longest=None if timeout is None else timeout + _TRAVEL,
        )
        replies = _ask_each(here, method, payload, schema, timeout)
        if asking is None:
            return Found(await replies)
        elsewhere = asyncio.ensure_future(asking)
        try:
            found, others = await replies, await elsewhere
        finally:
            if not elsewhere.done():
                elsewhere.cancel()
                await asyncio.wait([elsewhere])
        found += [_reply(item, schema) for _, item in others.found]
        return Found(found, others.missing)

    async def disconnect(
        self, *, user: Hashable, socket_id: str | None, code: int, reason: str
    ) -> Count:
        """See :meth:`SocketsManager.disconnect`."""
        here = self._directory.find("disconnect", user, socket_id)
        close_frame(code, reason)  # raises what it would where somebody is found
        _close(here, code, reason)
        question = partial(DisconnectQuestion, code=code, reason=reason)
        return await self._count(len(here), question, here, user, socket_id)

    async def subscribe(
        self, channel: str, event: str, *, user: Hashable, socket_id: str | None
    ) -> Count:
        """See :meth:`SocketsManager.subscribe_socket`."""
        here = self._directory.find("subscribe_socket", user, socket_id)
        count = await self._invite_all(here, channel, event, user)
        question = partial(SubscribeQuestion, channel=channel, event=event)
        return await self._count(count, question, here, user, socket_id)

    async def unsubscribe(self, channel: str, *, user: Hashable, socket_id: str | None) -> Count:
        """See :meth:`SocketsManager.unsubscribe_socket`."""
        here = self._directory.find("unsubscribe_socket", user, socket_id)
        count = self._expel_all(here, channel)
        question = partial(UnsubscribeQuestion, channel=channel)
        return await self._count(count, question, here, user, socket_id)

    async def connections(self, user: Hashable) -> Found[ConnectionInfo]:
        """See :meth:`SocketsManager.connections`."""
        here = self._directory.info(user)
        asking = self._elsewhere(ConnectionsQuestion, ConnectionItem, (), user, None)
        others: Gathered[ConnectionItem] = Gathered() if asking is None else await asking
        there = [
            ConnectionInfo(
                socket_id=item.socket_id,
                user=item.user,
                started=item.started,
                channels=item.channels,
                queued_bytes=item.queued_bytes,
                node=node,
            )
            for node, item in others.found
        ]
        return Found(here + there, others.missing)

    async def info(self) -> dict[str, Any]:
        """See :meth:`SocketsManager.server_info`."""
        me, total = self._nodes.info, self._channels.info()
        others = await self._nodes.ask(InfoQuestion, InfoItem, longest=_LONGEST)
        nodes = {me.id: me}
        for id, item in others.found:
            nodes[id] = NodeInfo(id, item.host, item.pid, item.connections)
            for channel, patterns in item.channels.items():
                counts = total.setdefault(channel, {})
                for pattern, subscribers in patterns.items():
                    counts[pattern] = counts.get(pattern, 0) + subscribers
        return {
            "connections": sum(each.connections for each in nodes.values()),
            "channels": total,
            "nodes": [asdict(each) for each in nodes.values()],
            "missing": [
                {**(_NOBODY if each.node is None else asdict(each.node)), "reason": each.reason}
                for each in others.missing
            ],
            "ignored": self._nodes.ignored,
            "dropped": self._nodes.answering.dropped,
        }

    def answer(self, question: Question) -> Items | Work:
        """What this node answers to another one."""
        match question:
            case ConnectionsQuestion():
                return [_told(info) for info in self._directory.info(question.user)]
            case InfoQuestion():
                return tuple(self._info())
        assert isinstance(question, QuestionOfSome)  # there are no others
        here = self._directory.among(question.user, question.socket_id)
        match question:
            case CallQuestion() if here:
                return self._replies(here, question)
            case SubscribeQuestion() if here:
                return self._invited(here, question)
            case UnsubscribeQuestion():
                count = self._expel_all(here, question.channel)
            case DisconnectQuestion():
                count = _close(here, question.code, question.reason)
            case _:
                count = 0
        return (count,) if count else ()

    def _elsewhere(
        self,
        question: Callable[..., Question],
        item: type[T],
        here: Collection["Websocket"],
        user: Hashable,
        socket_id: str | None,
        *,
        longest: float | None = _LONGEST,
        may_refuse: bool = False,
    ) -> Coroutine[Any, Any, Gathered[T]] | None:
        """Ask the others; None where there is nobody to be asked."""
        if self._nodes.alone or (socket_id is not None and here):
            return None
        if user is not None:
            if not _travels(user):
                return _at_once(
                    self._nodes.nobody(
                        f"a user that is a {type(user).__name__} is found in this process only:"
                        " users that are str or int are found in all"
                    )
                )
            question = partial(question, user=user)
        if socket_id is not None:
            question = partial(question, socket_id=socket_id)
        first = socket_id is not None
        return self._nodes.ask(question, item, longest=longest, first=first, may_refuse=may_refuse)

    async def _count(
        self,
        count: int,
        question: Callable[..., Question],
        here: Collection["Websocket"],
        user: Hashable,
        socket_id: str | None,
    ) -> Count:
        asking = self._elsewhere(question, int, here, user, socket_id, may_refuse=True)
        if asking is None:
            return Count(count)
        others = await asking
        if others.refused:
            raise others.refused[0]
        return Count(count + sum(number for _, number in others.found), others.missing)

    async def _replies(self, here: Collection["Websocket"], question: CallQuestion) -> Items:
        replies = await _ask_each(
            here, question.method, question.payload, _ANYTHING, question.timeout
        )
        return [ReplyItem(each.socket_id, each.result, _fault(each.error)) for each in replies]

    async def _invited(self, here: Collection["Websocket"], question: SubscribeQuestion) -> Items:
        async with asyncio.timeout(_LONGEST):
            count = await self._invite_all(here, question.channel, question.event, question.user)
        return (count,) if count else ()

    async def _invite_all(
        self, here: Collection["Websocket"], channel: str, event: str, user: Hashable
    ) -> int:
        return sum([await self._invite(ws, channel, event, user) for ws in here])

    async def _invite(self, ws: "Websocket", channel: str, event: str, user: Hashable) -> bool:
        deliveries, may = ws.connection.deliveries, True

        def is_theirs(rights: int | None = None) -> bool:
            is_same = user is None or ws.user == user
            return is_same and (rights is None or deliveries.has_rights(rights))

        while may and is_theirs():
            current = partial(is_theirs, deliveries.rights)
            if await self._channels.invite(deliveries, channel, event, current=current):
                return True
            # What is on its way is asked for as well, where everything is asked for anew.
            may = not deliveries.gone and await ws.allows("subscribe", channel, event)
        return False

    def _expel_all(self, here: Collection["Websocket"], channel: str) -> int:
        return sum(self._channels.expel(ws.connection.deliveries, channel) for ws in here)

    def _info(self) -> Iterator[InfoItem]:
        me = self._nodes.info
        patterns = [
            (channel, pattern, subscribers)
            for channel, counts in self._channels.info().items()
            for pattern, subscribers in counts.items()
        ]
        for start in range(0, max(1, len(patterns)), _PATTERNS):
            channels: dict[str, dict[str, int]] = {}
            for channel, pattern, subscribers in patterns[start : start + _PATTERNS]:
                channels.setdefault(channel, {})[pattern] = subscribers
            yield InfoItem(me.host, me.pid, me.connections, channels)


async def _ask_each(
    here: Collection["Websocket"],
    method: str,
    payload: object,
    schema: Schema[Any],
    timeout: float | None,
) -> list[Reply]:
    async def ask(ws: "Websocket") -> Reply:
        try:
            result = await ws.call(method, payload, returns=schema, timeout=timeout)
        except (
            CallFailed,
            ConnectionClosed,
            UnexpectedData,
            Unserializable,  # in this socket's dialect: JSON's was tried before
            TimeoutError,
        ) as exc:
            return Reply(ws.socket_id, error=exc)
        return Reply(ws.socket_id, result)

    return await asyncio.gather(*map(ask, here))


def _fault(error: Exception | None) -> Fault | None:
    """The error of one connection, which spoils no other's."""
    try:
        return None if error is None else fault_of(error)
    except (InvalidData, Unserializable) as exc:  # a client may send what has no JSON form
        text = f"an error that does not travel between processes: {error}: {exc}"
        return Fault("UnexpectedData", errors={"": text})


def _reply(item: ReplyItem, schema: Schema[Any]) -> Reply:
    """What a connection of another node said."""
    if item.fault is not None:
        exc = exception_of(item.fault)
        if not isinstance(exc, OpenApiError | TimeoutError):
            exc = UnexpectedData({"": f"an error that is not known here: {item.fault.text}"})
        return Reply(item.socket_id, error=exc)
    try:
        return Reply(item.socket_id, schema.convert(item.result))
    except InvalidData as exc:
        unexpected = UnexpectedData(exc.errors)
        unexpected.__cause__ = exc
        return Reply(item.socket_id, error=unexpected)


def _close(here: Collection["Websocket"], code: int, reason: str) -> int:
    for ws in here:
        ws.connection.close(code, reason)
    return len(here)


def _told(info: ConnectionInfo) -> ConnectionItem:
    user = info.user
    known = user if user is None or _travels(user) else str(user)
    return ConnectionItem(info.socket_id, known, info.started, info.channels, info.queued_bytes)


def _travels(user: Hashable) -> TypeGuard[str | int]:
    """Whether a user is the same in another process."""
    if isinstance(user, bool):
        return False
    return isinstance(user, str) or (isinstance(user, int) and -_LARGEST <= user < _LARGEST)


async def _at_once(gathered: Gathered[T]) -> Gathered[T]:
    return gathered
