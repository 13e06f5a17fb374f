"""The conversations of ``wire/vectors``, held with a real server. See ``wire/README.md``."""

import asyncio
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import fields
from inspect import signature
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from openapi import client
from openapi.errors import CloseCode, ErrorCode, may_reconnect
from openapi.ws import Limits, WsPathMixin
from openapi.ws.pubsub import Publish, Subscribe
from tests.conftest import Serve
from tests.wire_dialects import DIALECTS, NATIVE
from tests.wire_endpoint import CHANNELS, Endpoint, application
from tests.wire_replay import Replay

Row: TypeAlias = list[str]

WIRE = Path(__file__).parents[1] / "wire"
CONTRACT = (WIRE / "README.md").read_text("utf-8")
VECTORS = {
    f"{path.stem}: {vector['name']}": vector
    for path in sorted((WIRE / "vectors").glob("*.json"))
    for vector in json.loads(path.read_text("utf-8"))["vectors"]
}

#: Steps that say what is written, and not what is meant by it.
EXACT = ("send_text", "send_binary", "send_fragments", "send_frames")

# What the contract defines for later.
RESERVED_CLOSINGS = {
    CloseCode.CREDENTIALS_EXPIRED,
    CloseCode.POSITION_LOST,
    CloseCode.TOO_MANY_CONNECTIONS,
}
NEVER_SENT = {CloseCode.NO_STATUS, CloseCode.ABNORMAL}
# It takes a clock, a peer that stops reading, more than a thousand calls, other limits than the
# defaults, a broker that is away, or an application with a fault, to come here: tests of the
# server's own do that.
UNHURRIED_ERRORS = {ErrorCode.BROKER_UNAVAILABLE}
UNHURRIED_CLOSINGS = {CloseCode.NO_PONG, CloseCode.TOO_SLOW, CloseCode.INTERNAL_ERROR}
UNHURRIED_LIMITS = {
    "call_timeout",
    "close_timeout",
    "keys",
    "node_interval",
    "outbox_bytes",
    "ping_interval",
    "pong_timeout",
    "position_check",
    "presence_grace",
    "presence_interval",
    "presence_ttl",
    "shielded",
}
CLIENT_FRAMES = {"call", "notification", "cancel", "answer"}
SERVER_FRAMES = {"result", "failure", "item", "message", "reconnect"}
SERVER_CALLS = {"server call", "server notification", "server cancel"}
FRAMES = CLIENT_FRAMES | SERVER_FRAMES | SERVER_CALLS
EVENTS = {"$join", "$lagged", "$leave", "$reset", "$subscribed", "$unsubscribed"}
METHODS = {"history", "presence", "publish", "subscribe", "unsubscribe"}
OTHERS = {"application error", "key", "lane", "recover", "shield", "timeout"}
# What does not depend on how a message is written, or is written in each dialect differently.
EVERYWHERE: set[str | int] = (
    {int(code) for code in set(ErrorCode) - UNHURRIED_ERRORS} | FRAMES | EVENTS | METHODS | OTHERS
)
ROWS: set[str | int] = (
    EVERYWHERE
    | {int(code) for code in set(CloseCode) - RESERVED_CLOSINGS - NEVER_SENT - UNHURRIED_CLOSINGS}
    | {field.name for field in fields(Limits)} - UNHURRIED_LIMITS
    | DIALECTS.keys()
)


def held_in(vector: dict[str, Any]) -> list[str]:
    """The dialects in which a conversation is held.

    One that says nothing of them, and what its clients mean instead of what they write, is held in
    all of them.
    """
    if "dialects" in vector:
        dialects: list[str] = vector["dialects"]
        return dialects
    exact = any(key in step for step in vector["steps"] for key in EXACT)
    return [NATIVE] if exact or any(vector.get("connections", {}).values()) else [*DIALECTS]


def shown_in(vector: dict[str, Any]) -> set[str]:
    """The dialects in which a conversation shows what it covers."""
    options = [each for each in vector.get("connections", {}).values() if each]
    spoken = {each.get("speaks") or each.get("selects") or NATIVE for each in options}
    return spoken or {*held_in(vector)}


CONVERSATIONS = {
    name if len(held_in(vector)) == 1 else f"{name} ({dialect})": (vector, dialect)
    for name, vector in VECTORS.items()
    for dialect in held_in(vector)
}


@pytest.mark.parametrize(("vector", "dialect"), CONVERSATIONS.values(), ids=CONVERSATIONS.keys())
async def test_the_server_holds_the_conversation(
    vector: dict[str, Any], dialect: str, serve: Serve
) -> None:
    app = application()
    url = (await serve(app)) / "stream"
    async with asyncio.timeout(20), AsyncExitStack() as stack:
        replay = Replay(url, app, dialect)
        for name, options in vector.get("connections", {"a": {}}).items():
            await replay.connect(stack, name, options)
        for step in vector["steps"]:
            await replay.step(step)
        await replay.finish()


