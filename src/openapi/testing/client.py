"""A client that a test speaks with: what it expects comes, or the test fails and says what did."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from aiohttp import ClientSession
from yarl import URL

from openapi.client import Client, Message, Subscription, connect
from openapi.testing.connector import Listening, MemoryConnector
from openapi.testing.link import Link
from openapi.testing.mailbox import ANYTHING, Mailbox

__all__ = ["SocketClient", "connected"]

if TYPE_CHECKING:
    _Like = Client
else:
    _Like = object


class SocketClient(_Like):
    """All that a :class:`~openapi.client.Client` is, and what a test wants besides.

        await client.join("tasks")
        await client.call("add", {"title": "tea"})
        message = await client.expect("tasks", "added")
        await client.expect_nothing("tasks")

    Join first, then have something happen, then expect it: what came since is kept until it is
    expected, whatever came before it. So nothing depends on who is faster.
    """

    def __init__(self, client: Client, link: Link) -> None:
        self.link: Final = link
        """The network between it and its server: what may go wrong there is up to the test."""
        self._client = client
        self._joined: dict[str, Mailbox] = {}

    # The client is made by `connect`, so this is not one, but has everything of one.
    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            return getattr(self._client, name)

    async def join(self, channel: str, event: str = "*", **options: Any) -> Subscription[Any]:
        """Subscribe, to expect the messages of a channel from now on.

        The options, and what it raises, are those of :meth:`~openapi.client.Client.subscribe`.
        Returns the subscription, whose messages are not to be read by anybody else.

        Raises ValueError for a channel that is joined already.
        """
        if channel in self._joined:
            raise ValueError(f"{channel!r} is joined already: leave it first")
        subscription: Subscription[Any] = self._client.subscribe(channel, event, **options)
        mailbox = self._joined[channel] = Mailbox(subscription)
        try:
            await subscription.__aenter__()
        except BaseException:  # whoever joins was cancelled, perhaps
            del self._joined[channel]
            raise
        return mailbox.subscription

    async def leave(self, channel: str) -> None:
        """Unsubscribe from a channel that was joined, and forget what came."""
        mailbox = self._mailbox(channel)
        del self._joined[channel]
        await mailbox.subscription.__aexit__(None, None, None)

    async def expect(
        self, channel: str, event: str = "*", *, data: object = ANYTHING, timeout: float = 1.0
    ) -> Message[Any]:
        """Take the oldest message of a joined channel that fits, or wait for one.

        ``event`` is a pattern. ``data`` is what the message's data must be equal to, if it is
        given. Messages that do not fit stay, to be expected later.

        Raises AssertionError, which shows what came instead, when there is none after ``timeout``
        seconds or the subscription has ended; PositionLost and UnexpectedData as reading does;
        LookupError for a channel that is not joined.
        """
        __tracebackhide__ = True
        return await self._mailbox(channel).expect(event, data, timeout)

    async def expect_nothing(self, channel: str, event: str = "*", *, within: float = 0.1) -> None:
        """Wait ``within`` seconds, and fail if there is a message that fits.

        One that came before fails it too, unless it was expected. Raises as :meth:`expect` does.
        """
        __tracebackhide__ = True
        await self._mailbox(channel).expect_nothing(event, within)

    def _mailbox(self, channel: str) -> Mailbox:
        mailbox = self._joined.get(channel)
        if mailbox is None:
            raise LookupError(
                f"{channel!r} is not joined: `await client.join({channel!r})`, before what is"
                " expected happens"
            )
        return mailbox


@asynccontextmanager
async def connected(
    url: URL, find: Callable[[str], Listening], *, link: Link | None = None, **options: Any
) -> AsyncIterator[SocketClient]:
    """Connect a client over a link to what ``find`` returns for a host. See :meth:`Server.connect`.

    Behind the test, connections over a link that has faults are reset: to say goodbye could take
    as long as they last.
    """
    link = link or Link()
    connector = MemoryConnector(link, find)
    async with (
        ClientSession(connector=connector) as session,
        connect(url, session=session, **options) as client,
    ):
        try:
            yield SocketClient(client, link)
        finally:
            if link.faulty:
                connector.cut()
