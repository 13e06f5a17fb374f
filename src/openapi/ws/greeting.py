"""What an endpoint says to who connects: its ``on_connect``, and what becomes of that."""

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from openapi.errors import CloseCode, ConnectionClosed, ErrorCode, RpcError
from openapi.ws.socket import Websocket

if TYPE_CHECKING:
    from openapi.ws.connection import Connection

__all__ = ["welcomed"]

logger = logging.getLogger(__name__)

_REFUSED: Final[dict[int, CloseCode]] = {
    ErrorCode.NOT_AUTHENTICATED: CloseCode.NOT_AUTHENTICATED,
    ErrorCode.NOT_ALLOWED: CloseCode.NOT_ALLOWED,
}


async def welcomed(endpoint: Websocket, connection: "Connection") -> bool:
    """Run ``on_connect``. Returns whether the client is welcome; who is not is closed."""
    try:
        await endpoint.on_connect()
    except RpcError as refusal:
        code = _REFUSED.get(refusal.code, CloseCode.DISCONNECTED)
        # A message may quote a header, whose bytes need not be UTF-8.
        connection.close(code, refusal.message.encode(errors="replace").decode())
        return False
    except (Exception, GeneratorExit) as exc:
        # What left meanwhile, and was asked something, is no failure.
        if not (connection.gone and isinstance(exc, ConnectionClosed)):
            _fail(endpoint, connection)
        return False
    except asyncio.CancelledError:
        if not connection.gone:  # by somebody else, or it awaited what was cancelled
            _fail(endpoint, connection)
        raise
    return True


def _fail(endpoint: Websocket, connection: "Connection") -> None:
    logger.exception("on_connect of socket %s failed", endpoint)
    connection.close(CloseCode.INTERNAL_ERROR)
