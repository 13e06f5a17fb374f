"""The nodes of one application: processes that find each other over the broker that they share.

| state   | start()        | both channels subscribed | aclose()               |
|---------|----------------|--------------------------|------------------------|
| NEW     | JOINING        |                          | CLOSED                 |
| JOINING |                | JOINED, says ``hello``   | CLOSED                 |
| JOINED  |                |                          | CLOSED, says ``bye``   |
| CLOSED  |                |                          |                        |

A node says ``here`` each ``limits.node_interval``, and again at once when the broker's server is
back; and with it, to those who work for it, what it waits for. Whoever hears a ``hello`` answers
with a ``here``. No ability of brokers is needed, and
nothing has to arrive: what is lost is said again, or is missing in an answer that names it.

A broker that a manager made itself, for itself, is nobody else's: then this is ``alone``, and
nothing is ever said.
"""

import asyncio
import logging
import os
import random
import secrets
import socket
from collections.abc import Awaitable, Callable, Collection, Coroutine
from enum import Enum
from typing import Any, Final, TypeVar

from openapi.errors import InvalidData
from openapi.protocol.backoff import delays
from openapi.protocol.envelope import Unreadable
from openapi.protocol.limits import Limits
from openapi.ws.answering import Answering, Items, Work
from openapi.ws.asking import Gathered
from openapi.ws.broker import Broker, Supervised
from openapi.ws.node_messages import (
    ALL,
    VERSION,
    Answer,
    Awaiting,
    Lost,
    Message,
    Question,
    Sign,
    Stop,
    Taken,
    inbox_of,
    read,
    said,
)
from openapi.ws.node_table import NodeTable
from openapi.ws.partial import Missing, NodeInfo
from openapi.ws.questions import Questions, away
from openapi.ws.redacted import redacted

