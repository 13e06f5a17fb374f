"""What waits for a reader that is too slow, and how it comes to it later."""

import asyncio
from collections.abc import Awaitable, Coroutine, Sequence
from typing import Any

import pytest

from openapi.protocol.stream import Position
from openapi.ws import Latest
from openapi.ws.backlog import OVERHEAD, Backlog
from openapi.ws.delivery import Delivery
from openapi.ws.lag import Lagging
from openapi.ws.rules import Slow
from tests.shuffled import pause, run

SEEDS = 20


def delivery(
    number: int, *, event: str = "e", channel: str = "c", slow: Slow = "drop_oldest", **data: Any
) -> Delivery:
    """A message that is its own number."""
    return Delivery(channel, event, {"n": number} | data, offset=number, slow=slow)


def numbers(waiting: Backlog) -> list[int]:
    """Take all."""
    return [waiting.take().data["n"] for _ in range(len(waiting))]


# A backlog


def test_messages_are_taken_in_the_order_in_which_they_came() -> None:
    backlog = Backlog("drop_oldest")
    assert not backlog
    for number in (1, 2, 3):
        backlog.put(delivery(number), 100)
    assert len(backlog) == 3
    assert numbers(backlog) == [1, 2, 3]
    assert (backlog.size, backlog.dropped) == (0, 0)


def test_each_message_costs_its_bytes_and_what_it_costs_to_keep_it() -> None:
    backlog = Backlog("drop_oldest")
    backlog.put(delivery(1), 100)
    backlog.put(delivery(2), 50)
    assert backlog.size == 150 + 2 * OVERHEAD
    backlog.take()
    assert backlog.size == 50 + OVERHEAD
    backlog.clear()
    assert (backlog.size, len(backlog), backlog.dropped) == (0, 0, 0)


def test_the_oldest_is_lost_and_the_newest_is_taken_back() -> None:
    backlog = Backlog("drop_oldest")
    for number in (1, 2, 3, 4):
        backlog.put(delivery(number), 100)
    backlog.drop_oldest()
    assert backlog.dropped == 1
    backlog.drop_newest()
    assert backlog.dropped == 1  # it comes in another way
    assert backlog.size == 2 * (100 + OVERHEAD)
    assert numbers(backlog) == [2, 3]


def test_messages_of_events_that_nobody_wants_any_more_are_forgotten() -> None:
    backlog = Backlog("drop_oldest")
    for number in range(6):
        backlog.put(delivery(number, event="ab"[number % 2]), 100)
    backlog.keep(lambda event: event == "a")
    assert backlog.size == 3 * (100 + OVERHEAD)
    assert backlog.dropped == 0
    assert numbers(backlog) == [0, 2, 4]


def test_the_newest_of_a_key_takes_the_place_of_the_one_before_and_comes_last() -> None:
    backlog = Backlog(Latest(key="symbol"))
    backlog.put(delivery(1, symbol="A"), 100)
    backlog.put(delivery(2, symbol="B"), 100)
    backlog.put(delivery(3, symbol="A"), 30)
    assert (len(backlog), backlog.dropped) == (2, 1)
    assert backlog.size == 130 + 2 * OVERHEAD
    assert numbers(backlog) == [2, 3]


def test_messages_of_one_key_and_two_events_are_both_kept() -> None:
    backlog = Backlog(Latest(key="symbol"))
    backlog.put(delivery(1, symbol="A", event="bid"), 100)
    backlog.put(delivery(2, symbol="A", event="ask"), 100)
    assert numbers(backlog) == [1, 2]


def test_without_a_key_each_event_has_one_message() -> None:
    backlog = Backlog(Latest())
    for number in range(6):
        backlog.put(delivery(number, event="ab"[number % 2]), 100)
    assert backlog.dropped == 4
    assert numbers(backlog) == [4, 5]


def test_messages_that_lack_the_key_are_of_one_key() -> None:
    backlog = Backlog(Latest(key="symbol"))
    backlog.put(delivery(1, symbol="A"), 100)
    backlog.put(delivery(2), 100)
    backlog.put(Delivery("c", "e", [3]), 100)
    assert backlog.dropped == 1
    assert backlog.take().data == {"n": 1, "symbol": "A"}
    assert backlog.take().data == [3]


@pytest.mark.parametrize("key", [["A", 1], {"name": "A"}])
def test_a_key_may_be_a_list_or_an_object(key: Any) -> None:
    backlog = Backlog(Latest(key="symbol"))
    backlog.put(delivery(1, symbol=key), 100)
    backlog.put(delivery(2, symbol=["B"]), 100)
    backlog.put(delivery(3, symbol=key), 100)
    assert numbers(backlog) == [2, 3]


