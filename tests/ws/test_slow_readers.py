"""Clients that stop reading: what becomes of them is as the rules of their channels say.

Real sockets, with small buffers in the system, so that what is not read waits in the server. The
slow client reads nothing until it is told to; another one reads all the time, and whoever publishes
waits for that one after each message, so nothing depends on speed.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from yarl import URL

from openapi.ws import ChannelRule, Latest, Limits, SocketsManager
from openapi.ws.rules import Slow
from tests.shuffled import run
from tests.ws.endpoints import Endpoint, application
from tests.ws.linked import Linked
from tests.ws.tcp import Client, Frame, served

OUTBOX = 512 * 1024
BOUND = OUTBOX * 5 // 4
"""What may wait for one connection, with all that it lags behind."""
TEXT = "x" * 4000
FLOOD = 400
"""Messages of 4 KB, three times what an outbox takes."""

POLICIES: list[Slow] = ["drop_oldest", Latest(key="n"), "catch_up"]
"""Those that keep the socket. With a key of its own, no message takes another's place."""
NAMES = ["drop_oldest", "latest", "catch_up"]


class Desk(SocketsManager):
    """Notes who left and what was called, and refuses channels when it is told to."""

    def __init__(self, *rules: ChannelRule, **limits: Any) -> None:
        limits = {"ping_interval": None, "outbox_bytes": OUTBOX} | limits
        super().__init__(channels=rules, limits=Limits(**limits))
        self.left: list[int] = []
        self.refused: set[str] = set()
        self.news = asyncio.Condition()
        self.called = 0

    async def until(self, called: int) -> None:
        """Wait until so many calls of ``mark`` have come."""
        async with self.news:
            await self.news.wait_for(lambda: self.called >= called)


class Marked(Endpoint):
    """Counts calls."""

    sockets: Desk

    async def on_connect(self) -> None:
        self.user = self.request.query.get("user")

    async def on_disconnect(self, code: int) -> None:
        self.sockets.left.append(code)
        async with self.sockets.news:
            self.sockets.news.notify_all()

    async def authorize(self, action: str, channel: str, event: str) -> bool:
        return channel not in self.sockets.refused

    async def ws_rpc_mark(self, payload: dict[str, Any]) -> Any:
        """The payload, and one more call"""
        self.sockets.called += 1
        async with self.sockets.news:
            self.sockets.news.notify_all()
        return payload

    async def ws_rpc_burst(self, payload: dict[str, Any]) -> None:
        """Publish 25 messages "a" and 5 "b" in one turn of the loop"""
        for n in range(1, 31):
            event = "a" if n <= 25 else "b"
            await self.sockets.publish("c", event, {"n": n, "text": TEXT[:800]})

    async def ws_rpc_reauthorize(self, payload: dict[str, Any]) -> Any:
        """What is lost when all is asked for anew"""
        return await self.reauthorize()


@dataclass(slots=True)
class Rig:
    """A server, a client that reads slowly, and one that does not."""

    sockets: Desk
    url: URL
    slow: Client
    well: Client
    others: list[Client] = field(default_factory=list)
    published: int = 0

    async def another(self, user: str) -> Client:
        """One more client; it ends with the test."""
        client = await Client.open(self.url.with_query(user=user))
        self.others.append(client)
        return client

    async def subscribe(self, channel: str, event: str = "*") -> None:
        """Subscribe both."""
        for client in (self.slow, self.well):
            await client.call("subscribe", {"channel": channel, "event": event})

    async def flood(
        self, channel: str, count: int = FLOOD, *, events: Sequence[str] = ("e",), text: str = TEXT
    ) -> None:
        """Publish messages ``{"n": 1}``, ``{"n": 2}`` and so on; the one who reads gets each."""
        for _ in range(count):
            self.published += 1
            event = events[self.published % len(events)]
            data = {"n": self.published, "key": self.published % 7, "text": text}
            await self.sockets.publish(channel, event, data)
            await self.well.until(lambda: _newest(self.well) == self.published)
            await self.check_bound()

    async def check_bound(self) -> None:
        """What waits is bounded."""
        for connection in await self.sockets.connections():
            assert connection.queued_bytes <= BOUND, connection

    async def processed(self, client: Client) -> None:
        """Wait until the server has got all that a client sent, though it reads nothing."""
        called = self.sockets.called
        client.begin("mark")
        await self.sockets.until(called + 1)


