"""The bytes that the NATS broker has the server keep."""

import pytest

from openapi.protocol.envelope import Envelope, Unreadable
from openapi.protocol.stream import Position
from openapi.ws.brokers.nats.clock import ServerClock
from openapi.ws.brokers.nats.found import Found
from openapi.ws.brokers.nats.key import Key
from openapi.ws.brokers.nats.record import Record

HERE = Position(7, "e-p_0ch")


def test_a_record_is_read_as_it_was_written() -> None:
    envelopes = [Envelope.write("e", number, Position(number, "e-p_0ch"), 1.5) for number in (6, 7)]
    record = Record("run", 3, HERE, envelopes)
    again = Record.read(record.write())
    assert again == record
    assert (again.first, Record.is_one(record.write())) == (6, True)
    read = again.publications(most=1000)
    assert [(each.event, each.data.json, each.at) for each in read] == [
        ("e", b"6", 1.5),
        ("e", b"7", 1.5),
    ]
    with pytest.raises(Unreadable):
        again.publications(most=5)


def test_a_mark_has_no_publications_and_the_next_one_is_behind_it() -> None:
    mark = Record.read(Record("-", 1, HERE).write())
    assert (mark.envelopes, mark.first, mark.publications(most=1)) == ([], 8, [])


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\n",
        b"1\nx",
        b"log2 - 1 7 e\n",
        b"log1 - 1 7\n",
        b"log1 - 1 7 e",
        b"log1 - 1 x e\n",
        b"log1 - x 7 e\n",
        b"log1 - 1 7 \xff\n",
        b"log1 - 1 7 e 4\nabc",
        b"log1 - 1 7 e 2\nabc",
        b"log1 - 1 7 e -1 4\nabc",
        b"log1 - 1 1 e 1 1\nab",
        b"log1 - 1 -1 e\n",
        b"log1 - 9 7 e\n",
        b"log1 - -1 7 e\n",
        b"log1 - 1 9007199254740991 e\n",
        b"log1 - 1 7 " + b"e" * 65 + b"\n",
        b"log1 " + b"x" * 5000 + b"\n",
    ],
)
def test_what_is_no_record_is_unreadable(raw: bytes) -> None:
    with pytest.raises(Unreadable, match="no record that is known here"):
        Record.read(raw)


def test_what_is_found_has_no_gap_even_where_a_record_cannot_be_read() -> None:
    def record(offset: int) -> Record:
        here = Position(offset, "e")
        return Record("-", 1, here, [Envelope.write("", offset, here, 1.0)])

    found = Found(1, 5, before=0.0, limit=9, reverse=False, top=Position(5, "e"))
    found.add(record(1), most=1000)
    assert (found.whole, found.done) == (True, False)
    with pytest.raises(Unreadable):
        found.add(record(2)._replace(envelopes=[b"garbage"]), most=1000)
    for offset in (3, 4, 5):
        found.add(record(offset), most=1000)
    assert [each.offset for each in found.publications] == [3, 4, 5]
    assert (found.whole, found.done, found.more) == (False, True, False)


def test_a_key_is_read_as_it_was_written_and_nothing_else_is_one() -> None:
    key = Key(b"\x00\xff" * 8, HERE, 12.345)
    assert Key.read(key.write()) == key
    for raw in (b"", b"key2 00 1 e 1", b"key1 0 1 e 1", b"key1 00 x e 1", b"key1 00 1 e", b"\xff"):
        with pytest.raises(Unreadable, match="no key that is known here"):
            Key.read(raw)


@pytest.mark.parametrize(
    "said", ["1970-01-01T00:16:40.123456789Z", "1970-01-01T00:16:40.12Z", "1970-01-01T00:16:40Z"]
)
def test_the_time_is_the_servers_as_it_was_halfway_between_question_and_answer(said: str) -> None:
    now = 5.0
    clock = ServerClock(lambda: now)
    assert clock() == 5.0
    asked, now = clock.asked(), 7.0
    clock.heard(said, asked)
    assert clock() == pytest.approx(1001.0, abs=0.2)
    now += 60
    assert clock() == pytest.approx(1061.0, abs=0.2)
