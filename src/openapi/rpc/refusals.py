"""What a caller gets for what a handler raised: a refusal, or only an id that the log has too."""

import asyncio
import logging
import secrets
from typing import Final

from openapi.errors import ErrorCode, InvalidData, RpcError
from openapi.protocol.frames import INVALID
from openapi.protocol.incoming import Incoming

__all__ = ["NO_FORM", "internal_error", "is_told", "refusal_of"]

logger = logging.getLogger(__name__)

NO_FORM: Final = "JSON object expected"
"""What is said of a result that has no form on the wire."""


def is_told(exc: BaseException) -> bool:
    """Whether it goes on as it is: the handler's own refusal, or the end of the task itself.

    A task that awaits something else that was cancelled is not cancelled.
    """
    if isinstance(exc, asyncio.CancelledError):
        # In a function, so that no frame of a call's traceback holds its own task: a cycle.
        task = asyncio.current_task()
        return task is None or task.cancelling() > 0
    return isinstance(exc, RpcError | KeyboardInterrupt | SystemExit)


def refusal_of(call: Incoming, exc: BaseException) -> RpcError:
    """What the caller gets for what a handler raised."""
    if isinstance(exc, InvalidData):
        return RpcError(ErrorCode.INVALID_PARAMETERS, INVALID, errors=exc.errors)
    return internal_error(call, exc)


def internal_error(call: Incoming, exc: BaseException, message: str = "Internal error") -> RpcError:
    """The answer to a call that failed here: only an id, under which the log has the exception."""
    error_id = secrets.token_hex(8)
    logger.error("RPC method %r failed, error id %s", call.method.name, error_id, exc_info=exc)
    return RpcError(ErrorCode.INTERNAL_ERROR, message, data={"error_id": error_id})
