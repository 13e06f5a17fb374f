"""What one writes with picows alone, as its documentation does: a listener, and no task for a call.

JSON is parsed, and nothing is validated.
"""

from collections import defaultdict
from typing import Any

import orjson  # type: ignore[import-not-found] # it is in an environment of its own
import uvloop
from picows import (  # type: ignore[import-not-found]
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    ws_create_server,
)

CHANNELS: dict[str, set[WSTransport]] = defaultdict(set)


def order(payload: Any) -> object:
    """Compute the receipt of an order."""
    return {"id": payload["id"], "total": payload["price"] * 1.2, "text": payload["note"]}


def publish(payload: Any) -> None:
    """Send a message to all connections of its channel."""
    message = orjson.dumps(payload)
    for each in CHANNELS[payload["channel"]]:
        each.send(WSMsgType.TEXT, message)


class Listener(WSListener):  # type: ignore[misc] # its class is not known here
    """One connection."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Answer a call."""
        if frame.msg_type == WSMsgType.TEXT:
            call = orjson.loads(frame.get_payload_as_memoryview())
            method, payload, response = call["method"], call["payload"], None
            if method == "order":
                response = order(payload)
            elif method == "publish":
                publish(payload)
            elif method == "subscribe":
                CHANNELS[payload["channel"]].add(transport)
            answer = {"id": call["id"], "method": method, "response": response}
            transport.send(WSMsgType.TEXT, orjson.dumps(answer))
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Forget the connection."""
        for subscribed in CHANNELS.values():
            subscribed.discard(transport)


def listener(request: WSUpgradeRequest) -> Listener:
    """Take a connection."""
    return Listener()


async def serve() -> None:
    """Serve on a free port of 127.0.0.1, until it is ended."""
    server = await ws_create_server(listener, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve())
