"""What the functions of a client return, or raise, for what the server answers."""

from typing import Any, Final

import msgspec

from openapi.client import History, Member, Message, Position
from openapi.errors import CallFailed
from tests.client.vectors.speech import Way
from tests.client.vectors.tap import Frame
from tests.wire_endpoint import Item, Total, Typed

__all__ = [
    "ITEMS",
    "RETURNS",
    "assert_failed",
    "item_of",
    "message_of",
    "position_of",
    "result_of",
    "type_of",
]

#: What methods return, and channels carry, where the server has a type for it.
RETURNS: Final[dict[str, Any]] = {
    "add": Total,
    "get_data": tuple[str, int],
    "order": dict[str, float],
    "subtract": int,
    "typed": Typed,
}
ITEMS: Final[dict[str, Any]] = {"count": dict[str, int], "falter": Total, "flood": str}
DATA: Final[dict[str, Any]] = {"typed": Item}


def type_of(channel: str) -> Any:
    """The type of the data of a channel."""
    return DATA.get(channel, Any)


def result_of(way: Way, method: str, response: Any) -> Any:
    """What a client returns, if the server answers this."""
    match way:
        case Way.CALL:
            return msgspec.convert(response, RETURNS.get(method, Any))
        case Way.PUBLISH:
            return position_of(response)
        case Way.HISTORY:
            position = position_of(response)
            assert position is not None
            messages = (
                message_of(message, Position(message["offset"], position.epoch))
                for message in response["messages"]
            )
            return History([*messages], position)
        case Way.PRESENCE:
            return [_member(member) for member in response["members"]]
    return None


def message_of(frame: Frame, position: Position | None) -> Message[Any]:
    """A message as it is read."""
    channel: str = frame["channel"]
    data = msgspec.convert(frame["data"], type_of(channel))
    return Message(channel, frame["event"], data, position if "offset" in frame else None)


def item_of(method: str, item: Any) -> Any:
    """An item of a stream as it is read."""
    return msgspec.convert(item, ITEMS.get(method, Any))


def position_of(fields: Frame | None) -> Position | None:
    """The position in an answer, or in a payload, if there is one."""
    match fields:
        case {"offset": offset, "epoch": epoch}:
            return Position(offset, epoch)
    return None


def assert_failed(expected: Frame, error: BaseException | None) -> None:
    """See that an error of the server is what the application is told."""
    assert isinstance(error, CallFailed), f"instead of {expected}, {error!r}"
    assert error.code == expected["code"]
    assert error.message == expected["message"]
    assert error.data == expected.get("data")
    assert error.errors == expected.get("errors")
    assert error.retry_after == expected.get("retry_after")


def _member(fields: Frame) -> Member:
    return Member(fields["id"], fields.get("user"), fields.get("info"), fields["connections"])