def test_without_latest_equal_messages_are_all_kept() -> None:
    backlog = Backlog("catch_up")
    for _ in range(3):
        backlog.put(delivery(1), 100)
    assert numbers(backlog) == [1, 1, 1]


# Lagging


class Reader:
    """A connection whose outbox takes ``most`` messages a turn, unless it is ``full``."""

    def __init__(self, most: int = 3) -> None:
        self.sent: list[Any] = []
        """Numbers of messages, and what was told, as (event, data)."""
        self.by_channel: dict[str, list[int]] = {}
        self.full = True
        self.stops_behind = 0
        """It is full again when so many were sent; then ``stopped`` is set."""
        self.stopped = asyncio.Event()
        self.holding: set[str] = set()
        self.resets: list[tuple[str, Position]] = []
        self._most = most
        self._queued = 0
        self._resumed = asyncio.Event()

    def resume(self) -> None:
        self.full = False
        self._queued = 0
        self._resumed.set()

    def writable(self) -> Awaitable[object] | None:
        return self._resumed.wait() if self.full else None

    @property
    def crowded(self) -> bool:
        return self._queued >= self._most

    def put(self, delivery: Delivery) -> bool:
        self.sent.append(delivery.data["n"])
        self.by_channel.setdefault(delivery.channel, []).append(delivery.data["n"])
        if len(self.sent) == self.stops_behind:
            self.full = True
            self._resumed.clear()
            self.stopped.set()
        if not self._queued:
            asyncio.get_running_loop().call_soon(self._flush)
        self._queued += 1
        return True

    def size_of(self, delivery: Delivery) -> int:
        return len(delivery.written(packed=False))

    def held(self, channel: str) -> bool:
        return channel in self.holding

    def tell(self, channel: str, event: str, data: Any) -> None:
        self.sent.append((event, data))

    def reset(self, channel: str, position: Position) -> None:
        self.resets.append((channel, position))

    def _flush(self) -> None:
        self._queued = 0


class Log:
    """A history of messages numbered from 1, of which the newest ``keep`` are kept."""

    def __init__(self, *, keep: int = 1000, page: int = 7) -> None:
        self.newest = 0
        self.asked: list[int] = []
        self._keep = keep
        self._page = page

    def publish(self, count: int = 1) -> list[Delivery]:
        published = range(self.newest + 1, self.newest + count + 1)
        self.newest += count
        return [delivery(number, slow="catch_up") for number in published]

    def top(self, channel: str) -> Position:
        return Position(self.newest, "E")

    async def after(self, channel: str, since: Position) -> tuple[Sequence[Delivery], int] | None:
        self.asked.append(since.offset)
        await pause()
        if since.offset < self.newest - self._keep:
            return None
        end = min(since.offset + self._page, self.newest)
        pages = range(since.offset + 1, end + 1)
        return [delivery(n, channel=channel, slow="catch_up") for n in pages], end


class Rig:
    """What one connection lags behind with."""

    def __init__(self, *, limit: int = 1_000_000, most: int = 3, log: Log | None = None) -> None:
        self.reader = Reader(most)
        self.log = log or Log()
        self.tasks: list[asyncio.Task[None]] = []
        self.lagging = Lagging(self.reader, self.log, limit=limit, spawn=self._spawn)

    def put(self, count: int, *, first: int = 1, **options: Any) -> None:
        """Messages that are not to go out now."""
        for number in range(first, first + count):
            self.lagging.put(delivery(number, **options))

    async def over(self) -> None:
        """Wait until nothing waits any more."""
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self.tasks.append(task)
        return task


def of_one() -> int:
    """How many bytes a message that waits costs."""
    return len(delivery(1).written(packed=False)) + OVERHEAD


def test_what_waits_goes_out_when_there_is_room_in_order() -> None:
    async def main() -> None:
        rig = Rig()
        rig.put(10)
        assert len(rig.lagging) == 1
        assert "c" in rig.lagging
        assert "d" not in rig.lagging
        assert rig.lagging.size > 10 * OVERHEAD
        await pause()
        assert rig.reader.sent == []
        rig.reader.resume()
        await rig.over()
        assert rig.reader.sent == [*range(1, 11)]
        assert (len(rig.lagging), rig.lagging.size) == (0, 0)
        assert len(rig.tasks) == 1

    for seed in range(SEEDS):
        run(seed, main)


def test_what_comes_while_it_goes_out_comes_behind_it() -> None:
    async def main() -> None:
        rig = Rig(most=1)
        rig.put(5)
        rig.reader.resume()
        for number in range(6, 20):
            await pause()
            if "c" not in rig.lagging:
                break
            rig.put(1, first=number)
        await rig.over()
        assert rig.reader.sent == [*range(1, len(rig.reader.sent) + 1)]
        assert len(rig.reader.sent) >= 5
        assert rig.lagging.size == 0

    for seed in range(SEEDS):
        run(seed, main)


