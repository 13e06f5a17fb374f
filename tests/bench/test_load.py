import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench.dialects import OURS, Worded
from bench.load import Connection, Frames, WrongAnswerError, frame
from bench.workloads.calls import Answers, confirm, exchange
from bench.workloads.fan_out import Audience, Publisher
from bench.workloads.latency import Delays
from bench.workloads.own import asked
from bench.workloads.recovering import check
from bench.workloads.slow_reader import Ticks

DIALECT = Worded(OURS)
DIALECT.subscribe("c")  # a channel that nobody spoke of would be wrong


def served(payload: bytes, opcode: int = 1) -> bytes:
    """A server's frame."""
    size = len(payload)
    if size < 126:
        length = bytes([size])
    elif size < 65_536:
        length = b"\x7e" + size.to_bytes(2)
    else:
        length = b"\x7f" + size.to_bytes(8)
    return bytes([0x80 | opcode]) + length + payload


def answer(number: int, total: str = "15.0") -> bytes:
    response = b'{"id":123456,"total":%b,"text":"leave it there"}' % total.encode()
    return b'{"id":%d,"method":"order","response":%b}' % (number, response)


def message(number: int) -> bytes:
    return b'{"channel":"c","event":"e","data":"%b%d"}' % (b"x" * 100, number)


def acknowledged(number: int) -> bytes:
    return b'{"id":%d,"method":"publish","response":%b}' % (number, message(number))


@contextmanager
def pair() -> Iterator[tuple[Connection, socket.socket]]:
    """A connection, and the server's end of it."""
    client, server = socket.socketpair()
    with client, server:
        server.settimeout(10)
        yield Connection(client, binary=False), server


