"""What one writes with aiohttp-rpc: JSON-RPC 2.0, whose parameters are bound to a signature."""

import asyncio

import orjson  # type: ignore[import-not-found] # it is in an environment of its own
import uvloop
from aiohttp import web
from aiohttp_rpc.middlewares import DEFAULT_MIDDLEWARES
from aiohttp_rpc.server import WSJSONRPCServer


async def order(id: int, item: str, price: float, express: bool, note: str) -> object:
    """Compute the receipt of an order."""
    return {"id": id, "total": price * 1.2, "text": note}


def dumps(value: object) -> str:
    """Write JSON."""
    text: str = orjson.dumps(value).decode()
    return text


async def serve() -> None:
    """Serve on a free port of 127.0.0.1, until it is ended."""
    rpc = WSJSONRPCServer(
        middlewares=DEFAULT_MIDDLEWARES,
        json_serialize=dumps,
        json_deserialize=orjson.loads,
    )
    rpc.add_method(order)
    app = web.Application()
    app.router.add_get("/rpc", rpc.handle_http_request)
    app.on_shutdown.append(rpc.on_shutdown)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve())
