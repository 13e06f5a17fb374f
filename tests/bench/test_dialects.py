"""What the benchmarks' clients say, and that they take no wrong answer for a right one."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields

import pytest

from bench import dialects
from bench.dialects import IN_FLIGHT, ORDER, Worded, Wording
from bench.load import connected
from bench.peers import PEERS, ROOT
from bench.process import Server
from bench.trial import converse
from bench.workloads.own import tell

#: What the data of each message begins with.
X = b"x" * 100


@dataclass(frozen=True, slots=True)
class Said:
    """What a server answered, as it was recorded; the call is number 15, the message 7."""

    wording: Wording
    answer: bytes
    subscribed: bytes = b""
    published: bytes = b""
    message: bytes = b""


RECORDED = {
    "ours": Said(
        dialects.OURS,
        b'{"id":15,"method":"order","response":{"id":123456,"total":15.0,"text":"leave it there"}}',
        b'{"id":0,"method":"subscribe","response":{"subscribed":{"c":["*"]}}}',
        b'{"id":7,"method":"publish","response":{"channel":"c","event":"e","data":"%b7"}}' % X,
        b'{"channel":"c","event":"e","data":"%b7"}' % X,
    ),
    "by hand": Said(
        dialects.BY_HAND,
        b'{"id":15,"method":"order","response":{"id":123456,"total":15.0,"text":"leave it there"}}',
        b'{"id":0,"method":"subscribe","response":null}',
        b'{"id":7,"method":"publish","response":null}',
        b'{"channel":"c","event":"e","data":"%b7"}' % X,
    ),
    "Node ws": Said(
        dialects.NODE_BY_HAND,
        b'{"id":15,"method":"order","response":{"id":123456,"total":15,"text":"leave it there"}}',
        b'{"id":0,"method":"subscribe","response":null}',
        b'{"id":7,"method":"publish","response":null}',
        b'{"channel":"c","event":"e","data":"%b7"}' % X,
    ),
    "python-socketio": Said(
        dialects.SOCKETIO,
        b'4315[{"id":123456,"total":15.0,"text":"leave it there"}]',
        b"430[]",
        b"437[]",
        b'42["e",{"channel":"c","data":"%b7"}]' % X,
    ),
    "Socket.IO": Said(
        dialects.NODE_SOCKETIO,
        b'4315[{"id":123456,"total":15,"text":"leave it there"}]',
        b"430[]",
        b"437[]",
        b'42["e",{"channel":"c","data":"%b7"}]' % X,
    ),
    "fastapi-websocket-rpc": Said(
        dialects.FASTAPI_RPC,
        b'{"request":null,"response":{"result":{"id":123456,"total":15.0,"text":"leave it there"},'
        b'"result_type":"Receipt","call_id":"15"}}',
    ),
    "aiohttp-rpc": Said(
        dialects.AIOHTTP_RPC,
        b'{"id":15,"jsonrpc":"2.0","result":{"id":123456,"total":15.0,"text":"leave it there"}}',
    ),
    "aio-openapi 3.2.1": Said(
        dialects.OPENAPI_3_2_1,
        b'{"id": "15", "method": "order", '
        b'"response": {"id": 123456, "total": 15.0, "text": "leave it there"}}',
        b'{"id": "0", "method": "subscribe", "response": {"subscribed": {"c": ["*"]}}}',
        b'{"id": "7", "method": "publish", '
        b'"response": {"channel": "c", "event": "e", "data": "%b7"}}' % X,
        b'{"channel": "c", "event": "e", "data": "%b7"}' % X,
    ),
}

every = pytest.mark.parametrize("said", RECORDED.values(), ids=RECORDED.keys())
with_channels = pytest.mark.parametrize(
    "said",
    [said for said in RECORDED.values() if said.message],
    ids=[name for name, said in RECORDED.items() if said.message],
)


def spoken(said: Said) -> Worded:
    """Its dialect, that has spoken of the channel `c`."""
    dialect = Worded(said.wording)
    if said.message:
        dialect.subscribe("c")
    return dialect


def spoiled(payload: bytes) -> Iterator[bytes]:
    """It with each byte replaced, with each left out, cut, and with more before or behind."""
    for at in range(len(payload)):
        yield payload[:at] + b"#" + payload[at + 1 :]
    yield payload[:-1]
    yield payload[1:]
    yield payload + b" "
    yield payload + payload
    yield b" " + payload


@every
def test_what_a_server_answered_has_the_number_of_the_call(said: Said) -> None:
    assert spoken(said).answered(said.answer) == 15


@every
def test_every_byte_of_an_answer_counts(said: Said) -> None:
    dialect = spoken(said)
    for wrong in spoiled(said.answer):
        with pytest.raises(AssertionError, match="no answer that fits"):
            dialect.answered(wrong)


@every
def test_an_answer_to_a_call_that_was_not_made_is_refused(said: Said) -> None:
    with pytest.raises(AssertionError, match="no answer that fits"):
        spoken(said).answered(said.answer.replace(b"15", b"16", 1))


@every
def test_each_call_in_flight_is_the_whole_order_and_has_a_payload_of_its_own(said: Said) -> None:
    dialect = spoken(said)
    calls = [dialect.call(number) for number in range(IN_FLIGHT)]
    assert len(set(calls)) == IN_FLIGHT
    order = json.dumps(ORDER, separators=(",", ":")).encode()
    for call in calls:
        assert order in call
        assert json.loads(call.lstrip(b"0123456789"))


@with_channels
def test_what_a_server_said_of_channels_is_known_for_what_it_is(said: Said) -> None:
    dialect = spoken(said)
    assert dialect.subscribed(said.subscribed)
    assert dialect.published(said.published)
    assert dialect.delivered(said.message) == 7


@with_channels
def test_what_fits_but_was_not_asked_for_is_passed_over(said: Said) -> None:
    dialect = spoken(said)
    for other in (said.subscribed, said.published, said.message):
        assert dialect.answered(other) is None
    for other in (said.answer, said.subscribed, said.published):
        assert dialect.delivered(other) is None
    assert not dialect.published(said.message)
    assert not dialect.subscribed(said.message)


@with_channels
def test_every_byte_of_a_message_counts(said: Said) -> None:
    dialect = spoken(said)
    for wrong in spoiled(said.message):
        with pytest.raises(AssertionError, match="no answer that fits"):
            dialect.delivered(wrong)


@with_channels
def test_every_byte_of_an_acknowledgement_counts(said: Said) -> None:
    dialect = spoken(said)
    for wrong in spoiled(said.published):
        with pytest.raises(AssertionError, match="no answer that fits"):
            dialect.published(wrong)
    for wrong in spoiled(said.subscribed):
        with pytest.raises(AssertionError, match="no answer that fits"):
            dialect.subscribed(wrong)


@with_channels
def test_a_message_of_another_channel_is_refused(said: Said) -> None:
    with pytest.raises(AssertionError, match="no answer that fits"):
        spoken(said).delivered(said.message.replace(b'"c"', b'"d"'))


@with_channels
def test_a_message_is_published_with_a_hundred_bytes_and_its_number(said: Said) -> None:
    assert b'"%b12"' % X in spoken(said).publish("c", 12)


@with_channels
def test_the_same_message_for_many_is_the_same_number_and_the_next_is_another(said: Said) -> None:
    dialect = spoken(said)
    following = said.message.replace(X + b"7", X + b"8")
    numbers = [dialect.delivered(each) for each in (said.message, said.message, following)]
    assert numbers == [7, 7, 8]


@pytest.mark.parametrize("name", ["fastapi-websocket-rpc", "aiohttp-rpc"])
def test_a_server_without_channels_is_not_asked_for_them(name: str) -> None:
    dialect = Worded(RECORDED[name].wording)
    with pytest.raises(TypeError, match="has no publish/subscribe"):
        dialect.subscribe("c")
    with pytest.raises(TypeError, match="has no publish/subscribe"):
        dialect.publish("c", 0)


@pytest.mark.parametrize("name", ["python-socketio", "Socket.IO"])
def test_a_ping_of_socket_io_is_no_answer(name: str) -> None:
    dialect = Worded(RECORDED[name].wording)
    assert dialect.answered(b"2") is None
    assert dialect.delivered(b"2") is None
    assert not dialect.published(b"2")


def test_a_wording_has_all_that_channels_need_or_nothing_of_it() -> None:
    names = {"subscribe", "subscribed", "publish", "published", "message"}
    assert names < {field.name for field in fields(Wording)}
    for said in RECORDED.values():
        given = {name for name in names if getattr(said.wording, name) is not None}
        assert given in (names, set())


def test_each_peer_has_a_name_of_its_own_and_ours_is_the_first() -> None:
    names = [peer.name for peer in PEERS]
    assert names[0] == "ours"
    assert len(set(names)) == len(names)


def test_a_peer_fans_out_if_its_dialect_can() -> None:
    for peer in PEERS:
        if peer.fan_out:
            assert peer.dialect.subscribe("c")
        else:
            with pytest.raises(TypeError):
                peer.dialect.subscribe("c")


def pins(path: str) -> dict[str, str]:
    """Packages and their versions."""
    lines = [line.partition(";")[0] for line in (ROOT / path).read_text().splitlines()]
    pinned = (line.strip().lower().split("==") for line in lines if line and line[0] != "#")
    return dict(pinned)


def test_what_ours_and_its_peers_share_is_of_one_version() -> None:
    ours, theirs = pins("requirements/dev.txt"), pins("bench/peers.txt")
    shared = ours.keys() & theirs.keys()
    assert {"aiohttp", "msgspec", "uvloop", "websockets"} < shared
    assert {name: ours[name] for name in shared} == {name: theirs[name] for name in shared}


def test_the_packages_for_node_are_pinned_and_name_no_registry() -> None:
    wanted = json.loads((ROOT / "bench/js/package.json").read_text())["dependencies"]
    lock = (ROOT / "bench/js/package-lock.json").read_text()
    assert '"resolved"' not in lock
    found = json.loads(lock)["packages"]
    assert {name: found[f"node_modules/{name}"]["version"] for name in wanted} == wanted


def test_our_server_takes_part_in_everything() -> None:
    ours = PEERS[0]
    with Server(ours, "--patterns", "100", core=None) as server:
        heard = converse(server.port, ours)
    assert RECORDED["ours"].answer in heard
    assert RECORDED["ours"].published in heard


def test_our_server_says_what_it_costs() -> None:
    ours = PEERS[0]
    with (
        Server(ours, core=None) as server,
        connected(server.port, ours.dialect, 2) as (one, other),
    ):
        assert tell(one, "freeze")["connections"] == 2
        collected = tell(one, "collect")
        assert collected["ms"] > 0
        assert collected["connections"] == 2
        assert collected["tasks"] > 0
        lag = tell(one, "lag", seconds=0.1)
        assert 0 < lag["p50"] <= lag["p99"] <= lag["max"]
        assert tell(one, "queued") == {"longest": 0, "ended": []}
        other.say(ours.dialect.subscribe("c"))
        assert ours.dialect.subscribed(next(other.messages()))
        tell(one, "tick", channel="c", rate=100, seconds=0.01, size=10)
        tick = json.loads(next(other.messages()))
        assert (tick["channel"], tick["event"], tick["data"]["filler"]) == ("c", "tick", "x" * 10)


def test_our_server_keeps_messages_and_counts_how_often_they_are_read() -> None:
    ours = PEERS[0]
    with (
        Server(ours, "--history", "5", core=None) as server,
        connected(server.port, ours.dialect, 1) as (one,),
    ):
        for number in range(7):
            one.say(ours.dialect.publish("kept:c", number))
            next(one.messages())
        before = tell(one, "reads")["reads"]
        assert len(tell(one, "history", channel="kept:c")["messages"]) == 5
        assert tell(one, "reads")["reads"] == before + 1


def test_our_server_notes_how_a_connection_ended() -> None:
    ours = PEERS[0]
    with (
        Server(ours, core=None) as server,
        connected(server.port, ours.dialect, 2) as (one, other),
    ):
        other.send(b"\x88\x82" + bytes(4) + (1000).to_bytes(2))
        closed = other.read()
        assert closed[2:4] == (1000).to_bytes(2)
        while not (ended := tell(one, "queued")["ended"]):
            pass
        assert ended == [1000]