@pytest.mark.parametrize("row", sorted(ROWS, key=str))
def test_every_row_of_the_contract_has_a_vector(row: str | int) -> None:
    assert any(row in vector.get("covers", ()) for vector in VECTORS.values())


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("row", sorted(EVERYWHERE, key=str))
def test_every_frame_and_every_error_is_shown_in_every_dialect(
    row: str | int, dialect: str
) -> None:
    vectors = [vector for vector in VECTORS.values() if row in vector.get("covers", ())]

    assert any(dialect in shown_in(vector) for vector in vectors)


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS.keys())
def test_a_vector_covers_rows_that_exist_and_shows_the_codes_that_it_covers(
    vector: dict[str, Any],
) -> None:
    covered = set(vector.get("covers", ()))
    shown = set(codes_in(vector["steps"]))

    assert covered <= ROWS
    assert {row for row in covered if isinstance(row, int)} <= shown


def test_the_contract_has_every_error_code() -> None:
    assert {int(row[0].replace("−", "-")) for row in rows("Errors") if row[0][0] in "−"} == {
        int(code) for code in ErrorCode
    }


def test_the_contract_says_for_every_close_code_whether_a_client_comes_back() -> None:
    said = {int(code): row[-1] for row in rows("Close codes") for code in row[0].split(", ")}

    assert said == {int(code): "yes" if may_reconnect(code) else "no" for code in CloseCode}


def test_the_contract_says_which_codes_are_reserved() -> None:
    closings = {int(row[0]) for row in rows("Close codes") if row[2] == "reserved"}

    assert not [row for row in rows("Errors") if row[2] == "reserved"]
    assert closings == {int(code) for code in RESERVED_CLOSINGS}


def test_the_contract_has_every_limit_with_its_default() -> None:
    said = {row[0].strip("`"): row[1] for row in rows("Limits")}

    assert said == {
        field.name: "none" if field.default is None else f"{field.default:,}"
        for field in fields(Limits)
    }


def test_the_contract_has_the_bounds_of_the_client() -> None:
    opening, subscribing = signature(client.connect), signature(client.Client.subscribe)
    assert opening.parameters["message_bytes"].default == 4 * 1024**2
    assert opening.parameters["calls"].default == 64
    for function in (opening, subscribing):
        assert function.parameters["queue_bytes"].default == 1024**2

    said = CONTRACT.partition("## Limits")[2].partition("\n|")[0]
    for text in ("`message_bytes` (4 MiB)", "`calls` (64)", "`queue_bytes` (1 MiB)"):
        assert text in said


def test_the_contract_has_the_methods_of_the_mixins() -> None:
    class Both(Subscribe, Publish, WsPathMixin):
        pass

    said = {row[0].strip("`") for row in tables("Publish and subscribe")[0]}

    assert said == METHODS == set(Both.rpc_methods)


def test_the_contract_has_every_event_of_the_server() -> None:
    events = {row[0].strip("`") for row in tables("What the server says")[0]}

    assert events == EVENTS


def test_the_contract_describes_the_server_of_the_vectors() -> None:
    channels, methods = tables("The server of the vectors")
    said = {row[0].strip("`").replace("…", "*") for row in channels}

    assert {rule.name for rule in CHANNELS} <= said
    assert {row[0].strip("`") for row in methods} == set(Endpoint.rpc_methods) - METHODS


def test_vectors_have_names_of_their_own() -> None:
    names = [vector["name"] for vector in VECTORS.values()]

    assert len(set(names)) == len(names)


def rows(heading: str) -> Sequence[Row]:
    """The one table below a heading of the contract."""
    (table,) = tables(heading)
    return table


def tables(heading: str) -> Sequence[Sequence[Row]]:
    """The cells of the tables between a heading of the contract and the next one.

    Without their own headings.
    """
    section = re.split(rf"^#+ {heading}$", CONTRACT, flags=re.M)[1]
    section = re.split(r"^#+ ", section, flags=re.M)[0]
    blocks = [block.splitlines() for block in section.split("\n\n") if block.startswith("|")]
    return [[[*map(str.strip, line.strip("|").split(" | "))] for line in b[2:]] for b in blocks]


def codes_in(value: Any) -> Iterator[int]:
    """Every code that a conversation shows."""
    if isinstance(value, list):
        for item in value:
            yield from codes_in(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key in ("code", "closed") and isinstance(item, int):
                yield item
            yield from codes_in(item)
