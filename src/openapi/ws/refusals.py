"""What is refused of a channel, in the words of the wire."""

from typing import Final

from openapi.errors import ErrorCode, InvalidData, RpcError

__all__ = ["TAKEN_BACK", "invalid_channel", "key_taken", "not_allowed", "too_many"]

TAKEN_BACK: Final = RpcError(ErrorCode.CANCELLED, "The server took the subscription back")
"""Why there is no subscription any more, where nobody refused it."""

_ALLOWED: Final = {
    "subscribe": "subscribe to this channel",
    "publish": "publish on this channel",
    "history": "read the history of this channel",
    "presence": "see who is on this channel",
}


def invalid_channel() -> InvalidData:
    """The refusal of a channel."""
    return InvalidData({"channel": "Invalid channel"})


def key_taken() -> InvalidData:
    """The refusal of a key that another message had."""
    return InvalidData(
        {"key": "another message had this key on this channel; a new one needs a new key"}
    )


def not_allowed(action: str) -> RpcError:
    """The refusal where ``authorize`` says no."""
    return RpcError(ErrorCode.NOT_ALLOWED, f"Not allowed to {_ALLOWED[action]}")


def too_many(limit: str, most: int, text: str) -> RpcError:
    """The refusal of one more than a limit of subscriptions."""
    return RpcError(
        ErrorCode.LIMIT_EXCEEDED,
        f"{most} {text}, unsubscribe from one before the next",
        data={"limit": limit, "max": most},
    )
