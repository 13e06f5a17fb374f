"""What one writes with fastapi-websocket-rpc, on uvicorn: pydantic validates order and receipt."""

import socket
from typing import Any

import uvicorn  # type: ignore[import-not-found] # it is in an environment of its own
import uvloop
from fastapi import FastAPI  # type: ignore[import-not-found]
from fastapi_websocket_rpc import (  # type: ignore[import-not-found]
    RpcMethodsBase,
    WebsocketRPCEndpoint,
)
from pydantic import BaseModel


class Order(BaseModel):
    id: int
    item: str
    price: float
    express: bool
    note: str


class Receipt(BaseModel):
    id: int
    total: float
    text: str


class Methods(RpcMethodsBase):  # type: ignore[misc] # its class is not known here
    """What may be called."""

    async def order(self, **arguments: Any) -> Receipt:
        """Compute the receipt of an order; the library hands over what it was sent."""
        order = Order.model_validate(arguments)
        return Receipt(id=order.id, total=order.price * 1.2, text=order.note)


async def serve() -> None:
    """Serve on a free port of 127.0.0.1, until it is ended."""
    app = FastAPI()
    WebsocketRPCEndpoint(Methods()).register_route(app, "/ws")
    listening = socket.create_server(("127.0.0.1", 0), backlog=4096)
    config = uvicorn.Config(
        app,
        log_level="error",
        access_log=False,
        backlog=4096,
        ws_ping_interval=None,
        ws_per_message_deflate=False,
    )
    print(listening.getsockname()[1], flush=True)
    await uvicorn.Server(config).serve(sockets=[listening])


if __name__ == "__main__":
    uvloop.run(serve())
