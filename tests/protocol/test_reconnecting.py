"""When a client connects, waits and gives up: ``wire/reconnecting.json``, step by step."""

import json
from pathlib import Path
from typing import Any

import pytest

from openapi.protocol.backoff import Backoff
from openapi.protocol.reconnecting import ClientState, Reconnecting

VECTORS = json.loads((Path(__file__).parents[2] / "wire/reconnecting.json").read_text())["vectors"]
EVENTS = {"opened", "failed", "lost", "told", "began", "hurry", "close"}


def take(client: Reconnecting, step: dict[str, Any]) -> None:
    """Have one thing happen."""
    now = step["at"]
    match step:
        case {"event": "opened"}:
            client.opened(now)
        case {"event": "failed", "again": again}:
            client.failed(now, again=again, after=step.get("after", 0))
        case {"event": "lost", "again": again}:
            client.lost(now, again=again)
        case {"event": "told", "after": after}:
            client.told(now, after)
        case {"event": "began"}:
            client.began()
        case {"event": "hurry"}:
            client.hurry(now)
        case {"event": "close"}:
            client.close()
        case _:
            raise AssertionError(f"nothing that happens to a client: {step}")


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_a_client_is_where_the_table_says(vector: dict[str, Any]) -> None:
    rolls = iter(vector["random"])
    client = Reconnecting(Backoff(**vector.get("options", {})), random=lambda: next(rolls))
    assert (client.state, client.due, client.attempting) == (ClientState.CONNECTING, None, True)
    for number, step in enumerate(vector["steps"]):
        take(client, step)
        where = (client.state.value, client.due, client.attempting)
        assert where == (step["state"], step["due"], step["attempting"]), f"step {number}: {step}"
    assert list(rolls) == [], "not all of the dice were rolled"


def test_the_vectors_have_each_event_in_each_state() -> None:
    met = set()
    for vector in VECTORS:
        state = "connecting"
        for step in vector["steps"]:
            met.add((state, step["event"]))
            state = step["state"]
    states = [state.value for state in ClientState if state is not ClientState.CLOSED]
    assert met >= {(state, event) for state in states for event in EVENTS}
