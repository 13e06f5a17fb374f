"""What cannot be taken: whether it counts as unreadable, and what it costs to refuse it."""

from typing import Any

import pytest
from msgspec import Raw

from openapi.protocol.frames import Batch, CallId, Frame, Malformed
from openapi.protocol.incoming import Incoming
from openapi.protocol.jsonrpc import JSONRPC
from openapi.protocol.limits import Limits
from tests.protocol.talk import Talk, batch

BY_POSITION = {"jsonrpc": "2.0", "method": "echo", "params": [1]}
RUBBISH = {"jsonrpc": "2.0"}


class Counting:
    """JSON-RPC, which notes the elements of batches that it reads."""

    packed = False

    def __init__(self) -> None:
        self.read: list[bytes] = []

    def decode(self, message: str | bytes) -> Frame | Batch:
        """Read one message."""
        found = JSONRPC.decode(message)
        if not isinstance(found, Batch):
            return found

        def read(element: Raw) -> Frame | Malformed:
            self.read.append(bytes(element))
            if self.read[-1] == b'"deep"':
                raise RecursionError
            return found.read(element)

        return Batch(found.elements, read)

    def answer(self, id: CallId, method: str, response: bytes) -> bytes:
        """Write an answer."""
        return JSONRPC.answer(id, method, response)

    def encode(self, frame: Frame) -> bytes:
        """Write one message."""
        return JSONRPC.encode(frame)


@pytest.mark.parametrize("message", [{**BY_POSITION, "id": 1}, BY_POSITION])
def test_parameters_by_position_are_no_rubbish(message: Any) -> None:
    talk = Talk(codec=JSONRPC)
    talk.say(RUBBISH)
    assert talk.session.failures == 1

    assert talk.say(message) == []
    assert talk.session.failures == 0
    talk.say([message, message])
    assert talk.session.failures == 0


def test_a_notification_with_parameters_by_position_could_not_run() -> None:
    talk = Talk(codec=JSONRPC)

    talk.say(BY_POSITION)

    assert (talk.sent(), talk.session.dropped, talk.session.ignored) == ([], 1, 0)


def test_each_unreadable_element_of_a_batch_counts_up_to_one_that_is_read() -> None:
    talk = Talk(codec=JSONRPC)

    talk.say(batch(1, (1, "echo"), 1, RUBBISH, 1))

    assert talk.session.failures == 3


def test_of_a_batch_that_is_too_large_nothing_is_read() -> None:
    codec = Counting()
    talk = Talk(Limits(batch=2), codec=codec)

    assert talk.say("[" + "1," * 30_000 + "1]") == []
    assert codec.read == []
    assert talk.error()["data"] == {"limit": "batch", "max": 2}

    assert talk.say("[1, 2]") == []
    assert codec.read == [b"1", b"2"]


def test_an_element_that_is_nested_too_deeply_to_be_read_is_refused_in_its_place() -> None:
    talk = Talk(codec=Counting())

    [call] = talk.say(batch("deep", (1, "echo")))

    assert isinstance(call, Incoming)
    talk.session.answer(call, b"1")
    [[deep, answer]] = talk.sent()
    assert deep["error"]["data"] == {"limit": "json_depth", "max": 64}
    assert answer == {"jsonrpc": "2.0", "result": 1, "id": 1}
