"""docs/how-to/many-processes.md"""

import asyncio
import os
import socket

import aiohttp
import pytest

import docs.examples.howto.many_processes as many_processes
from tests.conftest import Serve
from tests.servers.valkey import ValkeyServer
from tests.ws.peer import peer


async def test_all_processes_are_asked_and_told_of(
    serve: Serve, valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKER", valkey.url)
    one, other = [await serve(many_processes.create_app()) for _ in range(2)]
    url = (other / "stream").with_query(user="anna")
    async with aiohttp.ClientSession() as http, peer(url) as client:

        async def answer() -> None:
            while True:
                frame = await client.receive()
                assert (frame["method"], frame["payload"]) == ("confirm", {"text": "Lunch?"})
                await client.send({"id": frame["id"], "response": {"yes": True}})

        answering = asyncio.create_task(answer())
        poll = (one / "poll").with_query(user="anna")
        while True:  # until both know each other
            async with http.post(poll) as response:
                if (said := await response.json())["of"]:
                    break
        assert said == {"yes": 1, "of": 1, "not asked": []}
        answering.cancel()
        async with http.get(one / "cluster") as response:
            info = await response.json()
        ids = [each.pop("id") for each in info["nodes"]]
        place = {"host": socket.gethostname(), "pid": os.getpid()}
        assert info == {
            "connections": 1,
            "channels": {},
            "nodes": [{**place, "connections": 0}, {**place, "connections": 1}],
            "missing": [],
            "ignored": 0,
            "dropped": 0,
        }
        async with http.get(other / "healthz") as response:
            assert (response.status, await response.json()) == (
                200,
                {"status": "ok", "node": ids[1], "connections": 1, "broker": {"status": "up"}},
            )