def test_the_oldest_make_room_and_their_number_is_told_first() -> None:
    async def main() -> None:
        rig = Rig(limit=4 * of_one())
        rig.put(9)
        assert rig.lagging.size <= 4 * of_one()
        rig.reader.resume()
        await rig.over()
        assert rig.reader.sent == [("$lagged", {"dropped": 5}), 6, 7, 8, 9]

    for seed in range(SEEDS):
        run(seed, main)


def test_what_is_dropped_meanwhile_is_told_before_the_next_one() -> None:
    async def main() -> None:
        rig = Rig(limit=4 * of_one(), most=2)
        rig.put(4)
        rig.reader.stops_behind = 2
        rig.reader.resume()
        await rig.reader.stopped.wait()
        rig.put(5, first=5)  # 3 and 4 wait, and 5, 6, 7 make no room any more
        rig.reader.resume()
        await rig.over()
        assert rig.reader.sent == [1, 2, ("$lagged", {"dropped": 3}), 6, 7, 8, 9]

    for seed in range(SEEDS):
        run(seed, main)


def test_the_newest_of_each_key_goes_out_and_the_number_of_the_others_is_told() -> None:
    async def main() -> None:
        rig = Rig()
        for number in range(1, 11):
            message = delivery(number, slow=Latest(key="k"), k=number % 3)
            rig.lagging.put(message)
        rig.reader.resume()
        await rig.over()
        assert rig.reader.sent == [("$lagged", {"dropped": 7}), 8, 9, 10]

    for seed in range(SEEDS):
        run(seed, main)


def test_all_channels_together_are_bounded_and_each_drops_its_own() -> None:
    async def main() -> None:
        rig = Rig(limit=6 * of_one())
        rig.put(4, channel="a")
        rig.put(5, channel="b")
        assert rig.lagging.size <= 6 * of_one()
        rig.reader.resume()
        await rig.over()
        told = [each for each in rig.reader.sent if isinstance(each, tuple)]
        assert told == [("$lagged", {"dropped": 3})]
        assert sorted(each for each in rig.reader.sent if each not in told) == [1, 2, 3, 4, 4, 5]

    for seed in range(SEEDS):
        run(seed, main)


def test_a_channel_that_has_nothing_to_drop_takes_the_room_of_the_largest() -> None:
    async def main() -> None:
        rig = Rig(limit=4 * of_one())
        rig.put(4, channel="a")
        rig.put(1, channel="b")
        rig.reader.resume()
        await rig.over()
        assert rig.reader.sent.count(1) == 1  # that of b
        assert ("$lagged", {"dropped": 1}) in rig.reader.sent
        assert [each for each in rig.reader.sent if each in (2, 3, 4)] == [2, 3, 4]

    for seed in range(SEEDS):
        run(seed, main)


def test_a_message_that_is_larger_than_all_room_is_dropped_and_told() -> None:
    async def main() -> None:
        rig = Rig(limit=of_one())
        rig.lagging.put(delivery(1, text="x" * 1000))
        assert rig.lagging.size == 0
        rig.reader.resume()
        await rig.over()
        assert rig.reader.sent == [("$lagged", {"dropped": 1})]
        assert len(rig.lagging) == 0

    for seed in range(SEEDS):
        run(seed, main)


def test_nothing_goes_out_while_somebody_waits_for_the_answer() -> None:
    async def main() -> None:
        rig = Rig()
        rig.reader.holding.add("c")
        rig.reader.resume()
        rig.put(2)
        rig.lagging.released()  # of another channel
        assert rig.tasks == []
        rig.reader.holding.clear()
        rig.lagging.released()
        rig.lagging.released()
        await rig.over()
        assert rig.reader.sent == [1, 2]
        assert len(rig.tasks) == 1

    for seed in range(SEEDS):
        run(seed, main)


@pytest.mark.parametrize("slow", ["drop_oldest", "catch_up"])
def test_nothing_goes_out_of_a_channel_that_was_left(slow: Slow) -> None:
    async def main() -> None:
        rig = Rig(most=1)
        rig.log.publish(5)
        for channel in ("c", "d"):
            rig.put(5, slow=slow, channel=channel)
        rig.reader.resume()
        await pause()
        sent = len(rig.reader.sent)
        rig.lagging.end("c")
        rig.lagging.end("c")  # harmless
        rig.lagging.end("nothing waits")
        assert "c" not in rig.lagging
        await rig.over()
        assert len(rig.reader.sent) <= sent + 5
        assert rig.lagging.size == 0
        assert len(rig.lagging) == 0

    for seed in range(SEEDS):
        run(seed, main)