def unmasked(data: bytes) -> bytes:
    """The payload of one client's frame of up to 64 KiB."""
    head = 4 if data[1] & 0x7F == 126 else 2
    mask, masked = data[head : head + 4], data[head + 4 :]
    return bytes(byte ^ mask[at % 4] for at, byte in enumerate(masked))


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_a_frame_of_any_size_is_read_however_the_reads_cut_it(size: int) -> None:
    payloads = [b"a" * size, b"b", b"c" * size]
    data = b"".join(map(served, payloads))
    cuts = {1, 2, 3, 5, 11, size, size + 1, size + 3, len(data) // 2, len(data) - 1}
    for cut in sorted(cut for cut in cuts if 0 < cut < len(data)):
        frames = Frames()
        found = [*frames.feed(data[:cut]), *frames.feed(data[cut:])]
        assert [one.payload for one in found] == payloads
        assert b"".join(one.raw for one in found) == data
        assert frames.rest == b""


def test_a_frame_is_read_byte_by_byte() -> None:
    frames, data = Frames(), served(b"x" * 200) + served(b"", opcode=9)
    found = [one for at in range(len(data)) for one in frames.feed(data[at : at + 1])]
    assert [(one.opcode, len(one.payload)) for one in found] == [(1, 200), (9, 0)]


@pytest.mark.parametrize(
    "data",
    [b"\x81\x80\x00\x00\x00\x00", b"\xc1\x00", b"\x01\x01x", b"\x80\x01x"],
    ids=["masked", "compressed", "not the last of its message", "not the first of its message"],
)
def test_what_no_server_may_send_here_is_wrong(data: bytes) -> None:
    with pytest.raises(WrongAnswerError):
        Frames().feed(data)


@pytest.mark.parametrize("size", [0, 1, 3, 4, 125, 126, 300])
def test_what_is_sent_is_masked(size: int) -> None:
    payload = bytes(range(256)) * 2
    data = frame(payload[:size])
    assert (data[0], data[1] >> 7) == (0x81, 1)
    assert unmasked(data) == payload[:size]
    assert size == 0 or payload[:size] not in data


def test_binary_payloads_go_as_binary_messages() -> None:
    assert frame(b"x", binary=True)[0] == 0x82


def test_messages_come_whole_and_pings_are_answered() -> None:
    with pair() as (connection, server):
        data = served(b"one") + served(b"hm", opcode=9) + served(b"two")
        server.sendall(data[:3])
        messages = connection.messages()
        server.sendall(data[3:])
        assert [next(messages), next(messages)] == [b"one", b"two"]
        pong = server.recv(100)
        assert (pong[0], unmasked(pong)) == (0x8A, b"hm")


def test_who_stops_to_read_messages_loses_none() -> None:
    with pair() as (connection, server):
        server.sendall(served(b"one") + served(b"two") + b"\x81")
        assert next(connection.messages()) == b"one"
        assert connection.left == served(b"two") + b"\x81"
        assert next(connection.messages()) == b"two"


def test_a_connection_that_the_server_closes_is_wrong() -> None:
    with pair() as (connection, server):
        server.sendall(served(b"\x03\xf3", opcode=8))
        with pytest.raises(WrongAnswerError, match="closed"):
            next(connection.messages())


def test_a_connection_that_is_cut_is_wrong() -> None:
    with pair() as (connection, server):
        server.close()
        with pytest.raises(WrongAnswerError, match="cut"):
            next(connection.messages())


def test_what_is_answered_is_called_again() -> None:
    with pair() as (connection, _):
        answers = Answers(DIALECT, 3)
        count, again = answers.take(connection, served(answer(2)) + served(answer(0)))
        assert count == 2
        assert again == frame(DIALECT.call(2)) + frame(DIALECT.call(0))


def test_a_read_that_was_checked_is_known() -> None:
    with pair() as (connection, _):
        answers, data = Answers(DIALECT, 2), served(answer(1))
        found = answers.take(connection, data)
        assert answers.known == {data: found}


def test_a_read_that_ends_inside_of_an_answer_is_not_known() -> None:
    with pair() as (connection, _):
        answers, data = Answers(DIALECT, 2), served(answer(1)) + served(answer(0))
        assert answers.take(connection, data[:-1])[0] == 1
        assert connection.fd in answers.cut
        assert answers.take(connection, data[-1:])[0] == 1
        assert (answers.known, answers.cut) == ({}, {})


@pytest.mark.parametrize(
    "payload",
    [
        answer(0, total="15.5"),
        answer(0) + b" ",
        b'{"id":0,"method":"order","error":{"code":-32603,"message":"Internal error"}}',
        answer(7)[:-2],
    ],
    ids=["another total", "something behind it", "a failure", "a part of it"],
)
def test_a_wrong_answer_fails(payload: bytes) -> None:
    with pair() as (connection, _), pytest.raises(AssertionError):
        Answers(DIALECT, 1).take(connection, served(payload))


@pytest.mark.parametrize("numbers", [(3,), (1, 1)], ids=["never called", "answered twice"])
def test_an_answer_to_no_call_in_flight_fails(numbers: tuple[int, ...]) -> None:
    data = b"".join(served(answer(number)) for number in numbers)
    with pair() as (connection, _), pytest.raises(WrongAnswerError, match="not in flight"):
        Answers(DIALECT, 2).take(connection, data)


def test_an_exchange_ends_when_all_is_answered() -> None:
    with pair() as (connection, server):
        answers = Answers(DIALECT, 2)
        server.sendall(served(answer(0)) + served(answer(1)))
        assert exchange([connection], answers, 0) == 2
        assert server.recv(10_000) == answers.first


def test_an_answer_too_many_is_seen_at_the_end_of_an_exchange() -> None:
    with pair() as (connection, server):
        server.sendall(served(answer(0)) + served(answer(1)) + served(answer(1)))
        with pytest.raises(AssertionError):
            exchange([connection], Answers(DIALECT, 2), 0)


def test_an_answer_too_many_is_seen_by_one_more_call() -> None:
    with pair() as (connection, server):
        server.sendall(served(answer(1)) + served(answer(0)))
        with pytest.raises(AssertionError, match="too many"):
            confirm([connection], DIALECT)
    with pair() as (connection, server):
        server.sendall(served(answer(0)))
        confirm([connection], DIALECT)


def test_an_audience_compares_what_the_others_get_with_what_was_checked() -> None:
    with pair() as (one, _), pair() as (other, _):
        audience = Audience([one, other], DIALECT)
        data = served(message(0)) + served(message(1))
        audience.take(one.fd, data)
        assert not audience.has_all(2)
        assert bytes(audience.stream) == data
        for at in range(len(data)):
            audience.take(other.fd, data[at : at + 1])
        assert audience.has_all(2) and not audience.has_all(1)


def test_an_audience_takes_a_message_that_comes_in_pieces_to_the_first() -> None:
    with pair() as (one, _), pair() as (other, _):
        audience = Audience([one, other], DIALECT)
        data = served(message(0)) + served(message(1))
        audience.take(one.fd, data[:200])
        audience.take(other.fd, data)
        audience.take(one.fd, data[200:])
        assert audience.has_all(2)


def test_who_is_cut_inside_of_what_is_known_goes_on_with_what_is_not() -> None:
    with pair() as (one, _), pair() as (other, _):
        audience = Audience([one, other], DIALECT)
        first, second = served(message(0)), served(message(1))
        audience.take(one.fd, first)
        audience.take(other.fd, first[:50])
        audience.take(other.fd, first[50:] + second)
        audience.take(one.fd, second)
        assert audience.has_all(2)


def test_a_ping_between_messages_is_answered_and_is_no_message() -> None:
    with pair() as (one, server):
        audience = Audience([one], DIALECT)
        audience.take(one.fd, served(message(0)) + served(b"", opcode=9) + served(message(1)))
        assert audience.has_all(2)
        assert server.recv(100)[0] == 0x8A


@pytest.mark.parametrize(
    "numbers", [(1,), (0, 0), (0, 2)], ids=["not the first", "twice", "one is left out"]
)
def test_messages_out_of_their_order_fail(numbers: tuple[int, ...]) -> None:
    with pair() as (one, _), pytest.raises(WrongAnswerError):
        Audience([one], DIALECT).take(one.fd, b"".join(served(message(n)) for n in numbers))


def test_a_message_that_only_one_subscriber_gets_wrong_fails() -> None:
    with pair() as (one, _), pair() as (other, _):
        audience = Audience([one, other], DIALECT)
        audience.take(one.fd, served(message(0)))
        with pytest.raises(AssertionError):
            audience.take(other.fd, served(message(0).replace(b"x0", b"y0")))


def test_who_has_left_is_waited_for_no_longer() -> None:
    with pair() as (one, _), pair() as (other, _):
        audience = Audience([one, other], DIALECT)
        audience.take(one.fd, served(message(0)))
        assert not audience.has_all(1)
        audience.leave(other)
        assert audience.has_all(1) and audience.subscribers == [one]


def test_an_audience_has_so_many_messages_when_that_much_was_delivered() -> None:
    with pair() as (one, _), pair() as (other, _):
        audience = Audience([one, other], DIALECT)
        assert audience.has(0) and not audience.has(1)
        audience.take(one.fd, served(message(0)))
        assert not audience.has(1)
        audience.take(other.fd, served(message(0)))
        assert audience.has(1) and not audience.has(2)


def test_a_publisher_counts_what_is_acknowledged() -> None:
    with pair() as (connection, server):
        publisher = Publisher(connection, DIALECT)
        publisher.publish(2)
        assert server.recv(10_000) == b"".join(
            frame(DIALECT.publish("c", number)) for number in range(2)
        )
        data = served(acknowledged(0)) + served(acknowledged(1))
        assert [publisher.take(data[:40]), publisher.take(data[40:])] == [0, 2]
        assert (publisher.sent, publisher.acknowledged) == (2, 2)
        with pytest.raises(WrongAnswerError, match="more was acknowledged"):
            publisher.take(served(acknowledged(2)))


def test_a_delay_is_counted_from_when_a_message_was_due() -> None:
    with pair() as (one, _):
        audience, far = Audience([one], DIALECT), 1e6
        audience.take(one.fd, served(message(0)))
        delays = Delays(audience, [0.0, -far, -2 * far])
        delays.take(one.fd, served(message(1))[:20])
        assert len(delays.seconds) == 0
        delays.take(one.fd, served(message(1))[20:] + served(message(2)))
        early, late = delays.seconds
        assert far < early < late and late - early == pytest.approx(far)


def test_ticks_are_numbered_as_they_come() -> None:
    def tick(at: bytes, size: int = 4096) -> bytes:
        data = b'{"at":%b,"filler":"%b"}' % (at, b"x" * size)
        return b'{"channel":"c","event":"tick","data":%b}' % data

    ticks = Ticks()
    assert [ticks.delivered(tick(at)) for at in (b"7.5", b"8.25", b"7.5")] == [0, 1, 0]
    assert ticks.at == [7.5, 8.25]
    with pytest.raises(AssertionError, match="no tick"):
        ticks.delivered(tick(b"9.0", size=4095))


def recovered(numbers: list[int], **change: object) -> bytes:
    messages = [{**json.loads(message(each)), "offset": each + 1} for each in numbers]
    response = {"subscribed": {"c": ["*"]}, "recovered": True, "messages": messages, **change}
    return json.dumps({"id": 1, "method": "subscribe", "response": response}).encode()


def test_a_recovery_with_all_messages_is_right() -> None:
    check(recovered([0, 1, 2]), DIALECT, 3)


@pytest.mark.parametrize(
    "wrong",
    [
        recovered([0, 1]),
        recovered([0, 2, 1]),
        recovered([1, 2, 3]),
        recovered([0, 1, 2], recovered=False),
        b'{"id":1,"method":"subscribe","error":{"code":-32008,"message":"later"}}',
    ],
    ids=["one is missing", "out of order", "others", "not recovered", "a failure"],
)
def test_a_recovery_without_all_messages_fails(wrong: bytes) -> None:
    with pytest.raises(WrongAnswerError):
        check(wrong, DIALECT, 3)


def test_an_answer_to_a_call_of_another_is_none_of_ours() -> None:
    assert asked(answer(0)) is None
    assert asked(b'{"id":"own","method":"reads","response":{"reads":2}}') == {"reads": 2}
    assert asked(b'{"id":"own","method":"freeze","response":null}') == {}
    with pytest.raises(WrongAnswerError, match="reads failed"):
        asked(b'{"id":"own","method":"reads","error":{"code":-32603,"message":"no"}}')
