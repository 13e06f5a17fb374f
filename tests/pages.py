"""What the how-to pages show, for the tests that have it happen."""

import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from tests.cli.process import ROOT
from tests.ws.peer import Peer

Cause: TypeAlias = Callable[[dict[str, Any]], Awaitable[object]]


def blocks_of(page: str, language: str) -> list[str]:
    """The texts of the blocks of one language."""
    text = (ROOT / "docs/how-to" / page).read_text("utf-8")
    return [block.partition("```")[0] for block in text.split(f"```{language}\n")[1:]]


def conversation(page: str, number: int) -> list[tuple[str, Any]]:
    """The conversations that a page shows, from 1: what a client sends (→), and gets (←).

    A line that begins with blanks goes on with the one above.
    """
    shown = blocks_of(page, "text")[number - 1].replace("\n   ", "")
    return [(line[0], json.loads(line[2:])) for line in shown.splitlines()]


async def converse(client: Peer, page: str, number: int, cause: Cause | None = None) -> None:
    """Have a conversation of a page.

    ``cause`` is awaited with each message that the page has of a channel, before it is received.
    """
    for direction, frame in conversation(page, number):
        if direction == "→":
            await client.send(frame)
            continue
        if cause is not None and "channel" in frame:
            await cause(frame)
        assert await client.receive() == frame


async def round_trip(client: Peer) -> None:
    """Return when the server has done all that was begun before."""
    await (await client.socket.ping())