def test_the_end_of_the_connection_ends_it_all() -> None:
    async def main() -> None:
        rig = Rig()
        rig.put(5, channel="a")
        rig.put(5, channel="b", slow="catch_up")
        rig.reader.holding.add("held")
        rig.put(5, channel="held")  # without a task
        await pause()
        rig.lagging.clear()
        assert (len(rig.lagging), rig.lagging.size) == (0, 0)
        await rig.over()
        assert all(task.cancelled() for task in rig.tasks)
        assert rig.reader.sent == []

    for seed in range(SEEDS):
        run(seed, main)


def test_of_what_waits_only_wanted_events_are_kept() -> None:
    async def main() -> None:
        rig = Rig()
        for number in range(6):
            rig.lagging.put(delivery(number, event="ab"[number % 2]))
        rig.lagging.keep("nothing waits", lambda event: False)
        rig.lagging.keep("c", lambda event: event == "a")
        kept = [delivery(number, event="a") for number in (0, 2, 4)]
        assert rig.lagging.size == sum(rig.reader.size_of(each) + OVERHEAD for each in kept)
        rig.reader.resume()
        await rig.over()
        assert rig.reader.sent == [0, 2, 4]
        assert rig.lagging.size == 0

    for seed in range(SEEDS):
        run(seed, main)


def test_what_waits_of_a_channel_goes_out_at_once_when_it_must() -> None:
    async def main() -> None:
        rig = Rig()
        rig.log.publish(5)
        rig.lagging.flush("c")  # nothing waits
        rig.put(5)
        rig.put(5, channel="d", slow="catch_up")
        rig.lagging.flush("c")
        rig.lagging.flush("d")  # it is read when it can be
        assert rig.reader.by_channel["c"] == [1, 2, 3, 4, 5]
        assert "c" not in rig.lagging
        assert "d" in rig.lagging
        assert rig.lagging.size == 0
        rig.reader.resume()
        await rig.over()

    for seed in range(SEEDS):
        run(seed, main)


# Catching up


def test_what_was_missed_is_read_page_by_page_up_to_what_is_live() -> None:
    async def main() -> None:
        rig = Rig(most=3, log=Log(page=7))
        rig.log.publish(2)
        for each in rig.log.publish(30):
            rig.lagging.put(each)
        assert rig.lagging.size == 0  # it is all in the history
        assert rig.lagging.behind("c") == 2
        rig.reader.resume()
        for _ in range(5):
            await pause()
            for each in rig.log.publish(3):
                if "c" in rig.lagging:
                    rig.lagging.put(each)
                else:
                    rig.reader.sent.append(each.offset)  # it is live
        await rig.over()
        assert rig.reader.sent == [*range(3, rig.log.newest + 1)]
        assert rig.lagging.behind("c") is None
        assert rig.reader.resets == []

    for seed in range(SEEDS):
        run(seed, main)


def test_a_history_that_is_too_short_is_a_reset_to_what_is_live() -> None:
    async def main() -> None:
        rig = Rig(log=Log(keep=10))
        for each in rig.log.publish(30):
            rig.lagging.put(each)
        rig.reader.resume()
        await rig.over()
        assert rig.reader.sent == []
        assert rig.reader.resets == [("c", Position(30, "E"))]
        assert len(rig.lagging) == 0

    for seed in range(SEEDS):
        run(seed, main)


def test_a_history_that_cannot_be_read_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Log):
        failures = 3

        async def after(
            self, channel: str, since: Position
        ) -> tuple[Sequence[Delivery], int] | None:
            if self.failures:
                self.failures -= 1
                raise OSError("it cannot be reached")
            return await super().after(channel, since)

    async def main() -> None:
        caplog.clear()
        rig = Rig(log=Broken())
        for each in rig.log.publish(20):
            rig.lagging.put(each)
        rig.reader.resume()
        await rig.over()
        assert rig.reader.sent == [*range(1, 21)]
        said = [each.message for each in caplog.records]
        assert said == ["channel 'c' cannot be caught up with, it is tried again"] * 3

    for seed in range(SEEDS):
        run(seed, main)


def test_what_was_read_of_a_channel_that_was_left_meanwhile_is_not_sent() -> None:
    class Left(Log):
        async def after(
            self, channel: str, since: Position
        ) -> tuple[Sequence[Delivery], int] | None:
            rig.lagging.end(channel)
            return await super().after(channel, since)

    rig: Rig

    async def main() -> None:
        nonlocal rig
        rig = Rig(log=Left())
        for each in rig.log.publish(3):
            rig.lagging.put(each)
        rig.reader.resume()
        await rig.over()
        assert rig.reader.sent == []

    for seed in range(SEEDS):
        run(seed, main)