def _newest(client: Client) -> int:
    return next(
        (each["data"]["n"] for each in reversed(client.received) if _is_message(each)),
        0,
    )


def _is_message(frame: Frame) -> bool:
    return "channel" in frame and not frame["event"].startswith("$")


@asynccontextmanager
async def rig(*rules: ChannelRule, **limits: Any) -> AsyncIterator[Rig]:
    sockets = Desk(*rules, **limits)
    async with served(application(Marked, sockets), send_buffer=16384) as url:
        slow = await Client.open(url.with_query(user="slow"), receive_buffer=4096)
        well = await Client.open(url.with_query(user="well"))
        rig = Rig(sockets, url, slow, well)
        try:
            yield rig
        finally:
            for client in (slow, well, *rig.others):
                client.reset()


def relieving() -> int:
    """How many tasks send what waits to a client that lags."""
    names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
    return sum(name.startswith("Lagging.") for name in names)


def numbers(frames: Sequence[Frame]) -> list[int]:
    """The numbers of the messages among some frames."""
    return [each["data"]["n"] for each in frames if _is_message(each)]


async def reaches(client: Client, channel: str, number: int) -> None:
    """Wait until a client has a message of a channel."""
    await client.until(lambda: numbers(client.of(channel))[-1:] == [number])


def dropped(frames: Sequence[Frame]) -> int:
    """How many messages were told to be dropped."""
    return sum(each["data"]["dropped"] for each in frames if each.get("event") == "$lagged")


def resets(frames: Sequence[Frame]) -> list[Frame]:
    return [each for each in frames if each.get("event") == "$reset"]


def check_gaps(frames: Sequence[Frame], first: int = 1) -> int:
    """Each gap is told, right before the message behind it, with the exact number.

    Returns the number that would be next.
    """
    expected = first
    for each in frames:
        if each["event"] == "$lagged":
            expected += each["data"]["dropped"]
        else:
            assert each["data"]["n"] == expected
            expected += 1
    return expected


# What each policy does


async def test_disconnect_closes_with_4008_behind_what_had_been_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # However busy the machine is: it reads on soon enough to see the closing frame.
    monkeypatch.setattr("openapi.ws.connection._SLOW_CLOSE_TIMEOUT", 60.0)
    async with rig(ChannelRule("c")) as r:
        await r.subscribe("c")
        r.slow.pause()
        await r.flood("c")
        r.slow.resume()
        assert await r.slow.closed == 4008
        got = numbers(r.slow.of("c"))
        assert got == [*range(1, len(got) + 1)]
        assert len(got) < FLOOD
        async with r.sockets.news:
            await r.sockets.news.wait_for(lambda: r.sockets.left == [4008])
        assert numbers(r.well.of("c")) == [*range(1, FLOOD + 1)]


async def test_who_is_closed_for_it_and_does_not_read_on_is_cut_off() -> None:
    async with rig(ChannelRule("c")) as r:
        await r.subscribe("c")
        r.slow.pause()
        await r.flood("c")
        async with r.sockets.news:
            await r.sockets.news.wait_for(lambda: r.sockets.left == [4008])
        assert [each.user for each in await r.sockets.connections()] == ["well"]


@pytest.mark.parametrize("history", [0, 50])
async def test_drop_oldest_keeps_the_socket_and_tells_how_many_are_missing(history: int) -> None:
    async with rig(ChannelRule("c", slow="drop_oldest", history=history)) as r:
        await r.subscribe("c")
        r.slow.pause()
        await r.flood("c")
        r.slow.resume()
        await r.slow.until(lambda: _newest(r.slow) == FLOOD)
        await r.flood("c", 3)
        await r.slow.call("mark")
        got = r.slow.of("c")
        assert check_gaps(got) == FLOOD + 4
        assert dropped(got) > FLOOD // 2
        assert len(resets(got)) == 0
        assert numbers(r.well.of("c")) == [*range(1, FLOOD + 4)]
        assert dropped(r.well.of("c")) == 0


