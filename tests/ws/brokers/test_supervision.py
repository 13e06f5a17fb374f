"""The owner of a connection: it is made anew whenever it ends, and says while it is away."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial

import pytest

from openapi.ws.brokers.supervision import Supervisor, SupervisorState
from tests.shuffled import run, running_loop

SEEDS = 20


class Server:
    """What sessions connect to: it refuses so many, and each holds until it is told to end."""

    def __init__(self, *, refuses: int = 0) -> None:
        self.refuses = refuses
        self.tried: list[float] = []
        self.ended = asyncio.Event()
        self.failure: Exception | None = None
        self.open = 0

    async def session(self, up: Callable[[], None]) -> None:
        self.tried.append(running_loop().time())
        if len(self.tried) <= self.refuses:
            raise ConnectionRefusedError("nobody listens")
        self.open += 1
        try:
            up()
            await self.ended.wait()
            self.ended.clear()
            if self.failure is not None:
                raise self.failure
        finally:
            self.open -= 1


class News:
    """What is called when an owner's connection comes or goes, and who waits for something."""

    def __init__(self) -> None:
        self._came = asyncio.Event()

    def __call__(self) -> None:
        self._came.set()

    async def until(self, there: Callable[[], bool]) -> None:
        while not there():
            self._came.clear()
            await self._came.wait()


def came(owner: Supervisor, times: int) -> bool:
    """Whether it was up so often."""
    return owner.sessions == times


def reason(owner: Supervisor) -> str | None:
    """Why it is away."""
    return owner.outage.reason if owner.outage is not None else None


def highest() -> float:
    """The chance by which each pause is as long as it may be."""
    return 1.0


def test_opening_waits_until_it_is_up() -> None:
    async def main() -> None:
        server, changes = Server(), list[SupervisorState]()
        owner = Supervisor("it", server.session, changed=lambda: changes.append(owner.state))
        assert owner.state is SupervisorState.NEW
        await owner.open(patience=1.0)
        assert (owner.state, owner.sessions, owner.outage) == (SupervisorState.UP, 1, None)
        await owner.open(patience=1.0)
        assert len(server.tried) == server.open == 1
        await owner.aclose()
        await owner.aclose()
        assert (owner.state, server.open) == (SupervisorState.CLOSED, 0)
        assert changes == [SupervisorState.UP]

    for seed in range(SEEDS):
        run(seed, main)


def test_opening_one_that_is_away_returns_and_it_is_tried_on() -> None:
    async def main() -> None:
        server = Server(refuses=4)
        news = News()
        owner = Supervisor("it", server.session, changed=news, random=highest)
        await owner.open(patience=0.2)
        assert running_loop().time() - server.tried[0] == pytest.approx(0.2)
        assert not came(owner, 1)
        assert reason(owner) == "it: nobody listens"
        await news.until(lambda: owner.outage is None)
        assert owner.state is SupervisorState.UP
        await owner.aclose()

    for seed in range(SEEDS):
        run(seed, main)


def test_the_pauses_grow_to_a_second_at_most_so_that_who_is_back_is_found_soon() -> None:
    async def main() -> None:
        server = Server(refuses=8)
        owner = Supervisor("it", server.session, random=highest)
        await owner.open(patience=60.0)
        pauses = [b - a for a, b in zip(server.tried, server.tried[1:], strict=False)]
        assert pauses == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0])
        await owner.aclose()

    run(0, main)


def test_the_pauses_are_drawn_by_chance() -> None:
    async def main() -> None:
        server = Server(refuses=30)
        owner = Supervisor("it", server.session, random=running_loop().rng.random)
        await owner.open(patience=60.0)
        pauses = [b - a for a, b in zip(server.tried, server.tried[1:], strict=False)]
        assert len({round(pause, 6) for pause in pauses}) > 25
        assert max(pauses) <= 1.0
        await owner.aclose()

    for seed in range(SEEDS):
        run(seed, main)


def test_one_that_held_is_made_anew_at_once_and_one_that_did_not_behind_a_pause() -> None:
    async def main() -> None:
        server = Server()
        news = News()
        owner = Supervisor("it", server.session, changed=news, random=highest)
        await owner.open(patience=1.0)
        await asyncio.sleep(10)
        for tries, pause in ((2, 0.0), (3, 0.05), (4, 0.1)):
            ended = running_loop().time()
            server.ended.set()
            await news.until(partial(came, owner, tries))
            assert server.tried[-1] - ended == pytest.approx(pause, abs=1e-6)
        await owner.aclose()

    run(0, main)


def test_what_an_outage_is_due_to_is_said_once_and_its_end_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)

    async def main() -> None:
        caplog.clear()
        server = Server()
        news = News()
        owner = Supervisor("the broker", server.session, changed=news)
        await owner.open(patience=1.0)
        assert not caplog.records
        server.refuses, server.failure = 5, OSError("cut")
        server.ended.set()
        await news.until(lambda: owner.sessions == 2)
        away, again, back = caplog.records
        assert away.levelno == logging.WARNING
        assert "the broker is away, and tried until it is back: cut" in away.getMessage()
        assert "until it is back: nobody listens" in again.getMessage()
        assert back.levelno == logging.WARNING
        assert "the broker is back" in back.getMessage()
        await owner.aclose()

    for seed in range(SEEDS):
        run(seed, main)


