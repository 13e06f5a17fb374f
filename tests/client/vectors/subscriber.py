"""A subscription of the client, and what its reader must get by what has come."""

import asyncio
import re
from typing import Any, Final, TypeAlias

from openapi.client import Client, Member, Message, Position, PositionLost, Subscription
from openapi.errors import CallFailed, OpenApiError
from tests.client.vectors.results import message_of, position_of, type_of
from tests.client.vectors.tap import Frame

__all__ = ["Subscriber"]

Got: TypeAlias = Message[Any] | tuple[str, Any, Any]
"""A message; or why there is none, with what that says."""

_TOKENS: Final = re.compile(r"\*|\?|\[(!?)([^]]+)\]|.", re.DOTALL)


class Subscriber:
    """One subscription. Everything that it gives is read at once.

    ``payload`` is what the conversation asks for, ``timeout`` is in seconds. The subscription is
    entered, read and left by one task.
    """

    def __init__(self, client: Client, payload: Frame, *, timeout: float | None) -> None:
        self.channel: str = payload["channel"]
        self.event: str = payload.get("event") or "*"
        self.presence = payload.get("presence") is True
        self.asked = position_of(payload.get("recover"))
        self.subscription: Subscription[Any] = client.subscribe(
            self.channel,
            self.event,
            type=type_of(self.channel),
            recover=self.asked,
            presence=self.presence,
            timeout=timeout,
        )
        self.is_open = False
        """Whether the server has agreed, and nobody has taken it back."""
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when it is entered, or cannot be."""
        self.task = asyncio.create_task(self._run())
        self._pattern = _expression(self.event)
        self._position = self.asked  # right behind the last message that its reader gets
        self._begins = 0  # messages behind this one are for it
        self._dropped = 0
        self._expected: list[Got] = []
        self._got: list[Got] = []

    def agreed(self, response: Frame) -> None:
        """The server has agreed."""
        position = position_of(response)
        recovered = response.get("recovered")
        self.is_open = True
        self._begins = position.offset if position is not None else 0
        self._position = self.asked if recovered else position
        assert self.subscription.recovered == (None if self.asked is None else recovered)
        for message in response.get("messages", ()):
            self._expect(message)

    def came(self, frame: Frame) -> None:
        """Something has come on a channel."""
        if not self.is_open or frame["channel"] != self.channel:
            return
        match frame:
            case {"event": "$join" | "$leave" as event, "data": data}:
                if self.presence:
                    member = Member(data["id"], data.get("user"), data.get("info"))
                    self._expected.append(Message(self.channel, event, member))
            case {"event": "$lagged", "data": {"dropped": dropped}}:
                self._dropped += dropped
            case {"event": "$reset", "data": {"offset": offset, "epoch": epoch}}:
                self._begins, self._position = offset, Position(offset, epoch)
                self._expected.append(("lost", offset, epoch))
            case {"event": "$unsubscribed", "data": {"events": events, **why}}:
                if self.event in events or (self.presence and "$join" in events):
                    self.is_open = False
                    self._expected.append(("failed", why["code"], why["message"]))
            case {"event": "$subscribed"}:
                pass
            case {"event": event}:
                if self._pattern.fullmatch(event) and frame.get("offset", 2**64) > self._begins:
                    self._expect(frame)

    def leave(self) -> None:
        """Its reader leaves: whatever comes is not for it."""
        self.is_open = False
        self.task.cancel()

    def check(self) -> None:
        """See that its reader got all that it must, in order, and no more."""
        assert self.subscription.dropped == self._dropped
        assert self.subscription.position == self._position
        got = list(self._got)
        for index, expected in enumerate(self._expected):
            # What waited to be read when messages were lost is forgotten.
            lost = next((each for each in self._expected[index:] if _is_lost(each)), None)
            if lost is not None and lost is not expected and got[:1] == [lost]:
                continue
            assert got[:1] == [expected]
            del got[0]
        assert not got, "more came to the reader than to the connection"

    def _expect(self, message: Frame) -> None:
        if self._position is not None and "offset" in message:
            self._position = Position(message["offset"], self._position.epoch)
        self._expected.append(message_of(message, self._position))

    async def _run(self) -> None:
        try:
            async with self.subscription as messages:
                self.opened.set_result(None)
                while await self._read(messages):
                    pass
        except (OpenApiError, TimeoutError) as exc:
            if self.opened.done():
                raise
            self.opened.set_exception(exc)
        finally:
            if not self.opened.done():
                self.opened.cancel()

    async def _read(self, messages: Subscription[Any]) -> bool:
        """Read until something else comes than a message. Returns whether it goes on."""
        try:
            async for message in messages:
                self._got.append(message)
        except PositionLost as exc:
            assert exc.channel == self.channel
            self._got.append(("lost", exc.offset, exc.epoch))
            return True
        except CallFailed as exc:
            self._got.append(("failed", exc.code, exc.message))
        return False


def _is_lost(got: Got) -> bool:
    return isinstance(got, tuple) and got[0] == "lost"


def _expression(pattern: str) -> re.Pattern[str]:
    """A pattern as a regular expression: the test's own reading of ``wire/README.md``."""
    return re.compile("".join(map(_part, _TOKENS.finditer(pattern))), re.DOTALL)


def _part(token: re.Match[str]) -> str:
    match token[0], token[1], token[2]:
        case "*", _, _:
            return ".*"
        case "?", _, _:
            return "."
        case _, str(negated), str(members):
            escaped = re.sub(r"[\\^[]", r"\\\g<0>", members)
            return f"[{'^' if negated else ''}{escaped}]"
        case text, _, _:
            return re.escape(text)
