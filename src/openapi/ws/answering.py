"""What other nodes ask of this one: each question is worked on by a task, and answered in parts.

A question that takes a while is answered :class:`Taken` first. While the broker is away, an answer
waits until it is back; what is :class:`Awaiting` and not worked on is :class:`Lost`.

Only so many are worked on at once; one more is refused as busy, and of refusals there are only so
many on their way: beyond that the question is dropped, and whoever asked finds that there is no
answer.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import Any, Final, TypeAlias

from openapi.errors import BrokerUnavailable, InvalidData, Unserializable
from openapi.protocol.backoff import delays
from openapi.schema import encode_json
from openapi.ws.background import stop
from openapi.ws.faults import Fault, fault_of
from openapi.ws.node_messages import (
    MOST_BYTES,
    Answer,
    Awaiting,
    Lost,
    Message,
    Question,
    ReplyItem,
    Stop,
    Taken,
)

__all__ = ["Answering", "Items", "Work"]

logger = logging.getLogger(__name__)

Items: TypeAlias = Sequence[object]
Work: TypeAlias = Coroutine[Any, Any, Items]
"""What finds the items of an answer, and takes a while."""

#: Questions that are worked on, and refusals that are on their way.
_AT_ONCE: Final = 256
#: The pauses between tries to send an answer: the first ceiling, and the last.
_FIRST: Final = 0.1
_CAP: Final = 1.0
#: Questions of which another copy is passed over.
_REMEMBERED: Final = 1024
#: Bytes of items in one part, as JSON; an item that is longer goes by itself.
_PART_BYTES: Final = 256 * 1024
_ITEM_BYTES: Final = MOST_BYTES - 1024
_PARTS: Final = 64


class _NotTaken(Exception):
    """Whoever asked could not be told that there is something to do, which was not begun."""


class Answering:
    """Answers questions in the name of ``node``.

    ``answer`` is given a question, and returns the items, or what finds them. ``say`` sends a
    message to a node.
    """

    def __init__(
        self,
        node: str,
        *,
        answer: Callable[[Question], Items | Work],
        say: Callable[[str, Message], Awaitable[None]],
        spawn: Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"],
        most: int = _AT_ONCE,
        random: Callable[[], float] = random.random,
    ) -> None:
        self.dropped = 0
        """Questions for which there was not even room to refuse them."""
        self._node = node
        self._answer = answer
        self._say = say
        self._spawn = spawn
        self._most = most
        self._random = random
        self._tasks: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._refusing = 0
        self._seen: deque[tuple[str, int]] = deque(maxlen=_REMEMBERED)

    def __len__(self) -> int:
        return len(self._tasks)

    def receive(self, question: Question) -> None:
        """Begin to answer a question, unless it has come before."""
        key = question.node, question.id
        if key in self._seen:
            return
        if len(self._tasks) < self._most:
            self._seen.append(key)
            task = self._spawn(self._work(question))
            self._tasks[key] = task
            task.add_done_callback(lambda _: self._tasks.pop(key))
        elif self._refusing < self._most:
            self._seen.append(key)
            busy = Fault("", f"it is busy: {self._most} questions are worked on")
            self._refuse(question.node, Answer(question.id, self._node, 0, True, [], busy))
        else:
            self.dropped += 1

    def stop(self, message: Stop) -> None:
        """Whoever asked does not wait any more."""
        task = self._tasks.get((message.node, message.id))
        if task is not None:
            stop([task])

    def awaited(self, message: Awaiting) -> None:
        """Say what is not worked on any more: if it was answered, that was before this."""
        lost = [id for id in message.ids if (message.node, id) not in self._tasks]
        if lost and self._refusing < self._most:  # or it is asked again
            self._refuse(message.node, Lost(self._node, lost))

    def gone(self, node: str) -> None:
        """A node is gone: nobody waits for what it asked."""
        stop([task for (asker, _), task in self._tasks.items() if asker == node])

    async def finish(self, timeout: float) -> None:
        """Wait so many seconds until all is answered, and stop the rest."""
        if tasks := set(self._tasks.values()):
            _, late = await asyncio.wait(tasks, timeout=timeout)
            stop(late)

    async def _work(self, question: Question) -> None:
        items: Items = ()
        fault: Fault | None = None
        try:
            answer = self._answer(question)
            if isinstance(answer, Coroutine):
                try:
                    await self._take(question)
                    items = await answer
                finally:
                    answer.close()  # harmless where it has begun
            else:
                items = answer
        except Exception as exc:
            fault = self._fault(question, exc)
        try:
            for part in self._parts(question, items, fault):
                await self._send(question.node, part)
        except Exception as exc:
            logger.warning("an answer to another node could not be sent: %r", exc)
            if self._refusing < self._most:  # or it is said when that is asked
                self._refuse(question.node, Lost(self._node, [question.id]))

    async def _take(self, question: Question) -> None:
        try:
            await self._say(question.node, Taken(question.id, self._node))
        except Exception as exc:
            raise _NotTaken(f"it could not say that it heard the question: {exc}") from exc

    async def _send(self, node: str, part: Answer) -> None:
        """Say it, and again for as long as the broker is away."""
        pauses = delays(self._random, first=_FIRST, cap=_CAP)
        while True:
            try:
                await self._say(node, part)
            except (BrokerUnavailable, OSError):  # a TimeoutError is one: a part may come twice
                await asyncio.sleep(next(pauses))
            else:
                return

    def _fault(self, question: Question, exc: Exception) -> Fault:
        if isinstance(exc, _NotTaken):
            return Fault("", str(exc))
        try:
            fault = fault_of(exc)
        except (InvalidData, Unserializable):  # the data that somebody gave it
            fault = None
        if fault is not None and len(encode_json(fault)) > _ITEM_BYTES:
            return Fault("", f"it refused: an error that is too long to travel, {fault.text[:100]}")
        if fault is not None:
            return fault
        name = type(question).__name__
        logger.error("a question of another node failed: %s", name, exc_info=exc)
        return Fault("", "it failed there, and the log says how")

    def _refuse(self, node: str, message: Answer | Lost) -> None:
        self._refusing += 1
        self._spawn(self._tell(node, message))

    async def _tell(self, node: str, message: Answer | Lost) -> None:
        try:
            await self._say(node, message)
        except Exception as exc:
            logger.info("another node could not be told that it gets no answer: %r", exc)
        finally:
            self._refusing -= 1

    def _parts(self, question: Question, items: Items, fault: Fault | None) -> Iterator[Answer]:
        number, part, size = 0, list[Any](), 0
        for item in items:
            length = len(encode_json(item))
            if length > _ITEM_BYTES:
                text = f"an answer of {length} bytes is too long to travel between processes"
                if not isinstance(item, ReplyItem):
                    fault = Fault("", text)
                    continue
                fits = Fault("UnexpectedData", errors={"": text})
                item = ReplyItem(item.socket_id, fault=fits)
                length = len(encode_json(item))
            if part and size + length > _PART_BYTES:
                yield Answer(question.id, self._node, number, False, part)
                number, part, size = number + 1, [], 0
                if number == _PARTS - 1:
                    fault = Fault("", f"it has more to say than {_PARTS} parts of an answer hold")
                    break
            part.append(item)
            size += length
        yield Answer(question.id, self._node, number, True, part, fault)
