"""What a session says to what it does not take: one error for each reason."""

from openapi.errors import ErrorCode, RpcError
from openapi.protocol.frames import INVALID, Error
from openapi.protocol.limits import Limits

__all__ = [
    "cancelled",
    "expired",
    "id_in_flight",
    "invalid",
    "not_found",
    "shutting_down",
    "too_deep",
    "too_large",
    "too_long",
    "too_many",
]


# Of a call


def shutting_down(retry_after: int) -> RpcError:
    """It came behind ``drain``. ``retry_after``: milliseconds."""
    return RpcError(
        ErrorCode.SHUTTING_DOWN,
        "The server is shutting down, reconnect and call again",
        retry_after=retry_after,
    )


def not_found(method: str) -> RpcError:
    """There is no such method."""
    return RpcError(
        ErrorCode.METHOD_NOT_FOUND, INVALID, errors={"method": f"{method} method not available"}
    )


def invalid(errors: dict[str, str]) -> RpcError:
    """Its payload does not fit. ``errors``: what is wrong, by field."""
    return RpcError(ErrorCode.INVALID_PARAMETERS, INVALID, errors=errors)


def id_in_flight() -> RpcError:
    """Another call has its id."""
    return RpcError(ErrorCode.TOO_MANY_CALLS, "A call with this id is in flight, use another id")


def too_many(most: int) -> RpcError:
    """As many calls as may be are in flight."""
    return RpcError(
        ErrorCode.TOO_MANY_CALLS,
        f"{most} calls are in flight, wait for an answer before the next",
        data={"limit": "calls", "max": most},
    )


def expired(timeout: float) -> RpcError:
    """Its time is over. ``timeout``: seconds."""
    return RpcError(ErrorCode.DEADLINE_EXCEEDED, f"It took longer than {timeout:.12g} seconds")


def cancelled(*, shield: bool) -> RpcError:
    """Its caller does not want it any more."""
    return RpcError(ErrorCode.CANCELLED, "Cancelled; its work goes on" if shield else "Cancelled")


# Of a message


def too_long(limits: Limits, size: int) -> Error:
    """It has ``size`` bytes, which is more than are read."""
    most = limits.message_bytes
    text = f"The message is longer than {most} bytes"
    return _limit_exceeded("message_bytes", most, text, size=size)


def too_deep(limits: Limits) -> Error:
    """There is too much inside of one another in it."""
    most = limits.json_depth
    return _limit_exceeded("json_depth", most, f"The message is nested more than {most} deep")


def too_large(limits: Limits) -> Error:
    """It is a batch of more than are answered."""
    return _limit_exceeded("batch", limits.batch, f"The batch is of more than {limits.batch}")


def _limit_exceeded(limit: str, most: int, text: str, **more: int) -> Error:
    data = {"limit": limit, "max": most, **more}
    return Error.of(RpcError(ErrorCode.LIMIT_EXCEEDED, text, data=data))
