"""Presence: what a process and its broker know of who is there, in many orders of events."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from openapi.errors import ErrorCode, RpcError, Unserializable
from openapi.ws.broker import KeepsPresence, Member
from tests.shuffled import pause, run, running_loop
from tests.ws.presence import Process, idle, memory, timers

ORDERS = 20  # of each scenario

ANN = Member("ann", user=1)
BOB = Member("bob", user=2)


def in_many_orders(scenario: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def test() -> None:
        for seed in range(ORDERS):
            run(seed, scenario)

    return test


@in_many_orders
async def test_who_enters_and_leaves_is_told_to_the_broker_and_published() -> None:
    process = Process()
    process.presence.enter("c", "1", ANN)
    assert len(process.presence) == 1
    assert await process.members() == {"ann": 1}
    assert process.news() == ["$join ann"]
    process.presence.leave("c", "1")
    assert await process.members() == {}
    await pause()
    assert process.news() == ["$leave ann"]
    assert process.node.verbs() == ["enter", "leave"]
    await asyncio.sleep(0)
    assert idle(process)


@in_many_orders
async def test_a_join_says_only_what_there_is_to_say() -> None:
    process = Process()
    process.presence.enter("c", "1", Member("x"))
    process.presence.enter("c", "2", Member("y", user=0, info={"name": "Y"}))
    await process.members()
    assert process.published == [
        ("c", "$join", {"id": "x"}),
        ("c", "$join", {"id": "y", "user": 0, "info": {"name": "Y"}}),
    ]
    await process.presence.aclose()


@in_many_orders
async def test_many_who_enter_or_leave_in_one_turn_are_one_call() -> None:
    process = Process()
    for n in range(100):
        process.presence.enter("c", str(n), Member(str(n % 40)))
    assert len(await process.members()) == 40
    assert process.node.verbs() == ["enter"]
    assert process.news() == [f"$join {n}" for n in range(40)]
    for n in range(100):
        process.presence.leave("c", str(n))
    assert await process.members() == {}
    assert process.node.verbs() == ["leave"]
    assert len(process.news()) == 40


@in_many_orders
async def test_one_call_names_a_thousand_connections_at_most() -> None:
    process = Process()
    for n in range(2500):
        process.presence.enter("c", str(n), ANN)
    assert await process.members() == {"ann": 2500}
    await asyncio.sleep(30)
    for n in range(2500):
        process.presence.leave("c", str(n))
    await process.members()
    assert [len(names) for _, _, names in process.node.calls] == [1000, 1000, 500] * 3
    assert process.node.verbs() == ["enter"] * 3 + ["refresh"] * 3 + ["leave"] * 3
    assert process.news() == ["$join ann", "$leave ann"]


@in_many_orders
async def test_who_left_before_the_broker_was_told_is_not_told_at_all() -> None:
    process = Process()
    process.presence.enter("c", "1", ANN)
    process.presence.leave("c", "1")
    await asyncio.sleep(1)
    assert process.node.calls == []
    assert process.published == []
    assert idle(process)


@in_many_orders
async def test_leaving_and_dropping_what_is_not_there_does_nothing() -> None:
    process = Process()
    process.presence.leave("c", "1")
    process.presence.drop("c", "1")
    assert idle(process)
    process.presence.enter("c", "1", ANN)
    process.presence.leave("c", "2")
    process.presence.drop("c", "2")
    assert await process.members() == {"ann": 1}
    assert process.node.verbs() == ["enter"]
    await process.presence.aclose()


@in_many_orders
async def test_who_leaves_while_the_broker_is_told_of_the_join_has_left_in_the_end() -> None:
    process = Process()
    process.node.gate = asyncio.Event()
    process.presence.enter("c", "1", ANN)
    await asyncio.sleep(1)
    process.presence.leave("c", "1")
    process.node.gate.set()
    assert await process.members() == {}
    assert process.node.verbs() == ["enter", "leave"]
    await asyncio.sleep(1)
    assert process.news() == ["$join ann", "$leave ann"]
    assert idle(process)


@in_many_orders
async def test_who_comes_back_while_the_broker_is_told_of_the_leave_is_there_in_the_end() -> None:
    process = Process()
    process.presence.enter("c", "1", ANN)
    await process.members()
    process.node.gate = asyncio.Event()
    process.presence.leave("c", "1")
    await asyncio.sleep(1)
    process.presence.enter("c", "1", ANN)
    process.node.gate.set()
    assert await process.members() == {"ann": 1}
    assert process.news() == ["$join ann", "$leave ann", "$join ann"]
    await process.presence.aclose()


@in_many_orders
async def test_who_goes_and_comes_while_the_broker_is_told_of_the_join_makes_no_noise() -> None:
    process = Process()
    process.node.gate = asyncio.Event()
    process.presence.enter("c", "1", ANN)
    await asyncio.sleep(1)
    process.presence.leave("c", "1")
    process.presence.enter("c", "1", ANN)
    process.node.gate.set()
    assert await process.members() == {"ann": 1}
    assert process.node.verbs() == ["enter"]
    assert process.news() == ["$join ann"]
    await process.presence.aclose()


@in_many_orders
async def test_a_member_is_there_as_long_as_one_of_their_connections_is() -> None:
    process = Process()
    process.presence.enter("c", "1", ANN)
    process.presence.enter("c", "2", ANN)
    assert await process.members() == {"ann": 2}
    process.presence.leave("c", "1")
    assert await process.members() == {"ann": 1}
    assert process.news() == ["$join ann"]
    process.presence.leave("c", "2")
    assert await process.members() == {}
    assert process.news() == ["$leave ann"]


@in_many_orders
async def test_what_a_member_says_of_itself_can_change_without_noise() -> None:
    process = Process()
    process.presence.enter("c", "1", ANN)
    await process.members()
    process.presence.enter("c", "1", replace(ANN, info="away"))
    assert [member.info for member in await process.presence.members("c")] == ["away"]
    process.presence.enter("c", "1", replace(ANN, info="away"))  # the same once more
    await process.members()
    assert process.node.verbs() == ["enter", "enter"]
    assert process.news() == ["$join ann"]
    await process.presence.aclose()


@in_many_orders
async def test_new_data_whose_call_had_no_answer_is_told_again() -> None:
    process = Process()
    process.presence.enter("c", "1", ANN)
    await process.members()
    process.node.unanswered = 1
    process.presence.enter("c", "1", replace(ANN, info="away"))
    await pause()
    process.presence.enter("c", "1", ANN)
    assert [member.info for member in await process.presence.members("c")] == [None]
    assert process.news() == ["$join ann"]
    await process.presence.aclose()


@in_many_orders
async def test_the_newest_that_was_said_of_a_member_holds_though_the_broker_lost_it() -> None:
    process = Process()
    process.presence.enter("c", "1", ANN)
    process.presence.enter("c", "2", replace(ANN, info="typing"))
    process.presence.enter("c", "1", replace(ANN, info="away"))
    assert [member.info for member in await process.presence.members("c")] == ["away"]
    process.presence.enter("c", "2", replace(ANN, info="back"))
    process.presence.enter("c", "1", replace(ANN, info="here"))
    process.presence.enter("c", "2", replace(ANN, info="gone"))
    assert [member.info for member in await process.presence.members("c")] == ["gone"]
    await process.node.broker.leave("c", ["1", "2"])  # without a word to the presence
    await asyncio.sleep(26)
    assert [member.info for member in await process.presence.members("c")] == ["gone"]
    await process.presence.aclose()


@in_many_orders
async def test_a_connection_that_becomes_another_member_leaves_as_the_one_it_was() -> None:
    process = Process()
    process.presence.enter("c", "1", ANN)
    await process.members()
    process.presence.enter("c", "1", BOB)
    assert await process.members() == {"bob": 1}
    assert process.news() == ["$join ann", "$leave ann", "$join bob"]
    assert process.node.verbs() == ["enter", "leave", "enter"]
    process.presence.leave("c", "1")
    process.presence.enter("c", "1", ANN)
    assert await process.members() == {"ann": 1}
    assert process.news() == ["$leave bob", "$join ann"]
    await process.presence.aclose()


@in_many_orders
async def test_info_without_a_json_form_is_refused_at_once() -> None:
    process = Process()
    with pytest.raises(Unserializable):
        process.presence.enter("c", "1", Member("x", info=object()))
    assert idle(process)


@in_many_orders
async def test_channels_do_not_wait_for_each_other() -> None:
    process = Process()
    process.node.gate = asyncio.Event()
    process.presence.enter("slow", "1", ANN)
    await asyncio.sleep(1)
    slow, process.node.gate = process.node.gate, None
    process.presence.enter("c", "1", ANN)
    assert await process.members() == {"ann": 1}
    assert await Process(process.node.broker.sibling()).members("slow") == {}
    slow.set()
    assert await process.members("slow") == {"ann": 1}
    await process.presence.aclose()


# When the broker or the publishing fails


def test_what_the_broker_fails_to_do_is_logged_once_and_tried_until_it_works(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        process = Process()
        process.node.failing = 7
        process.presence.enter("c", "1", ANN)
        assert await process.members() == {"ann": 1}
        assert len(caplog.records) == 1
        assert "channel 'c'" in caplog.text
        assert "no broker" in caplog.text
        process.node.failing = 4
        process.presence.leave("c", "1")
        assert await process.members() == {}
        assert len(caplog.records) == 2  # it had worked in between
        assert process.news() == ["$join ann", "$leave ann"]
        await asyncio.sleep(0)
        assert idle(process)

    for seed in range(ORDERS):
        caplog.clear()
        run(seed, main)


def test_a_broker_that_fails_for_all_channels_is_logged_once_and_each_other_failure_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        process = Process()
        process.node.failing = 1000
        for n in range(50):
            process.presence.enter(f"c{n}", "1", ANN)
        await asyncio.sleep(30)
        assert len(caplog.records) == 1
        process.node.error = ValueError("another")
        await asyncio.sleep(60)
        assert len(caplog.records) == 2
        process.node.failing = 0
        for n in range(50):
            assert await process.members(f"c{n}") == {"ann": 1}
        assert len(caplog.records) == 2
        await process.presence.aclose()

    run(0, main)


@in_many_orders
async def test_a_broker_that_cannot_be_opened_is_tried_until_it_can() -> None:
    process = Process()
    failures = iter([OSError(), OSError()])

    async def broker() -> KeepsPresence:
        for failure in failures:
            raise failure
        return process.node

    process.presence._broker = broker
    process.presence.enter("c", "1", ANN)
    assert await process.members() == {"ann": 1}
    await process.presence.aclose()


@in_many_orders
async def test_a_join_is_published_once_though_the_answer_to_it_was_lost() -> None:
    process = Process()
    process.node.unanswered = 1
    process.presence.enter("c", "1", ANN)
    assert await process.members() == {"ann": 1}
    assert process.news() == ["$join ann"]
    await process.presence.aclose()


@in_many_orders
async def test_a_leave_is_published_once_though_the_answer_to_it_was_lost() -> None:
    process = Process()
    process.presence.enter("c", "1", ANN)
    await asyncio.sleep(running_loop().rng.choice([1, 30, 200]))
    process.node.unanswered = 2
    process.presence.leave("c", "1")
    assert await process.members() == {}
    assert process.news() == ["$join ann", "$leave ann"]


@in_many_orders
async def test_a_tick_says_nothing_of_those_whose_leave_had_no_answer_yet() -> None:
    process = Process()
    process.presence.enter("c", "1", ANN)
    process.presence.enter("c", "2", BOB)
    await asyncio.sleep(24)
    process.node.unanswered = 1
    process.presence.leave("c", "1")
    await process.node.failed.wait()

    async def before(verb: str) -> None:
        if verb != "refresh":
            raise ConnectionError("no broker")

    process.node.before = before
    await asyncio.sleep(2)
    assert ("refresh", "c", ("2",)) in process.node.calls
    process.node.before = None
    assert await process.members() == {"bob": 1}
    assert process.news() == ["$join ann", "$join bob", "$leave ann"]
    await process.presence.aclose()


@in_many_orders
async def test_who_comes_back_behind_a_leave_whose_answer_was_lost_never_left() -> None:
    process = Process()
    process.presence.enter("c", "1", ANN)
    await process.members()
    process.node.unanswered = 1
    process.presence.leave("c", "1")
    await process.node.failed.wait()
    process.presence.enter("c", "1", ANN)
    assert await process.members() == {"ann": 1}
    assert process.news() == ["$join ann"]
    await process.presence.aclose()


@in_many_orders
async def test_who_leaves_behind_a_join_whose_answer_was_lost_was_never_there() -> None:
    process = Process()
    process.node.unanswered = 1
    process.presence.enter("c", "1", ANN)
    await process.node.failed.wait()
    process.presence.leave("c", "1")
    assert await process.members() == {}
    assert process.news() == []
    assert await process.node.broker.leave("c", ["1"]) == []


@in_many_orders
async def test_who_left_while_the_broker_was_away_for_so_long_that_they_expired_left_once() -> None:
    broker = memory()
    cut, other = Process(broker), Process(broker.sibling())
    cut.presence.enter("c", "1", ANN)
    other.presence.enter("c", "2", BOB)
    await cut.members()
    cut.node.failing = 1000
    cut.presence.leave("c", "1")
    await asyncio.sleep(100)
    assert other.news() == ["$join bob", "$leave ann"]
    cut.node.failing = 0
    assert await cut.members() == {"bob": 1}
    assert cut.news() == ["$join ann"]
    assert not len(cut.presence)
    await other.presence.aclose()


@in_many_orders
async def test_who_expired_while_the_broker_was_away_joins_again_though_they_left_meanwhile() -> (
    None
):
    broker = memory()
    cut, other = Process(broker), Process(broker.sibling())
    cut.presence.enter("c", "1", ANN)
    other.presence.enter("c", "2", BOB)
    await cut.members()
    cut.node.failing = 1000
    cut.presence.leave("c", "1")
    await asyncio.sleep(50)
    cut.presence.enter("c", "1", ANN)
    await asyncio.sleep(50)
    cut.node.failing = 0
    assert await cut.members() == {"bob": 1, "ann": 1}
    assert cut.news() == ["$join ann", "$join ann"]
    assert other.news() == ["$join bob", "$leave ann"]  # between the two
    await cut.presence.aclose()
    await other.presence.aclose()


@in_many_orders
async def test_a_call_that_gets_no_answer_within_an_interval_has_failed() -> None:
    process = Process()
    process.node.gate = asyncio.Event()
    process.presence.enter("c", "1", ANN)
    await asyncio.sleep(20)
    assert process.node.verbs() == ["enter"]
    process.node.gate = None
    start = running_loop().time()
    assert await process.members() == {"ann": 1}
    assert 5 <= running_loop().time() - start <= 6
    await process.presence.aclose()


def test_a_join_that_cannot_be_published_is_logged_and_spoils_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        process = Process()

        async def refuse(channel: str, event: str, data: object) -> None:
            raise ValueError("not today")

        process.taken = refuse
        process.presence.enter("c", "1", ANN)
        process.presence.enter("c", "2", BOB)
        assert await process.members() == {"ann": 1, "bob": 1}
        assert process.news() == ["$join ann", "$join bob"]
        assert len(caplog.records) == 2
        assert "$join of member 'ann' could not be published on channel 'c'" in caplog.text
        process.presence.leave("c", "1")
        assert await process.members() == {"bob": 1}
        await process.presence.aclose()

    run(0, main)


# Who lost their connection


@in_many_orders
async def test_who_lost_their_connection_is_there_for_the_grace_and_not_longer() -> None:
    process = Process()
    process.presence.enter("c", "1", ANN)
    await process.members()
    process.presence.drop("c", "1")
    await asyncio.sleep(10)
    process.presence.drop("c", "1")  # once more, which changes nothing
    await asyncio.sleep(4.9)
    assert await process.members() == {"ann": 1}
    assert process.news() == ["$join ann"]
    await asyncio.sleep(0.2)
    assert await process.members() == {}
    await asyncio.sleep(1)
    assert process.news() == ["$leave ann"]
    assert idle(process)


@in_many_orders
async def test_a_connection_that_leaves_in_its_grace_is_gone_at_once() -> None:
    process = Process()
    process.presence.enter("c", "1", ANN)
    process.presence.enter("c", "2", ANN)
    await process.members()
    process.presence.drop("c", "1")
    process.presence.drop("c", "2")
    process.presence.leave("c", "1")
    assert await process.members() == {"ann": 1}
    process.presence.leave("c", "2")
    assert await process.members() == {}
    await asyncio.sleep(1)
    assert idle(process)


@in_many_orders
async def test_a_connection_that_enters_again_in_its_grace_stays() -> None:
    process = Process()
    process.presence.enter("c", "1", ANN)
    await process.members()
    process.presence.drop("c", "1")
    process.presence.enter("c", "1", ANN)
    await asyncio.sleep(20)
    assert await process.members() == {"ann": 1}
    assert process.node.verbs() == ["enter"]
    await process.presence.aclose()


@in_many_orders
async def test_a_member_who_comes_back_in_the_grace_takes_the_place_of_the_lost_connection() -> (
    None
):
    process = Process()
    for name in ("1", "2"):
        process.presence.enter("c", name, ANN)
        process.presence.enter("d", name, ANN)
    process.presence.enter("c", "3", BOB)
    for channel in ("c", "d"):
        assert (await process.members(channel))["ann"] == 2
    process.news()
    process.node.calls.clear()
    for name in ("1", "2"):
        process.presence.drop("c", name)
        process.presence.drop("d", name)
    process.presence.drop("c", "3")
    process.presence.enter("c", "4", ANN)
    assert await process.members() == {"ann": 2, "bob": 1}
    assert process.node.calls == [("enter", "c", ("4",)), ("leave", "c", ("1",))]
    await asyncio.sleep(14)
    assert await process.members() == {"ann": 2, "bob": 1}
    assert process.news() == []
    await asyncio.sleep(2)
    assert await process.members() == {"ann": 1}
    assert await process.members("d") == {}
    assert sorted(process.news()) == ["$leave ann", "$leave bob"]
    await process.presence.aclose()


@in_many_orders
async def test_who_comes_back_while_the_broker_is_told_of_the_lost_connection_never_left() -> None:
    process = Process()
    process.node.gate = asyncio.Event()
    process.presence.enter("c", "1", ANN)
    await pause(most=12)
    process.presence.drop("c", "1")
    process.presence.enter("c", "2", ANN)
    await pause(most=12)
    process.presence.drop("c", "2")
    process.presence.enter("c", "3", ANN)
    process.node.gate.set()
    assert await process.members() == {"ann": 1}
    assert process.news() == ["$join ann"]
    await process.presence.aclose()


@in_many_orders
async def test_one_timer_serves_all_who_lost_their_connection() -> None:
    process = Process()
    for n in range(100):
        process.presence.enter(f"c{n % 7}", str(n), Member(str(n)))
    await asyncio.sleep(1)
    assert timers() == 1  # the tick's
    for n in range(100):
        process.presence.drop(f"c{n % 7}", str(n))
        await asyncio.sleep(0.01)
        assert timers() == 2
    await asyncio.sleep(14.5)
    assert 0 < len(await process.members("c6")) < 14
    await asyncio.sleep(1)
    assert idle(process)
    assert len(process.news()) == 200


def test_where_too_many_lost_their_connection_the_oldest_goes_at_once() -> None:
    async def main() -> None:
        process = Process()
        for n in range(10_003):
            process.presence.enter("c", str(n), Member(str(n)))
        await process.members()
        process.news()
        for n in range(10_003):
            process.presence.drop("c", str(n))
        assert len(await process.members()) == 10_000
        assert process.news() == ["$leave 0", "$leave 1", "$leave 2"]
        await asyncio.sleep(16)
        await process.members()
        await asyncio.sleep(0)
        assert idle(process)

    run(0, main)


# Ticks


@in_many_orders
async def test_who_is_there_is_refreshed_at_every_interval() -> None:
    process = Process()
    start = running_loop().time()
    process.presence.enter("c", "1", ANN)
    await asyncio.sleep(1)
    process.presence.enter("d", "1", ANN)
    process.presence.enter("d", "2", BOB)
    process.presence.enter("e", "2", BOB)
    process.presence.leave("e", "2")
    process.presence.drop("d", "2")
    await asyncio.sleep(23.5)
    process.node.verbs()
    times: list[float] = []

    async def before(verb: str) -> None:
        times.append(running_loop().time() - start)

    process.node.before = before
    await asyncio.sleep(200)
    assert process.node.ttls[-1] == 60
    assert times == [at for n in range(1, 9) for at in (25 * n, 25 * n)]
    assert set(process.node.verbs()) == {"refresh"}
    assert await process.members() == {"ann": 1}
    assert process.news() == ["$join ann", "$join ann", "$join bob", "$leave bob"]
    await process.presence.aclose()


@in_many_orders
async def test_sixteen_channels_are_refreshed_at_a_time_and_no_tick_overlaps_another() -> None:
    process = Process()
    for n in range(100):
        process.presence.enter(f"c{n}", "1", ANN)
    await asyncio.sleep(1)
    process.node.verbs()
    process.node.busiest = 0

    async def before(verb: str) -> None:
        await asyncio.sleep(4.5)  # which makes more than 25 for all of them

    process.node.before = before
    await asyncio.sleep(24 + 7 * 4.5 - 0.1)
    assert len(set(process.node.calls)) == len(process.node.calls) == 100
    assert process.node.busy == 100 % 16
    await asyncio.sleep(1)
    assert len(process.node.calls) == 100 + 16
    await asyncio.sleep(100)
    assert process.node.busiest == 16
    assert set(process.node.verbs()) == {"refresh"}
    process.node.before = None
    await process.presence.aclose()


@in_many_orders
async def test_who_was_lost_by_the_broker_is_told_again() -> None:
    process = Process()
    process.presence.enter("c", "1", ANN)
    process.presence.enter("c", "2", BOB)
    await process.members()
    await process.node.broker.leave("c", ["1", "2"])  # without a word to the presence
    await asyncio.sleep(26)
    assert await process.members() == {"ann": 1, "bob": 1}
    assert process.node.verbs() == ["enter", "refresh", "enter"]
    await process.presence.aclose()


@in_many_orders
async def test_a_tick_never_brings_back_who_left_meanwhile() -> None:
    process = Process()
    process.presence.enter("c", "1", ANN)
    process.presence.enter("c", "2", BOB)
    await process.members()
    if running_loop().rng.random() < 0.5:
        await process.node.broker.leave("c", ["1", "2"])  # without a word to the presence
    process.node.gate = asyncio.Event()
    await asyncio.sleep(26)
    assert process.node.verbs() == ["enter", "refresh"]
    process.presence.leave("c", "1")
    await pause()
    process.node.gate.set()
    assert await process.members() == {"bob": 1}
    await asyncio.sleep(100)
    assert await process.members() == {"bob": 1}
    await process.presence.aclose()


@in_many_orders
async def test_who_expired_is_told_to_have_left_by_one_who_is_still_there() -> None:
    broker = memory()
    dead, alive = Process(broker), Process(broker.sibling())
    dead.presence.enter("c", "1", ANN)
    alive.presence.enter("c", "2", BOB)
    await asyncio.sleep(1)
    dead.node.failing = 10_000
    await asyncio.sleep(100)
    assert await alive.members() == {"bob": 1}
    assert alive.news() == ["$join bob", "$leave ann"]
    dead.node.failing = 0
    await asyncio.sleep(40)
    assert await alive.members() == {"bob": 1, "ann": 1}
    assert dead.news() == ["$join ann", "$join ann"]
    await dead.presence.aclose()
    await alive.presence.aclose()


@in_many_orders
async def test_our_own_who_were_refreshed_too_late_leave_and_join() -> None:
    process = Process()
    process.presence.enter("c", "1", ANN)
    await asyncio.sleep(1)
    process.node.failing = 10_000
    await asyncio.sleep(80)
    process.node.failing = 0
    await asyncio.sleep(30)
    assert await process.members() == {"ann": 1}
    assert process.news() == ["$join ann", "$leave ann", "$join ann"]
    await process.presence.aclose()


@in_many_orders
async def test_a_refreshment_that_failed_is_tried_again_before_the_next_tick() -> None:
    process = Process()
    process.presence.enter("c", "1", ANN)
    process.presence.enter("d", "1", ANN)
    await asyncio.sleep(24)
    process.node.verbs()
    process.node.failing = 3
    await asyncio.sleep(20)
    assert process.node.failing == 0
    assert process.node.verbs() == ["refresh"] * 5
    await asyncio.sleep(25)
    assert process.node.verbs() == ["refresh"] * 2
    await process.presence.aclose()


@in_many_orders
async def test_a_refreshment_is_tried_again_soon_however_long_it_failed_before() -> None:
    process = Process()
    process.presence.enter("c", "1", ANN)
    await asyncio.sleep(24)
    process.node.failing = 1_000_000
    await asyncio.sleep(45)
    process.node.failing = 0
    await asyncio.sleep(30)
    process.node.failing = 1
    process.node.failed.clear()
    await process.node.failed.wait()
    process.node.verbs()
    await asyncio.sleep(0.5)
    assert process.node.verbs() == ["refresh"]
    await process.presence.aclose()


@in_many_orders
async def test_a_channel_whose_refreshments_fail_delays_no_other() -> None:
    process = Process()
    start = running_loop().time()
    times: list[float] = []

    async def before(verb: str) -> None:
        channel = process.node.calls[-1][1]
        if verb == "refresh" and channel == "c":
            raise ConnectionError("not this one")
        if channel == "d":
            times.append(running_loop().time() - start)

    process.node.before = before
    process.presence.enter("c", "1", ANN)
    process.presence.enter("d", "1", ANN)
    await asyncio.sleep(310)
    assert times == [25 * n for n in range(13)]
    await process.presence.aclose()


def test_refreshments_that_fail_beside_other_things_are_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        process = Process()
        process.presence.enter("c", "1", ANN)
        await process.members()

        async def before(verb: str) -> None:
            if verb == "enter":
                raise ConnectionError("full")

        process.node.before = before
        process.presence.enter("c", "2", BOB)
        await asyncio.sleep(200)
        assert len(caplog.records) == 1
        process.node.before = None
        assert await process.members() == {"ann": 1, "bob": 1}
        await process.presence.aclose()

    run(0, main)


@in_many_orders
async def test_a_tick_in_trouble_ends_when_nobody_is_there_any_more() -> None:
    process = Process()
    process.presence.enter("c", "1", ANN)
    await process.members()

    async def before(verb: str) -> None:
        if verb == "refresh":
            raise ConnectionError("no broker")

    process.node.before = before
    await asyncio.sleep(26)
    process.presence.leave("c", "1")
    await process.members()
    await pause()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert idle(process)
    process.presence.enter("c", "1", ANN)
    process.node.before = None
    await asyncio.sleep(101)
    assert process.node.verbs()[-5:] == ["enter"] + ["refresh"] * 4
    await process.presence.aclose()


# Asking who is there


@in_many_orders
async def test_who_asks_for_the_members_sees_what_this_process_changed_before() -> None:
    process = Process()

    async def come_and_go(n: int) -> None:
        for _ in range(3):
            process.presence.enter("c", str(n), Member(str(n)))
            await pause()
            assert str(n) in await process.members()
            process.presence.leave("c", str(n))
            await pause()
            assert str(n) not in await process.members()

    process.node.before = lambda verb: pause()
    process.node.failing = 3
    await asyncio.gather(*(come_and_go(n) for n in range(5)))
    await asyncio.sleep(1)
    assert idle(process)


@in_many_orders
async def test_who_stops_waiting_for_the_members_disturbs_nobody() -> None:
    process = Process()
    process.node.gate = asyncio.Event()
    process.presence.enter("c", "1", ANN)
    asking = [asyncio.create_task(process.members()) for _ in range(3)]
    await pause()
    asking[0].cancel()
    await asyncio.sleep(1)
    process.node.gate.set()
    assert await asyncio.gather(*asking[1:]) == [{"ann": 1}, {"ann": 1}]
    await process.presence.aclose()


@in_many_orders
async def test_who_asks_for_the_members_as_they_take_a_join_does_not_wait_for_themselves() -> None:
    process = Process()
    seen: list[dict[str, int]] = []

    async def look(channel: str, event: str, data: object) -> None:
        process.presence.enter("c", "2", BOB)
        # as a task of its own, which is how callbacks of a channel are run
        seen.append(await asyncio.create_task(process.members()))

    process.taken = look
    process.presence.enter("c", "1", ANN)
    await asyncio.sleep(1)
    assert seen == [{"ann": 1}, {"ann": 1, "bob": 1}]
    await process.presence.aclose()


@in_many_orders
async def test_who_asks_for_the_members_after_the_shutdown_is_refused() -> None:
    process = Process()
    process.shut_down = True
    with pytest.raises(RpcError) as refusal:
        await process.members()
    assert refusal.value.code == ErrorCode.SHUTTING_DOWN


# The end


@in_many_orders
async def test_at_the_end_those_who_are_there_stay_for_the_grace() -> None:
    process = Process()
    for n in range(40):
        process.presence.enter(f"c{n}", "1", ANN)
    process.presence.enter("c0", "2", BOB)
    await asyncio.sleep(1)
    process.presence.drop("c0", "1")
    process.presence.leave("c0", "2")
    process.news()
    process.node.verbs()
    process.node.ttls.clear()
    await process.presence.aclose()
    assert sorted(process.node.verbs()) == ["leave"] + ["refresh"] * 40
    assert process.node.ttls == [15] * 40
    assert process.news() == ["$leave bob"]
    assert idle(process)
    await process.presence.aclose()
    process.presence.enter("c", "1", ANN)
    process.presence.leave("c0", "1")
    process.presence.drop("c1", "1")
    assert idle(process)
    assert await process.members("c0") == {"ann": 1}
    await asyncio.sleep(15.1)
    assert await process.members("c0") == {}


@in_many_orders
async def test_at_the_end_what_is_on_its_way_is_finished_and_nothing_more_begins() -> None:
    process = Process()
    process.node.gate = asyncio.Event()
    process.presence.enter("c", "1", ANN)
    await process.node.asked.wait()
    process.presence.enter("c", "2", BOB)
    process.presence.enter("d", "2", BOB)
    asking = asyncio.create_task(process.members())
    await pause()
    closing = asyncio.create_task(process.presence.aclose())
    await asyncio.sleep(0.5)
    process.node.gate.set()
    await closing
    assert idle(process)
    assert await asking == await process.members()
    assert ("c", "$join", {"id": "ann", "user": 1}) in process.published
    await asyncio.sleep(15.1)
    assert await process.members() == {}


@in_many_orders
async def test_at_the_end_nothing_is_tried_again_behind_what_was_told() -> None:
    process = Process()
    failing = True

    async def before(verb: str) -> None:
        if process.node.calls[-1][1] == "slow":
            await asyncio.sleep(0.9 * (not failing))
        elif failing and process.node.calls[-1][2] != ("0",):
            raise ConnectionError("no broker")

    process.node.before = before
    process.presence.enter("slow", "1", ANN)
    process.presence.enter("c", "0", ANN)
    await asyncio.sleep(1)
    if running_loop().rng.random() < 0.5:
        await asyncio.sleep(23.9)
        process.presence.enter("c", "1", BOB)
        await process.node.failed.wait()
    else:
        process.node.before = None
        process.presence.enter("c", "1", BOB)
        await process.members()
        process.node.before = before
        await process.node.failed.wait()
    failing = False
    process.node.verbs()
    await process.presence.aclose()
    assert [verb for verb, channel, _ in process.node.calls if channel == "c"] == ["refresh"]
    await asyncio.sleep(15.1)
    assert await process.members() == {}


def test_at_the_end_a_broker_that_does_not_answer_is_waited_for_a_second(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        process = Process()
        for n in range(40):
            process.presence.enter(f"c{n}", "1", ANN)
        await asyncio.sleep(1)
        process.node.gate = asyncio.Event()
        process.presence.leave("c0", "1")
        asking = asyncio.create_task(process.members("c0"))
        await asyncio.sleep(running_loop().rng.choice([0, 1, 30, 60]))
        start = running_loop().time()
        await process.presence.aclose()
        assert running_loop().time() - start == 1
        assert "the presence of 40 channels" in caplog.text
        assert idle(process)
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking

    for seed in range(ORDERS):
        caplog.clear()
        run(seed, main)


@in_many_orders
async def test_at_the_end_a_broker_that_fails_is_asked_once_for_each_channel() -> None:
    process = Process()
    for n in range(5):
        process.presence.enter(f"c{n}", "1", ANN)
    await asyncio.sleep(1)
    process.node.failing = 1000
    process.presence.enter("c0", "2", BOB)
    await asyncio.sleep(running_loop().rng.choice([0, 1, 24, 60]))
    process.node.verbs()
    await process.presence.aclose()
    assert 5 <= len(process.node.verbs()) <= 6
    assert idle(process)


@in_many_orders
async def test_who_may_be_there_by_a_call_without_an_answer_stays_for_the_grace_too() -> None:
    process = Process()
    process.node.unanswered = 1
    process.presence.enter("c", "1", ANN)
    await process.node.failed.wait()
    process.node.failing = 0
    await process.presence.aclose()
    assert process.node.verbs() == ["enter", "refresh"]
    assert process.node.ttls == [60, 15]


@in_many_orders
async def test_where_the_server_has_shut_down_all_is_forgotten() -> None:
    process = Process()
    for n in range(30):
        process.presence.enter(f"c{n}", "1", ANN)
    await asyncio.sleep(1)
    process.shut_down = True
    if running_loop().rng.random() < 0.5:  # or the next tick finds it out
        process.presence.drop("c3", "1")
        process.presence.enter("c0", "2", BOB)
        process.presence.leave("c1", "1")
    asking = asyncio.gather(*(process.members(f"c{n}") for n in range(3)), return_exceptions=True)
    await asyncio.sleep(26)
    assert idle(process)
    assert {type(refusal) for refusal in await asking} == {RpcError}
    await process.presence.aclose()


@in_many_orders
async def test_where_the_server_has_shut_down_before_the_end_nothing_is_told() -> None:
    process = Process()
    process.presence.enter("c", "1", ANN)
    await process.members()
    process.shut_down = True
    await process.presence.aclose()
    assert process.node.verbs() == ["enter"]
    assert idle(process)


# What leaving costs


class CountedName(str):
    """A name that counts how often anything is looked up by it."""

    __slots__ = ("looked_up",)
    looked_up: int

    def __new__(cls, name: str) -> "CountedName":
        made = super().__new__(cls, name)
        made.looked_up = 0
        return made

    def __hash__(self) -> int:
        self.looked_up += 1
        return super().__hash__()

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other)


def test_leaving_looks_at_nothing_but_what_the_connection_had() -> None:
    async def main() -> None:
        process = Process()
        names = [CountedName(f"{n}") for n in range(500)]
        channels = [CountedName(f"c{n}") for n in range(500)]
        for n, name in enumerate(names):
            process.presence.enter("c", name, Member(str(n)))
            process.presence.enter(channels[n], name, Member(str(n)))
        await asyncio.sleep(1)
        for counted in names + channels:
            counted.looked_up = 0
        for channel in ("c", "c7"):
            process.presence.leave(channel, "7")
            process.presence.drop(channel, "8")
        process.presence.drop("c8", "8")
        await asyncio.sleep(20)
        mine = {"7", "8", "c7", "c8"}
        assert {counted for counted in names + channels if counted.looked_up} <= mine
        assert len(await process.members()) == 498
        await process.presence.aclose()

    run(0, main)
