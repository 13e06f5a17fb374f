# mypy: disable-error-code="import-not-found"
# [tests]
"""Tests of the chat."""

import asyncio

import pytest
from chat import create_app

from openapi.errors import CallFailed
from openapi.testing import serve, virtual_time


@virtual_time
async def test_what_one_says_the_other_hears() -> None:
    async with (
        serve(create_app()) as server,
        server.connect("/chat?name=alan") as alan,
        server.connect("/chat?name=eve") as eve,
    ):
        await eve.join("room:lobby")
        await alan.call("say", {"text": "Hello"})
        await eve.expect("room:lobby", "said", data={"name": "alan", "text": "Hello"})


@virtual_time
async def test_who_is_cut_off_for_ten_minutes_misses_nothing() -> None:
    async with (
        serve(create_app()) as server,
        server.connect("/chat?name=alan") as alan,
        server.connect("/chat?name=eve") as eve,
    ):
        await eve.join("room:lobby")
        eve.link.refusing = True
        eve.link.cut()
        for text in ("one", "two"):
            await alan.call("say", {"text": text})
        await asyncio.sleep(600)
        eve.link.heal()
        for text in ("one", "two"):
            await eve.expect("room:lobby", data={"name": "alan", "text": text}, timeout=30)
        await eve.expect_nothing("room:lobby")


@virtual_time
async def test_what_is_said_twice_with_one_key_is_said_once() -> None:
    async with (
        serve(create_app()) as server,
        server.connect("/chat?name=alan") as alan,
    ):
        await alan.join("room:lobby")
        for _ in range(2):
            await alan.call("say", {"text": "Hello", "key": "1"})
        await alan.expect("room:lobby", "said")
        await alan.expect_nothing("room:lobby")


@virtual_time
async def test_the_room_of_the_staff_is_theirs() -> None:
    async with (
        serve(create_app()) as server,
        server.connect("/chat?name=ada&secret=1815") as ada,
        server.connect("/chat?name=eve") as eve,
    ):
        await ada.join("room:staff")
        with pytest.raises(CallFailed, match="Not allowed"):
            await eve.join("room:staff")
        with pytest.raises(CallFailed, match="You may not speak in staff"):
            await eve.call("say", {"text": "Hello", "room": "staff"})
        await ada.expect_nothing("room:staff")


# [/tests]