async def test_latest_keeps_the_newest_of_each_key() -> None:
    async with rig(ChannelRule("c", slow=Latest(key="key"))) as r:
        await r.subscribe("c")
        r.slow.pause()
        await r.flood("c")
        r.slow.resume()
        await r.slow.until(lambda: _newest(r.slow) == FLOOD)
        await r.slow.call("mark")
        got = r.slow.of("c")
        assert numbers(got) == sorted(set(numbers(got)))  # in order, nothing twice
        assert numbers(got)[-7:] == [*range(FLOOD - 6, FLOOD + 1)]  # one of each of the 7 keys
        assert len(numbers(got)) + dropped(got) == FLOOD
        assert [each["event"] for each in got].count("$lagged") == 1
        await r.flood("c", 2)
        await r.slow.call("mark")
        assert numbers(r.slow.of("c", behind=len(got)))[-2:] == [FLOOD + 1, FLOOD + 2]
        assert dropped(r.well.of("c")) == 0


async def test_latest_without_a_key_keeps_the_newest_of_each_event() -> None:
    async with rig(ChannelRule("c", slow=Latest())) as r:
        await r.subscribe("c")
        r.slow.pause()
        await r.flood("c", events=["a", "b", "c"])
        r.slow.resume()
        await r.slow.until(lambda: _newest(r.slow) == FLOOD)
        got = r.slow.of("c")
        assert numbers(got) == sorted(set(numbers(got)))
        assert numbers(got)[-3:] == [FLOOD - 2, FLOOD - 1, FLOOD]
        assert len(numbers(got)) + dropped(got) == FLOOD


@pytest.mark.parametrize("history", [300, 1000])  # what is read again, and what is in the log
async def test_catch_up_loses_nothing(history: int) -> None:
    async with rig(ChannelRule("c", slow="catch_up", history=history), recovery=300) as r:
        await r.subscribe("c")
        r.slow.pause()
        await r.flood("c", 250)
        r.slow.resume()
        await r.slow.until(lambda: _newest(r.slow) > 100)
        r.slow.pause()
        await r.flood("c", 150)  # while it catches up
        r.slow.resume()
        await r.slow.until(lambda: _newest(r.slow) == 400)
        await r.flood("c", 3)
        await r.slow.call("mark")
        got = r.slow.of("c")
        assert [each["offset"] for each in got] == numbers(got) == [*range(1, 404)]


async def test_catch_up_reads_as_often_as_it_takes_where_little_is_read_at_once() -> None:
    async with rig(ChannelRule("c", slow="catch_up", history=1000), recovery=10) as r:
        await r.subscribe("c")
        r.slow.pause()
        await r.flood("c")
        r.slow.resume()
        await r.slow.until(lambda: _newest(r.slow) == FLOOD)
        assert numbers(r.slow.of("c")) == [*range(1, FLOOD + 1)]


async def test_catch_up_tells_where_it_goes_on_when_history_was_too_short() -> None:
    async with rig(ChannelRule("c", slow="catch_up", history=20)) as r:
        await r.subscribe("c")
        r.slow.pause()
        await r.flood("c")
        r.slow.resume()
        await r.slow.until(lambda: resets(r.slow.of("c")) != [])
        await r.flood("c", 5)
        await r.slow.call("mark")
        got = r.slow.of("c")
        at = [each["event"] for each in got].index("$reset")
        before, reset, behind = got[:at], got[at]["data"], got[at + 1 :]
        assert numbers(before) == [*range(1, len(before) + 1)]
        assert reset["offset"] == FLOOD
        assert numbers(behind) == [*range(FLOOD + 1, FLOOD + 6)]
        # And the position is a true one: it can be recovered from.
        recover = {"channel": "c", "recover": reset}
        again = await (await r.another("comes")).call("subscribe", recover)
        assert again["recovered"] is True
        assert numbers(again["messages"]) == numbers(behind)


async def test_a_stream_that_is_lost_while_a_client_catches_up_is_a_reset_once() -> None:
    async with rig(ChannelRule("c", slow="catch_up", history=1000)) as r:
        await r.subscribe("c")
        r.slow.pause()
        await r.flood("c")
        vars(r.sockets)["_SocketsManager__broker"].forget("c")
        await r.sockets.publish("c", "e", {"n": FLOOD + 1})  # the first of the new stream
        await r.well.until(lambda: _newest(r.well) == FLOOD + 1)
        r.slow.resume()
        await r.slow.until(lambda: _newest(r.slow) == FLOOD + 1)
        for client in (r.slow, r.well):
            got = client.of("c")
            (reset,) = resets(got)
            assert got.index(reset) == len(got) - 2
            assert reset["data"]["offset"] == 0
            assert got[-1]["offset"] == 1
            before = numbers(got[:-2])
            assert before == [*range(1, len(before) + 1)]


