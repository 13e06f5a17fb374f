"""Several processes that serve one application on one address.

Each is the command that this process was started with, and listens by itself: the system spreads
connections over all who listen on a port (SO_REUSEPORT). One that is gone gets none, and those of
the others go on. This process has no code of the application in it, so nothing there ends it.

gunicorn has a worker for aiohttp, which is not used. What ends it starts again at once, and it ends
all at the first that does not start; a second signal does not shorten the drain of such a worker.

| a worker           | what follows                                                             |
|--------------------|--------------------------------------------------------------------------|
| fails as all start | all end, with what it says                                               |
| ends later         | it is started again: at once if it served for long, or behind a pause    |
| fails then         | a longer pause; all end when that was so :data:`ATTEMPTS` times in a row |
"""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final, Self

from rich.text import Text

from openapi.cli.ending import Ending
from openapi.cli.listening import reserved, url_of
from openapi.cli.load import BrokenApplication
from openapi.cli.managers import Refused
from openapi.cli.output import Output
from openapi.cli.serve import STOPPING, Route, announce
from openapi.cli.station import NOW, STOP, Station
from openapi.protocol.backoff import delays

__all__ = ["ATTEMPTS", "supervise"]

ATTEMPTS: Final = 5
"""How often in a row a worker may fail to start before all end."""

#: Pauses before a worker is started again: the first, and the longest, in seconds.
_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 15.0
#: Who served for so many seconds is started again at once.
_LONG: Final = 10.0
#: Seconds that a worker has to end which is not to wait. Then it is killed.
_KILLED_AFTER: Final = 2.0
#: Seconds that are waited for what a process said that has ended.
_LAST_WORDS: Final = 1.0
#: What is read of a line at once: bytes.
_READ_BYTES: Final = 65536


async def supervise(out: Output, *, workers: int, host: str, port: int) -> None:
    """Keep so many workers until SIGINT or SIGTERM, then have them drain. Returns when all ended.

    A second signal does not wait for that. Raises CannotListen; BrokenApplication where a worker
    fails for good, or does not stop well; Refused where the command was used wrongly.
    """
    ending = Ending()
    ending.listen(twice=True)
    with reserved(host, port) as port:
        crew = _Crew(out, port)
        try:
            # The first alone: what is wrong with all of them is said once.
            routes = await crew.begin(0)
            async with asyncio.TaskGroup() as starting:
                for number in range(1, workers):
                    starting.create_task(crew.begin(number))
            ending.started()
            announce(out, url_of(host, port), routes, workers=crew.ids)
            await crew.keep(ending)
            out.note(STOPPING)
        except* (BrokenApplication, Refused) as failures:
            raise failures.exceptions[0] from None
        finally:
            await crew.end(ending)
        crew.check()


class _Worker:
    """A process. ``failure`` is what it said of its end, ``since`` when it began to serve."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        line: socket.socket,
        warn: Callable[[str], object],
    ) -> None:
        self.pid: Final = process.pid
        self.failure: BrokenApplication | Refused | None = None
        self.since: float | None = None
        self._process = process
        self._line = line
        self._warn = warn
        self._routes: asyncio.Future[list[Route]] = asyncio.get_running_loop().create_future()
        self._hearing = asyncio.create_task(self._hear())
        self._gone = asyncio.create_task(self._end())

    @classmethod
    async def start(cls, port: int, warn: Callable[[str], object]) -> Self:
        """Start the command that runs here once more; ``warn`` hears its warnings.

        Raises OSError.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                ours.setblocking(False)
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    *sys.orig_argv[1:],
                    stdin=subprocess.DEVNULL,
                    env=Station.environment(theirs.fileno(), port),
                    pass_fds=[theirs.fileno()],
                    process_group=0,  # Ctrl-C is for this process, which tells them
                )
            except BaseException:
                ours.close()
                raise
        return cls(process, ours, warn)

    async def serving(self) -> list[Route] | None:
        """What it serves, once it does; None if it ended before that."""
        ready: list[asyncio.Future[Any]] = [self._routes, self._gone]
        await asyncio.wait(ready, return_when=asyncio.FIRST_COMPLETED)
        return self._routes.result() if self._routes.done() else None

    async def gone(self) -> None:
        """Wait until it has ended."""
        await asyncio.shield(self._gone)

    def tell(self, order: bytes) -> None:
        """Have it end."""
        try:
            self._line.send(order)
        except OSError:
            pass  # it has ended

    def kill(self) -> None:
        """End it at once."""
        if self._process.returncode is None:
            self._process.kill()

    @property
    def why(self) -> str:
        """How it ended."""
        code = self._process.returncode
        if self.failure is not None:
            return f"ended: {self.failure}"
        if code is not None and code < 0:
            return f"was killed by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"

    async def _hear(self) -> None:
        """Take in what it says, until the end of the line."""
        loop, begun = asyncio.get_running_loop(), b""
        try:
            while data := await loop.sock_recv(self._line, _READ_BYTES):
                *lines, begun = (begun + data).split(b"\n")
                for each in lines:
                    self._take(json.loads(each))
        except ConnectionError:
            pass  # it ended with an order unread

    def _take(self, said: Mapping[str, Any]) -> None:
        if "failed" in said:
            self.failure = (Refused if said["misused"] else BrokenApplication)(said["failed"])
        elif "warning" in said:
            self._warn(said["warning"])
        else:
            self.since = time.monotonic()
            self._routes.set_result([Route(*each) for each in said["serving"]])

    async def _end(self) -> None:
        await self._process.wait()
        # What it started may hold its end of the line, and then there is none.
        await asyncio.wait([self._hearing], timeout=_LAST_WORDS)
        self._hearing.cancel()
        self._line.close()