def test_an_outage_tells_the_newest_reason_and_the_log_has_each_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        caplog.clear()
        news, tried = News(), 0

        async def session(up: Callable[[], None]) -> None:
            nonlocal tried
            tried += 1
            if tried == 60:
                up()
                await asyncio.Event().wait()
            raise OSError("refused" if tried < 20 else f"reason {tried}")

        owner = Supervisor("it", session, changed=news)
        await owner.open(patience=2.0)
        assert owner.outage is not None
        since = owner.outage.since
        while tried < 59:
            assert owner.outage is not None
            assert owner.outage.since == since
            await asyncio.sleep(0.5)
        await news.until(lambda: owner.outage is None)
        *reasons, back = [record.getMessage() for record in caplog.records]
        assert back.startswith("it is back after")
        assert reasons == [
            f"it is away, and tried until it is back: {reason}"
            for reason in ["refused", *(f"reason {number}" for number in range(20, 27))]
        ]
        await owner.aclose()

    for seed in range(SEEDS):
        run(seed, main)


def test_who_asks_is_told_when_it_goes_and_when_it_comes() -> None:
    async def main() -> None:
        server, changes, news = Server(), list[SupervisorState](), News()

        def note() -> None:
            changes.append(owner.state)
            news()

        owner = Supervisor("it", server.session, changed=note)
        await owner.open(patience=1.0)
        server.refuses = 3
        server.ended.set()
        await news.until(lambda: owner.sessions == 2)
        assert changes == [SupervisorState.UP, SupervisorState.TRYING, SupervisorState.UP]
        await owner.aclose()

    for seed in range(SEEDS):
        run(seed, main)


def test_what_is_final_is_raised_to_who_opens_it_and_is_tried_on() -> None:
    async def main() -> None:
        server = Server(refuses=2)
        news = News()
        owner = Supervisor(
            "it",
            server.session,
            changed=news,
            final=lambda exc: isinstance(exc, ConnectionRefusedError),
        )
        with pytest.raises(ConnectionRefusedError, match="nobody listens"):
            await owner.open(patience=1.0)
        await news.until(lambda: owner.state is SupervisorState.UP)
        await owner.aclose()

    for seed in range(SEEDS):
        run(seed, main)


def test_a_connection_that_ends_without_an_error_has_ended_all_the_same() -> None:
    async def main() -> None:
        server = Server()
        news = News()
        owner = Supervisor("it", server.session, changed=news, random=highest)
        await owner.open(patience=1.0)
        server.ended.set()
        await news.until(lambda: owner.outage is not None)
        assert reason(owner) == "it: the connection ended"
        await owner.aclose()

    for seed in range(SEEDS):
        run(seed, main)


def test_a_failure_without_a_text_has_a_name() -> None:
    async def main() -> None:
        server = Server()
        news = News()
        server.failure = TimeoutError()
        owner = Supervisor("it", server.session, changed=news, random=highest)
        await owner.open(patience=1.0)
        server.ended.set()
        await news.until(lambda: owner.outage is not None)
        assert reason(owner) == "it: TimeoutError"
        await owner.aclose()

    run(0, main)


@pytest.mark.parametrize("refuses", [0, 100])
def test_closing_it_while_somebody_waits_for_it_lets_them_go(refuses: int) -> None:
    async def main() -> None:
        server = Server(refuses=refuses)
        owner = Supervisor("it", server.session)
        opening = asyncio.ensure_future(owner.open(patience=60.0))
        await asyncio.sleep(0.5 if refuses else 0)
        await owner.aclose()
        await opening
        assert (owner.state, server.open) == (SupervisorState.CLOSED, 0)

    for seed in range(SEEDS):
        run(seed, main)


def test_a_session_that_fails_as_it_is_cancelled_is_closed_all_the_same() -> None:
    async def main() -> None:
        async def session(up: Callable[[], None]) -> None:
            up()
            try:
                await asyncio.Event().wait()
            finally:
                raise OSError("it broke meanwhile")

        owner = Supervisor("it", session)
        await owner.open(patience=1.0)
        await owner.aclose()
        assert owner.state is SupervisorState.CLOSED
        assert owner.outage is None

    for seed in range(SEEDS):
        run(seed, main)


def test_one_that_was_never_opened_can_be_closed() -> None:
    async def main() -> None:
        owner = Supervisor("it", Server().session)
        await owner.aclose()
        assert owner.state is SupervisorState.CLOSED

    run(0, main)


def test_a_session_in_which_something_else_was_cancelled_is_made_anew() -> None:
    async def main() -> None:
        news, tried = News(), 0

        async def session(up: Callable[[], None]) -> None:
            nonlocal tried
            tried += 1
            up()
            waits: asyncio.Future[None] = running_loop().create_future()
            if tried == 1:
                running_loop().call_soon(waits.cancel)
            await waits

        owner = Supervisor("it", session, changed=news)
        await owner.open(patience=1.0)
        await news.until(lambda: owner.sessions == 2)
        assert owner.state is SupervisorState.UP
        await owner.aclose()

    for seed in range(SEEDS):
        run(seed, main)


def test_one_that_says_nothing_is_away_when_the_patience_of_who_opens_it_ends() -> None:
    async def main() -> None:
        async def session(up: Callable[[], None]) -> None:
            await asyncio.Event().wait()

        owner = Supervisor("it", session)
        await owner.open(patience=3.0)
        assert reason(owner) == "it: no answer within 3 s"
        await owner.aclose()

    run(0, main)


def test_what_was_final_is_so_no_more_when_it_is_up() -> None:
    async def main() -> None:
        server, news = Server(refuses=1), News()
        owner = Supervisor("it", server.session, changed=news, final=lambda _: True)
        with pytest.raises(ConnectionRefusedError):
            await owner.open(patience=1.0)
        await news.until(lambda: owner.state is SupervisorState.UP)
        await owner.open(patience=1.0)
        await owner.aclose()

    run(0, main)