@pytest.mark.parametrize("slow", POLICIES, ids=NAMES)
async def test_a_client_that_reads_now_and_then_lags_again_and_again(slow: Slow) -> None:
    async with rig(ChannelRule("c", slow=slow, history=1000)) as r:
        await r.subscribe("c")
        for _ in range(6):
            r.slow.pause()
            await r.flood("c", 150)
            r.slow.resume()
            await r.slow.more(20)
        await r.slow.until(lambda: _newest(r.slow) == 900)
        got = r.slow.of("c")
        assert check_gaps(got) == 901
        assert (dropped(got) == 0) == (slow == "catch_up")
        assert resets(got) == []


# What else goes on meanwhile


@pytest.mark.parametrize("slow", POLICIES, ids=NAMES)
async def test_answers_and_control_messages_have_their_place_however_far_it_lags(
    slow: Slow,
) -> None:
    rules = (
        ChannelRule("c", slow=slow, history=1000),
        ChannelRule("room", presence=True),
        ChannelRule("other*"),
    )
    async with rig(*rules, presence_grace=0.001) as r:
        await r.subscribe("c")
        await r.slow.call("subscribe", {"channel": "room", "presence": True})
        await r.slow.call("subscribe", {"channel": "other"})
        r.slow.pause()
        await r.flood("c", FLOOD // 2)
        calls = [r.slow.begin("mark", {"text": TEXT, "call": n}) for n in range(20)]
        await r.sockets.until(20)
        comes = await r.another("comes")
        await comes.call("subscribe", {"channel": "room"})
        assert await r.sockets.subscribe_socket("other2", user="slow") == 1
        r.sockets.refused.add("other")
        lost = r.slow.begin("reauthorize")
        await r.processed(r.slow)
        await r.flood("c", FLOOD // 2)
        assert await r.sockets.unsubscribe_socket("other2", user="slow") == 1
        comes.reset()
        r.slow.resume()
        for number, call in enumerate(calls):
            assert (await r.slow.answer(call))["response"] == {"text": TEXT, "call": number}
        assert (await r.slow.answer(lost))["response"] == ["other"]
        await r.slow.until(lambda: any(each["event"] == "$leave" for each in r.slow.of("room")))
        await r.slow.until(lambda: _newest(r.slow) == FLOOD)
        assert check_gaps(r.slow.of("c")) == FLOOD + 1
        assert [(each["event"], each["data"]["user"]) for each in r.slow.of("room")] == [
            ("$join", "slow"),
            ("$join", "comes"),
            ("$leave", "comes"),
        ]
        assert [each["event"] for each in r.slow.of("other")] == ["$unsubscribed"]
        assert [each["event"] for each in r.slow.of("other2")] == ["$subscribed", "$unsubscribed"]


@pytest.mark.parametrize("slow", POLICIES, ids=NAMES)
async def test_the_other_channels_of_a_lagging_client_miss_nothing(slow: Slow) -> None:
    rules = (
        ChannelRule("c", slow=slow, history=1000),
        ChannelRule("rare"),
        ChannelRule("kept", slow="catch_up", history=100),
    )
    async with rig(*rules) as r:
        await r.subscribe("c")
        await r.subscribe("rare")
        await r.subscribe("kept")
        r.slow.pause()
        for number in range(20):
            await r.flood("c", FLOOD // 20)
            await r.sockets.publish("rare", "e", number)
            await r.sockets.publish("kept", "e", number)
        r.slow.resume()
        await reaches(r.slow, "c", FLOOD)
        await r.slow.until(lambda: _last(r.slow, "kept") == 19)
        for client in (r.slow, r.well):
            for channel in ("rare", "kept"):
                assert [each["data"] for each in client.of(channel)] == [*range(20)]
        assert check_gaps(r.slow.of("c")) == FLOOD + 1
        assert numbers(r.well.of("c")) == [*range(1, FLOOD + 1)]


def _last(client: Client, channel: str) -> Any:
    got = client.of(channel)
    return got[-1]["data"] if got else None


async def test_what_waits_is_bounded_over_all_channels_that_a_client_lags_behind_with() -> None:
    channels = [f"{name}{n}" for n in range(5) for name in ("old", "new", "all")]
    rules = (
        ChannelRule("old*", slow="drop_oldest"),
        ChannelRule("new*", slow=Latest(key="n")),
        ChannelRule("all*", slow="catch_up", history=1000),
    )
    async with rig(*rules) as r:
        for channel in channels:
            await r.subscribe(channel)
        r.slow.pause()
        for _ in range(FLOOD // 10):
            for channel in channels:
                await r.flood(channel, 1)
        r.slow.resume()
        for channel in channels:
            expected = numbers(r.well.of(channel))
            await reaches(r.slow, channel, expected[-1])
            got = r.slow.of(channel)
            assert numbers(got) == sorted(set(numbers(got)))
            assert len(numbers(got)) + dropped(got) == len(expected)
            assert resets(got) == []


# Subscriptions that change meanwhile


@pytest.mark.parametrize("slow", POLICIES, ids=NAMES)
async def test_behind_the_answer_to_unsubscribe_nothing_comes_of_what_waited(slow: Slow) -> None:
    async with rig(ChannelRule("c", slow=slow, history=1000)) as r:
        await r.subscribe("c")
        r.slow.pause()
        await r.flood("c")
        call = r.slow.begin("unsubscribe", {"channel": "c"})
        await r.processed(r.slow)
        await r.flood("c", 10)
        r.slow.resume()
        answer = await r.slow.answer(call)
        assert answer["response"] == {"subscribed": {}}
        await r.flood("c", 10)
        await r.slow.call("mark")
        assert r.slow.of("c", behind=r.slow.received.index(answer)) == []
        before = r.slow.of("c")
        assert check_gaps(before) == len(before) + 1
        # And if it comes back, all is as if it had never lagged.
        await r.slow.call("subscribe", {"channel": "c"})
        await r.flood("c", 5)
        await r.slow.call("mark")
        again = r.slow.of("c")[len(before) :]
        assert numbers(again) == [*range(FLOOD + 21, FLOOD + 26)]
        assert dropped(again) == 0


@pytest.mark.parametrize("slow", POLICIES, ids=NAMES)
async def test_behind_the_answer_only_the_patterns_that_are_left_get_what_waited(
    slow: Slow,
) -> None:
    async with rig(ChannelRule("c", slow=slow, history=1000)) as r:
        await r.well.call("subscribe", {"channel": "c"})
        await r.slow.call("subscribe", {"channel": "c", "event": "a*"})
        await r.slow.call("subscribe", {"channel": "c", "event": "b*"})
        r.slow.pause()
        await r.flood("c", events=["b1", "a1", "a2", "none"])
        call = r.slow.begin("unsubscribe", {"channel": "c", "event": "a*"})
        await r.processed(r.slow)
        await r.flood("c", 8, events=["b1", "a1", "a2", "none"])
        r.slow.resume()
        answer = await r.slow.answer(call)
        assert answer["response"] == {"subscribed": {"c": ["b*"]}}
        await r.slow.until(lambda: _newest(r.slow) == FLOOD + 8)
        at = r.slow.received.index(answer)
        events = {each["event"] for each in r.slow.of("c", behind=at)}
        assert events - {"$lagged"} == {"b1"}
        got = numbers(r.slow.of("c"))
        assert got == sorted(set(got))
        if slow == "catch_up":
            assert [n for n in got if n % 4 == 0] == [*range(4, FLOOD + 9, 4)]


async def test_a_pattern_more_gets_what_is_published_from_then_on() -> None:
    async with rig(ChannelRule("c", slow="catch_up", history=1000)) as r:
        await r.well.call("subscribe", {"channel": "c"})
        await r.slow.call("subscribe", {"channel": "c", "event": "a"})
        r.slow.pause()
        await r.flood("c", events=["b", "a"])
        call = r.slow.begin("subscribe", {"channel": "c", "event": "b"})
        await r.processed(r.slow)
        await r.flood("c", 20, events=["b", "a"])
        r.slow.resume()
        answer = await r.slow.answer(call)
        await r.slow.until(lambda: _newest(r.slow) == FLOOD + 20)
        offset = answer["response"]["offset"]
        behind = numbers(r.slow.of("c", behind=r.slow.received.index(answer)))
        assert behind == [*range(offset + 1, FLOOD + 21)]
        got = numbers(r.slow.of("c"))
        assert got == sorted(set(got))
        assert [n for n in got if n % 2 == 1] == [*range(1, FLOOD + 21, 2)]


@pytest.mark.parametrize("slow", POLICIES, ids=NAMES)
async def test_a_recovery_on_a_channel_that_lags_repeats_nothing_and_leaves_nothing_out(
    slow: Slow,
) -> None:
    async with rig(ChannelRule("c", slow=slow, history=1000)) as r:
        await r.well.call("subscribe", {"channel": "c"})
        joined = await r.slow.call("subscribe", {"channel": "c", "event": "a"})
        start = {"offset": joined["offset"], "epoch": joined["epoch"]}
        r.slow.pause()
        await r.flood("c", 205, events=["a"])
        await r.flood("c", 5, events=["b"])
        payload = {"channel": "c", "event": "b", "recover": start}
        call = r.slow.begin("subscribe", payload)
        await r.processed(r.slow)
        await r.flood("c", 10, events=["a", "b"])
        r.slow.resume()
        answer = await r.slow.answer(call)
        response = answer["response"]
        await r.slow.until(lambda: _newest(r.slow) == 220)
        await r.slow.call("mark")
        at = r.slow.received.index(answer)
        before, behind = r.slow.received[:at], r.slow.of("c", behind=at)
        assert response["recovered"] is True
        # Before it only the first pattern; what the second had missed is in the answer.
        assert {each["event"] for each in before if _is_message(each)} == {"a"}
        recovered, live = numbers(response["messages"]), numbers(behind)
        missed = [*range(206, 211), *range(211, 221, 2)]
        assert recovered == [n for n in missed if n <= response["offset"]]
        # The position that was answered is a true one: all that is behind it comes behind it.
        assert live == [n for n in sorted(set(live)) if n > response["offset"]]
        heard = [*numbers(before), *recovered, *live]
        assert len(heard) == len(set(heard))
        assert len(heard) + dropped(r.slow.received) == 220
        assert (dropped(r.slow.received) == 0) == (slow == "catch_up")


@pytest.mark.parametrize("slow", POLICIES, ids=NAMES)
@pytest.mark.parametrize("pattern", ["a", "b", "*"])
async def test_a_recovery_in_the_turn_in_which_it_began_to_lag_leaves_nothing_out(
    slow: Slow, pattern: str
) -> None:
    async with rig(ChannelRule("c", slow=slow, history=100), outbox_bytes=64 * 1024) as r:
        joined = await r.well.call("subscribe", {"channel": "c", "event": "a"})
        start = {"offset": joined["offset"], "epoch": joined["epoch"]}
        # Of a burst, so small an outbox takes some; who sends both in one piece lags here.
        payload = {"channel": "c", "event": pattern, "recover": start}
        call = r.well.begin_together(("burst", None), ("subscribe", payload))[1]
        answer = await r.well.answer(call)
        await r.sockets.publish("c", "a", {"n": 31})
        await reaches(r.well, "c", 31)
        response = answer["response"]
        offset, recovered = response["offset"], numbers(response["messages"])
        of_pattern = {"a": [*range(1, 26), 31], "b": [*range(26, 31)], "*": [*range(1, 32)]}
        assert response["recovered"] is True
        assert recovered == [n for n in of_pattern[pattern] if n <= offset]
        behind = numbers(r.well.of("c", behind=r.well.received.index(answer)))
        wanted = sorted({*of_pattern["a"], *of_pattern[pattern]})
        assert behind == [n for n in wanted if n > offset]


@pytest.mark.parametrize("channel", ["c", "d"])
@pytest.mark.parametrize("slow", POLICIES, ids=NAMES)
async def test_a_subscribe_is_answered_though_more_is_published_than_read(
    slow: Slow, channel: str
) -> None:
    async with rig(ChannelRule("c", slow=slow, history=1000), ChannelRule("d", history=100)) as r:
        await r.subscribe("c")
        payload = {"channel": channel, "limit": 0}
        start = await r.well.call("history", payload)
        recover = {"offset": start["offset"], "epoch": start["epoch"]}
        await r.sockets.publish("d", "e", {"n": 0})
        r.slow.pause()
        await r.flood("c")
        call = r.slow.begin("subscribe", {"channel": channel, "recover": recover})
        gone = r.slow.begin("unsubscribe", {"channel": "c"})
        await r.processed(r.slow)
        for _ in range(1000):
            if _answered(r.slow, call) and _answered(r.slow, gone):
                break
            await r.flood("c", 2)
            r.slow.resume()
            await r.slow.more(1)
            r.slow.pause()
        assert _answered(r.slow, call)
        assert _answered(r.slow, gone)


class Lasting(Marked):
    """Its calls take their time."""

    async def ws_rpc_join(self, payload: dict[str, Any]) -> None:
        """Subscribe, and go on for a while"""
        await self.channels.register("held", None, self.channel_callback)
        await asyncio.sleep(600)


@pytest.mark.parametrize("slow", POLICIES, ids=NAMES)
def test_a_client_that_lags_for_what_a_call_holds_costs_nothing_until_it_is_answered(
    slow: Slow,
) -> None:
    # In virtual time: a loop that spins never gets to the end of the call.
    async def main() -> None:
        sockets = Desk(ChannelRule("c", slow=slow, history=100), outbox_bytes=64 * 1024)
        async with Linked(application(Lasting, sockets)) as server:
            client = await server.connect()
            await client.call("subscribe", {"channel": "c"})
            call = client.begin("join")
            answer = asyncio.ensure_future(client.answer(call))
            await asyncio.sleep(1)
            for number in range(20):
                await sockets.publish("held", "e", {"n": number, "text": TEXT[:1000]})
            for number in range(20):
                await sockets.publish("c", "e", {"n": number, "text": TEXT[:100]})
            await answer
            await asyncio.sleep(1)
            frames = [each for each in client.received if "channel" in each]
            for channel in ("c", "held"):
                got = numbers([each for each in frames if each["channel"] == channel])
                assert got == [*range(20)]
            assert dropped(frames) == 0

    for seed in range(10):
        run(seed, main)


# The end


@pytest.mark.parametrize("slow", POLICIES, ids=NAMES)
@pytest.mark.parametrize("way", ["reset", "closed by the server", "closed by itself"])
async def test_a_lagging_client_that_dies_leaves_no_task_and_no_subscription(
    slow: Slow, way: str
) -> None:
    async with rig(ChannelRule("c*", slow=slow, history=1000)) as r:
        await r.subscribe("c1")
        await r.subscribe("c2")
        assert relieving() == 0
        r.slow.pause()
        await r.flood("c1", FLOOD // 2)
        await r.flood("c2", FLOOD // 2)
        assert relieving() == 2
        match way:
            case "reset":
                r.slow.reset()
            case "closed by the server":
                assert await r.sockets.disconnect(user="slow") == 1
                await r.flood("c1", 5)
                r.slow.resume()
            case "closed by itself":
                r.slow.close()
                r.slow.resume()
        async with r.sockets.news:
            await r.sockets.news.wait_for(lambda: r.sockets.left != [])
        await r.flood("c1", 5)
        assert r.sockets.channels.info() == {"c1": {"*": 1}, "c2": {"*": 1}}
        assert relieving() == 0
        assert [each.user for each in await r.sockets.connections()] == ["well"]


@pytest.mark.parametrize("slow", ["disconnect", *POLICIES], ids=["disconnect", *NAMES])
async def test_large_recoveries_on_many_channels_of_a_slow_client_do_not_close_it(
    slow: Slow,
) -> None:
    channels, starts = [f"c{n}" for n in range(40)], {}
    async with rig(ChannelRule("c*", history=100, slow=slow)) as r:
        for channel in channels:
            starts[channel] = await r.well.call("subscribe", {"channel": channel})
            for number in range(1, 51):
                await r.sockets.publish(channel, "e", {"n": number, "text": TEXT})
                await reaches(r.well, channel, number)
        r.slow.pause()
        calls = {}
        for channel, start in starts.items():
            recover = {"offset": start["offset"], "epoch": start["epoch"]}
            calls[channel] = r.slow.begin("subscribe", {"channel": channel, "recover": recover})
        await r.processed(r.slow)
        for channel in channels[::4]:
            await r.sockets.publish(channel, "e", {"n": 51})
        await r.check_bound()
        while not all(_answered(r.slow, call) for call in calls.values()):
            r.slow.resume()
            await r.slow.more(1)
            r.slow.pause()
            await r.check_bound()
        r.slow.resume()
        await r.slow.call("mark")
        for index, (channel, call) in enumerate(calls.items()):
            response = (await r.slow.answer(call))["response"]
            assert response["recovered"] is True, response
            got = numbers(response["messages"]) + numbers(r.slow.of(channel))
            assert got == [*range(1, 51 + (index % 4 == 0))]
        assert r.sockets.left == []


def _answered(client: Client, call: int) -> bool:
    return any(each.get("id") == call for each in client.received)