__all__ = ["NodeState", "Nodes"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds in which a node says that it heard a question.
_PATIENCE: Final = 2.0
#: Seconds for each of two steps to join; then it is tried again.
_JOINING: Final = 5.0
#: Seconds behind a hello, in which those are waited for who may be there.
_SETTLING: Final = 0.25
#: The pauses between tries to join: the first ceiling, and the last.
_FIRST: Final = 0.1
_CAP: Final = 2.0
#: What a node announces at most.
_LONGEST_INTERVAL: Final = 3600.0
#: So many intervals are waited for one who works for this node and gives no sign of life.
_UNKNOWN: Final = 3
#: Seconds for the last word.
_FAREWELL: Final = 1.0
#: Why nobody answers.
_ENDING: Final = "this process shuts down"
#: Questions of this node that are not answered yet.
_QUESTIONS: Final = 1024


class NodeState(Enum):
    """See the table of the module."""

    NEW = "new"
    JOINING = "joining"
    JOINED = "joined"
    CLOSED = "closed"


class Nodes:
    """This node, and what it knows of the others.

    ``opened`` gives the broker, open; None when the server has shut down. ``connections`` counts
    those here. ``answer`` is that of :class:`~openapi.ws.answering.Answering`.
    """

    def __init__(
        self,
        *,
        alone: bool,
        limits: Limits,
        opened: Callable[[], Awaitable[Broker | None]],
        connections: Callable[[], int],
        answer: Callable[[Question], Items | Work],
        spawn: Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"],
        random: Callable[[], float] = random.random,
    ) -> None:
        self.id: Final = secrets.token_hex(8)
        self.alone: Final = alone
        self.state = NodeState.NEW
        self.table = NodeTable()
        self.answering = Answering(
            self.id, answer=answer, say=self._tell, spawn=spawn, random=random
        )
        self.questions = Questions(
            self.id, table=self.table, say=self._tell_all, spawn=spawn, patience=_PATIENCE
        )
        self.ignored = 0
        """Messages of other nodes that could not be read."""
        self._interval = min(limits.node_interval, _LONGEST_INTERVAL)
        self._opened = opened
        self._connections = connections
        self._spawn = spawn
        self._random = random
        self._broker: Broker | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ticking: asyncio.Task[None] | None = None
        self._again = False
        self._pauses = delays(random, first=_FIRST, cap=_CAP)
        self._tried = asyncio.Event()
        self._due = 0.0
        self._settled = 0.0
        self._has_joined = False
        self._failing = False
        self._greeting: dict[str, asyncio.Task[None]] = {}

    @property
    def info(self) -> NodeInfo:
        """This node."""
        return NodeInfo(self.id, socket.gethostname(), os.getpid(), self._connections())

    def start(self, broker: Broker) -> None:
        """The broker is open: join the others. Harmless the second time."""
        if self.state is NodeState.NEW and not self.alone:
            self.state = NodeState.JOINING
            self._broker = broker
            self._go()

    async def tried(self) -> None:
        """Wait until this node has tried to join, if it was started."""
        if self.state is NodeState.JOINING:
            await self._tried.wait()

    def back(self, channels: Collection[str] | None) -> None:
        """Some messages may have been missed, or all (None): the broker's server was away."""
        if channels is None or ALL in channels or inbox_of(self.id) in channels:
            self.table.excuse(self._now())
            if self._timer is not None:
                self._timer.cancel()
                self._go()
            elif self._ticking is not None:
                self._again = True

    async def receive(self, channel: str, event: str, data: object) -> None:
        """A message on a channel of the nodes. Nothing suspends here."""
        try:
            message = read(event, data)
            if message.node != self.id:
                self._receive(channel, event, message)
        except (Unreadable, InvalidData) as exc:
            self.ignored += 1
            if self.ignored == 1:
                logger.warning("a message of another node is ignored, as are more: %s", exc)

    async def ask(
        self,
        question: Callable[..., Question],
        item: type[T],
        *,
        longest: float | None,
        first: bool = False,
        may_refuse: bool = False,
    ) -> Gathered[T]:
        """Ask all other nodes; whoever does not answer is named, and it raises nothing.

        The arguments are those of :meth:`Questions.ask`.
        """
        if self.alone:
            return Gathered()
        try:
            if await self._opened() is None:
                return self.nobody(_ENDING)
            async with asyncio.timeout(_PATIENCE):
                await self.tried()
        except Exception as exc:
            return self.nobody(away(exc))
        if self.state is NodeState.JOINING:
            return self.nobody("the broker is away")
        if self.state is NodeState.CLOSED:
            return self.nobody(_ENDING)
        if not self.table and self._settled <= self._now():
            return Gathered()
        if len(self.questions) >= _QUESTIONS:
            return self.nobody(f"{_QUESTIONS} questions are waiting for answers here")
        return await self.questions.ask(
            question,
            item,
            longest=longest,
            first=first,
            settled=self._settled,
            may_refuse=may_refuse,
        )

    def nobody(self, reason: str) -> Gathered[Any]:
        """What is gathered where nobody can be asked."""
        reason = redacted(reason)
        known = [Missing(each.info, reason) for each in self.table.all]
        if not known and not self._has_joined and not self.alone:
            known = [Missing(None, reason)]
        return Gathered(missing=tuple(known))

    async def aclose(self, timeout: float) -> None:
        """Answer what was asked, for so many seconds at most, and say bye."""
        before, self.state = self.state, NodeState.CLOSED
        if self._timer is not None:
            self._timer.cancel()
        if self._ticking is not None:
            self._ticking.cancel()
            await asyncio.wait([self._ticking])
        self._tried.set()
        self.questions.all_lost(_ENDING)
        await self.answering.finish(timeout)
        if self._greeting:  # or whom they greet would hear of this node behind its last word
            await asyncio.wait(self._greeting.values())
        if before is NodeState.JOINED:
            try:
                await self._say(ALL, self._sign(), "bye", within=_FAREWELL)
            except Exception as exc:
                # They find it out by themselves.
                logger.info("the other nodes could not be told that this one ends: %r", exc)

    # Life

    def _arm(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._go)

    def _go(self) -> None:
        self._timer = None
        self._ticking = self._spawn(self._tick())

    async def _tick(self) -> None:
        pause = self._interval
        try:
            if self.state is NodeState.JOINED:
                await self._beat()
            elif not await self._join():
                pause = next(self._pauses)
        finally:
            self._tried.set()
            if self.state is not NodeState.CLOSED:
                # Not in step with others that were started at the same time.
                self._arm(0.0 if self._again else pause * (0.8 + 0.2 * self._random()))
                self._again = False

    async def _join(self) -> bool:
        assert self._broker is not None
        try:
            async with asyncio.timeout(_JOINING):
                await self._broker.subscribe(ALL)
                await self._broker.subscribe(inbox_of(self.id))
            self._settled = self._now() + _SETTLING
            await self._say(ALL, self._sign(), "hello", within=_JOINING)
        except Exception as exc:
            self._failed(exc)
            return False
        self._failing = False
        self._due = self._now()
        self.state = NodeState.JOINED
        self._has_joined = True
        return True

    async def _beat(self) -> None:
        late = self._now() - self._due > 2 * self._interval  # this process was stopped
        self._due = self._now()
        try:
            await self._say(ALL, self._sign(), "here", within=self._interval)
            await self._remind()
            self._failing = False
        except Exception as exc:
            self._failed(exc)
            late = True
        if late:
            self.table.excuse(self._now())
        self._sweep()

    async def _remind(self) -> None:
        """Tell who works for this node what it waits for: an answer may have been lost."""
        waiting = self.questions.remind(self._now() - _UNKNOWN * self._interval)
        reminding = [self._tell(node, Awaiting(self.id, ids)) for node, ids in waiting.items()]
        await asyncio.gather(*reminding)

    def _failed(self, exc: Exception) -> None:
        broker: object = self._broker
        if isinstance(broker, Supervised) and broker.outage is not None:
            return  # which the broker has logged
        if not self._failing:
            self._failing = True
            logger.warning("the other nodes cannot be told that this one is here: %r", exc)

    def _sweep(self) -> None:
        now = self._now()
        for node in self.table.all:
            if (reason := node.unfit(now)) is not None:
                self.questions.lost(node.sign.node, reason)
        for id in self.table.sweep(now):
            self.answering.gone(id)

    def _sign(self) -> Sign:
        me = self.info
        return Sign(me.id, me.host, me.pid, VERSION, self._interval, me.connections)

    # The bus

    def _receive(self, channel: str, event: str, message: Message) -> None:
        if self.state is NodeState.CLOSED:
            return
        known = self.table.get(message.node)
        if known is not None:
            known.heard = self._now()
        match message:
            case Sign():
                self._heard(event, message, to_all=channel == ALL)
            case Question():
                self.answering.receive(message)
            case Stop():
                self.answering.stop(message)
            case Taken() | Answer() | Lost():
                self.questions.receive(message)
            case Awaiting():
                self.answering.awaited(message)

    def _heard(self, event: str, sign: Sign, *, to_all: bool) -> None:
        if event == "bye":
            self.table.remove(sign.node)
            self.questions.lost(sign.node, "it has shut down")
            self.answering.gone(sign.node)
            return
        if not self.table.hear(sign, self._now()):
            raise Unreadable(f"there are {len(self.table)} nodes, and no room for one more")
        if event == "hello":
            if sign.node not in self._greeting:
                greeting = self._greeting[sign.node] = self._spawn(self._greet(sign.node))
                greeting.add_done_callback(lambda _: self._greeting.pop(sign.node))
        elif not to_all:
            # It has answered our hello, so it hears what we asked behind that.
            self.questions.expect(sign.node)

    async def _greet(self, node: str) -> None:
        try:
            await self._tell(node, self._sign(), "here")
        except Exception as exc:
            self._failed(exc)

    async def _tell(self, node: str, message: Message, sign: str = "") -> None:
        await self._say(inbox_of(node), message, sign, within=_PATIENCE)

    async def _tell_all(self, message: Message, *, within: float) -> None:
        await self._say(ALL, message, within=within)

    async def _say(self, channel: str, message: Message, sign: str = "", *, within: float) -> None:
        event, data = said(message, sign)
        assert self._broker is not None  # nothing is said before it is there
        async with asyncio.timeout(within):
            await self._broker.publish(channel, event, data)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
