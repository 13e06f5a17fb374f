"""The conversations of ``wire/vectors``, held by the client. See ``wire/README.md``.

What a client can say is said by its functions, and what it sends is compared with what the
conversation has. What comes is looked at twice: as it is on the wire, and as the application gets
it.
"""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.client.vectors.replay import Replay, is_of_client
from tests.conftest import Serve
from tests.test_vectors import CONVERSATIONS
from tests.wire_dialects import JSONRPC
from tests.wire_endpoint import application


def is_of_json_rpc(vector: dict[str, Any], dialect: str) -> bool:
    """Whether nobody in it speaks another dialect than JSON-RPC 2.0, which the client does not."""
    options = vector.get("connections", {"a": {}}).values()
    speaks = {each.get("speaks") or each.get("selects") or dialect for each in options}
    return speaks == {JSONRPC}


def is_of_http(vector: dict[str, Any]) -> bool:
    """Whether all that happens are requests that no client makes, which get no WebSocket."""
    steps = vector["steps"]
    return bool(steps) and all("request" in step and not is_of_client(step) for step in steps)


IN_JSON_RPC = {name for name, held in CONVERSATIONS.items() if is_of_json_rpc(*held)}
IN_HTTP = {name for name, (vector, _) in CONVERSATIONS.items() if is_of_http(vector)} - IN_JSON_RPC
HELD = {name: held for name, held in CONVERSATIONS.items() if name not in IN_JSON_RPC | IN_HTTP}


@pytest.mark.parametrize(("vector", "dialect"), HELD.values(), ids=HELD.keys())
async def test_the_client_holds_the_conversation(
    vector: dict[str, Any], dialect: str, serve: Serve
) -> None:
    app = application()
    url = (await serve(app)) / "stream"
    async with asyncio.timeout(20), AsyncExitStack() as stack:
        replay = Replay(url, app, dialect, vector["steps"])
        for name, options in vector.get("connections", {"a": {}}).items():
            await replay.connect(stack, name, options)
        await replay.run()
        await replay.finish()


def test_all_are_held_but_those_in_json_rpc_and_requests_that_no_client_makes() -> None:
    print(f"{len(HELD)} of {len(CONVERSATIONS)} conversations are held")  # noqa: T201 - with -rP

    assert len(IN_JSON_RPC) == 271
    assert len(IN_HTTP) == 6
    assert len(HELD) == len(CONVERSATIONS) - 271 - 6
