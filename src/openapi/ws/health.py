"""What an orchestrator asks: whether this process is to be sent connections, and is of use.

    app.router.add_get("/healthz", healthz)

| status     | HTTP | when                                                                         |
|------------|------|------------------------------------------------------------------------------|
| `ok`       | 200  |                                                                              |
| `degraded` | 200  | the broker's server is away. Sockets stay and are answered, so to start this |
|            |      | process anew would help nobody                                               |
| `draining` | 503  | the manager takes no new connections                                         |
"""

from typing import Any

from aiohttp import web

from openapi.schema import encode_json
from openapi.ws.manager import SocketsManager
from openapi.ws.redacted import redacted

__all__ = ["health_of", "healthz"]


async def healthz(request: web.Request) -> web.Response:
    """Say how this process is, and its broker.

    It is :func:`health_of` the manager that the application has, under whatever key. Raises
    LookupError where there is none, or more than one.
    """
    found = {
        id(value): value
        for value in request.config_dict.values()
        if isinstance(value, SocketsManager)
    }
    if len(found) != 1:
        todo = (
            "for each, answer with `health_of(sockets)` at a path of its own"
            if found
            else 'set app["web_sockets"] = SocketsManager()'
        )
        raise LookupError(f"healthz finds {len(found)} managers and wants one: {todo}")
    (sockets,) = found.values()
    health = health_of(sockets)
    return web.Response(
        status=503 if health["status"] == "draining" else 200,
        body=encode_json(health),
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


def health_of(sockets: SocketsManager) -> dict[str, Any]:
    """``{"status", "node", "connections", "broker": {"status", "since"?, "reason"?}}``

    The broker's status is ``"up"``, ``"away"``, with the time since when, in seconds since the
    epoch, and the reason, or ``"unopened"``: nobody has needed it, see
    :meth:`SocketsManager.open`.
    """
    broker: dict[str, Any] = {"status": "up" if sockets.opened else "unopened"}
    outage = sockets.outage
    if outage is not None:
        broker = {"status": "away", "since": outage.since, "reason": redacted(outage.reason)}
    status = "ok" if outage is None else "degraded"
    return {
        "status": "draining" if sockets.draining else status,
        "node": sockets.node,
        "connections": len(sockets.sockets),
        "broker": broker,
    }