class _Crew:
    """All of them. Who was started last in a place is there until it has ended."""

    def __init__(self, out: Output, port: int) -> None:
        self._out = out
        self._port = port
        self._workers: dict[int, _Worker] = {}
        self._said = ""
        self._warned: set[str] = set()

    @property
    def ids(self) -> list[int]:
        """Their process ids."""
        return [self._workers[number].pid for number in sorted(self._workers)]

    async def begin(self, number: int) -> list[Route]:
        """Start one for the first time; returns what it serves. Raises what it fails with."""
        worker = await self._started(number)
        routes = await worker.serving()
        if routes is None:
            raise worker.failure or BrokenApplication(f"worker {number + 1} {worker.why}")
        return routes

    async def keep(self, ending: Ending) -> None:
        """Start each again that ends, until all are to. Raises BrokenApplication: one cannot be."""
        self._warned.clear()
        async with asyncio.TaskGroup() as group:
            keeping = [group.create_task(self._keep(number)) for number in self._workers]
            await ending.wait()
            for each in keeping:
                each.cancel()

    async def end(self, ending: Ending) -> None:
        """Have all end, and wait until they have."""
        living = tuple(self._workers.values())
        for worker in living:
            worker.tell(STOP)
        await ending.patiently(_all_gone(living))
        if not ending.pressed:
            return
        for worker in living:
            worker.tell(NOW)
        try:
            async with asyncio.timeout(_KILLED_AFTER):
                await _all_gone(living)
        except TimeoutError:
            for worker in living:
                worker.kill()
            await _all_gone(living)

    def check(self) -> None:
        """Raise what one of those that served has failed with as it ended, if any has."""
        for worker in self._workers.values():
            if worker.failure is not None and worker.since is not None:
                raise worker.failure

    async def _keep(self, number: int) -> None:
        pauses, failures = _pauses(), 0
        while True:
            worker = self._workers[number]
            await worker.gone()
            pause = next(pauses)
            if worker.since is None:
                failures += 1
            else:
                failures = 0
                if time.monotonic() - worker.since >= _LONG:
                    pauses, pause = _pauses(), 0.0
            self._tell(number, worker)
            if failures == ATTEMPTS:
                raise BrokenApplication(
                    f"worker {number + 1} did not start {ATTEMPTS} times in a row:"
                    " it is given up, and the others with it"
                )
            await asyncio.sleep(pause)
            worker = await self._started(number)
            if await worker.serving() is not None:
                self._said = ""
                self._warned.clear()
                text = f"worker {number + 1} serves again, as process {worker.pid}"
                self._out.log(Text(text, style="dim"))

    async def _started(self, number: int) -> _Worker:
        try:
            worker = self._workers[number] = await _Worker.start(self._port, self._warn)
        except OSError as exc:
            raise BrokenApplication(f"no worker can be started: {exc.strerror}") from exc
        return worker

    def _warn(self, text: str) -> None:
        """Say what several of them may say, once."""
        if text not in self._warned:
            self._warned.add(text)
            self._out.warning(text)

    def _tell(self, number: int, worker: _Worker) -> None:
        """Say how one ended; of those that do not start, each reason once."""
        if worker.since is not None:
            self._out.warning(
                f"worker {number + 1}, process {worker.pid}, {worker.why}; it is started again"
            )
        elif worker.why != self._said:
            self._said = worker.why
            self._out.warning(f"worker {number + 1} does not start, it {worker.why}")


async def _all_gone(workers: Collection[_Worker]) -> None:
    for worker in workers:
        await worker.gone()


def _pauses() -> Iterator[float]:
    return delays(lambda: 1.0, first=_PAUSE, cap=_LONGEST_PAUSE)
