"""Who has ended and is present for a while yet: for how long, how many, and in whose place."""

import asyncio

from openapi.ws.grace import Grace
from tests.shuffled import run, running_loop


class Rig:
    """Grace of ten seconds for three, and what went when."""

    def __init__(self) -> None:
        self.start = running_loop().time()
        self.went: list[tuple[str, str, float]] = []
        self.grace = Grace(10, self.gone, most=3)

    def gone(self, channel: str, connection: str) -> None:
        self.went.append((channel, connection, running_loop().time() - self.start))

    def timers(self) -> int:
        return sum(not timer._cancelled for timer in running_loop()._scheduled)


def test_each_goes_when_its_time_is_over_and_one_timer_serves_all() -> None:
    async def main() -> None:
        rig = Rig()
        rig.grace.add("c", "1", "ann")
        await asyncio.sleep(3)
        rig.grace.add("c", "2", "ann")
        rig.grace.add("d", "1", "ann")
        rig.grace.add("c", "1", "ann")  # the second time
        assert len(rig.grace) == 3
        assert rig.timers() == 1
        await asyncio.sleep(20)
        assert rig.went == [("c", "1", 10), ("c", "2", 13), ("d", "1", 13)]
        assert len(rig.grace) == rig.timers() == 0

    run(0, main)


def test_where_there_are_too_many_the_oldest_goes_at_once() -> None:
    async def main() -> None:
        rig = Rig()
        for name in "12345":
            rig.grace.add("c", name, name)
        assert rig.went == [("c", "1", 0), ("c", "2", 0)]
        assert len(rig.grace) == 3
        rig.grace.clear()
        assert len(rig.grace) == rig.timers() == 0

    run(0, main)


def test_who_is_removed_does_not_go_and_the_last_one_takes_the_timer_along() -> None:
    async def main() -> None:
        rig = Rig()
        rig.grace.add("c", "1", "ann")
        rig.grace.add("c", "2", "ann")
        rig.grace.remove("c", "1")
        rig.grace.remove("c", "1")
        rig.grace.remove("d", "2")
        assert rig.timers() == 1
        rig.grace.remove("c", "2")
        assert len(rig.grace) == rig.timers() == 0
        await asyncio.sleep(20)
        assert rig.went == []

    run(0, main)


def test_the_oldest_of_a_member_on_a_channel_goes_when_the_member_is_back() -> None:
    async def main() -> None:
        rig = Rig()
        rig.grace.add("d", "1", "ann")
        rig.grace.add("c", "1", "ann")
        rig.grace.add("c", "2", "ann")
        rig.grace.replace("c", "bob")
        assert rig.went == []
        for _ in range(3):
            rig.grace.replace("c", "ann")
        assert rig.went == [("c", "1", 0), ("c", "2", 0)]
        assert len(rig.grace) == 1
        rig.grace.clear()

    run(0, main)
