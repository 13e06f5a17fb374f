"""A live monitor of the machine that it runs on.

    openapi serve examples/monitor.py:create_app
    openapi listen localhost:8080/stream host

``/`` is a page that shows all of it (``examples/page``). Each second the monitor publishes on the
channel ``host``: how busy the CPU, the memory, the disks and the network are. The last five minutes
are kept, so that who was away misses nothing:

    openapi listen localhost:8080/stream host --history 8

``processes`` and ``info`` are called, and ``POST /notes`` publishes a note to everyone
who listens to the channel ``notes``. ``tail`` follows a log, by default the monitor's own:

    openapi call localhost:8080/stream tail '{"path": "monitor.log"}'

``confirm`` asks everyone who listens to the channel ``questions``:

    openapi listen localhost:8080/stream questions --answer confirm
    openapi call localhost:8080/stream confirm '{"text": "Lunch?"}'
"""

import asyncio
import heapq
import logging
import os
import platform
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from logging.handlers import RotatingFileHandler
from operator import attrgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal

import psutil
from aiohttp import web
from msgspec import Meta

from examples.logs import Line, Logs
from examples.page import page_routes
from openapi.browser import client_module
from openapi.errors import CallFailed, ConnectionClosed, UnexpectedData
from openapi.spec import ApiPath, Documents, op
from openapi.ws import (
    Call,
    CannotPublish,
    ChannelRule,
    Limits,
    Next,
    SocketsManager,
    Websocket,
    WsPathMixin,
    healthz,
    ws_rpc,
)
from openapi.ws.pubsub import Publish, Subscribe

logger = logging.getLogger("monitor")
journal = logging.getLogger("monitor.journal")
journal.setLevel(logging.INFO)
journal.propagate = False  # it is for its own file

#: How long what was published on ``host`` is kept.
KEPT = timedelta(minutes=5)

CHANNELS = [
    ChannelRule("host", history=4 * KEPT // timedelta(seconds=1), ttl=KEPT, slow="catch_up"),
    ChannelRule("notes", history=100, ttl=timedelta(days=1)),
    ChannelRule("questions", presence=True),
]

#: What is asked again and again: in the journal only if it fails.
QUIET = {"processes"}

MIB = 1024 * 1024
KIB = 1024


@dataclass
class Cpu:
    """How busy the processors were during the last second, in percent."""

    percent: float
    cores: list[float]
    load: float
    at: datetime


@dataclass
class Memory:
    """What is in use."""

    percent: float
    used_mib: int
    total_mib: int
    swap_mib: int
    at: datetime


@dataclass
class Disk:
    """How full the root file system is, and what all disks did in a second."""

    percent: float
    read_kib: float
    written_kib: float
    at: datetime


@dataclass
class Network:
    """What went over all interfaces in a second."""

    received_kib: float
    sent_kib: float
    at: datetime


@dataclass
class Process:
    """A process, with its share of one processor during the last second, and its memory in RAM."""

    pid: int
    name: str
    cpu_percent: float
    memory_mib: float


@dataclass
class Sample:
    """The machine during one second."""

    cpu: Cpu
    memory: Memory
    disk: Disk
    network: Network
    processes: list[Process]


@dataclass
class Hardware:
    """What does not change as long as the machine runs. ``booted`` is seconds since the epoch."""

    processors: int
    memory_mib: int
    booted: float


@dataclass
class Top:
    by: Literal["cpu", "memory"] = "cpu"
    limit: Annotated[int, Meta(ge=1, le=100)] = 10


@dataclass
class Info:
    host: str
    system: str
    processors: int
    memory_mib: int
    up: str
    python: str
    connections: int


@dataclass
class Tail:
    path: Annotated[str, Meta(min_length=1)]
    lines: Annotated[int, Meta(ge=0, le=1000)] = 10


@dataclass
class Question:
    text: Annotated[str, Meta(min_length=1, max_length=1000)]


@dataclass
class Poll(Question):
    """``seconds``: how long everyone has to answer."""

    seconds: Annotated[float, Meta(gt=0, le=50)] = 20.0


@dataclass
class Decision:
    yes: bool


@dataclass
class Vote:
    """What one connection answered, or why it did not."""

    socket: str
    yes: bool | None = None
    error: str | None = None


@dataclass
class Outcome:
    text: str
    votes: list[Vote]


@dataclass
class NewNote:
    text: Annotated[str, Meta(min_length=1, max_length=1000)]
    author: Annotated[str, Meta(min_length=1, max_length=100)] = "somebody"


@dataclass
class Note(NewNote):
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


class Machine:
    """Samples of this machine. psutil blocks, and keeps state: it has one thread, and no other."""

    def __init__(self) -> None:
        self.hardware: Hardware | None = None
        self.latest: Sample | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="psutil")
        self._at = 0.0
        self._disk: Any = None
        self._network: Any = None

    async def sample(self) -> Sample:
        """Look at the machine; rates are those since the last look."""
        loop = asyncio.get_running_loop()
        self.latest = await loop.run_in_executor(self._thread, self._sample)
        return self.latest

    def close(self) -> None:
        """Let the thread go."""
        self._thread.shutdown(wait=False)

    def _sample(self) -> Sample:
        if self.hardware is None:
            self.hardware = Hardware(
                processors=psutil.cpu_count() or 1,
                memory_mib=psutil.virtual_memory().total // MIB,
                booted=psutil.boot_time(),
            )
        now, at = time.monotonic(), datetime.now(UTC)
        seconds, self._at = now - self._at, now
        disk_before, self._disk = self._disk, psutil.disk_io_counters()
        network_before, self._network = self._network, psutil.net_io_counters()
        cores = psutil.cpu_percent(percpu=True)
        memory = psutil.virtual_memory()

        def rate(before: Any, after: Any, counter: str) -> float:
            if before is None or after is None:  # the first look, or a machine without any
                return 0.0
            count: int = getattr(after, counter) - getattr(before, counter)
            return round(max(0, count) / KIB / seconds, 1)

        return Sample(
            cpu=Cpu(
                percent=round(sum(cores) / len(cores), 1),
                cores=cores,
                load=round(psutil.getloadavg()[0], 2),
                at=at,
            ),
            memory=Memory(
                percent=memory.percent,
                used_mib=memory.used // MIB,
                total_mib=memory.total // MIB,
                swap_mib=psutil.swap_memory().used // MIB,
                at=at,
            ),
            disk=Disk(
                percent=psutil.disk_usage(os.path.abspath(os.sep)).percent,
                read_kib=rate(disk_before, self._disk, "read_bytes"),
                written_kib=rate(disk_before, self._disk, "write_bytes"),
                at=at,
            ),
            network=Network(
                received_kib=rate(network_before, self._network, "bytes_recv"),
                sent_kib=rate(network_before, self._network, "bytes_sent"),
                at=at,
            ),
            processes=list(self._processes()),
        )

    def _processes(self) -> list[Process]:
        found = []
        for process in psutil.process_iter():
            try:
                with process.oneshot():
                    found.append(
                        Process(
                            pid=process.pid,
                            name=process.name(),
                            cpu_percent=process.cpu_percent(),
                            memory_mib=round(process.memory_info().rss / MIB, 1),
                        )
                    )
            except psutil.Error:
                pass  # it has just ended, or is none of our business
        return found


SOCKETS = web.AppKey("SOCKETS", SocketsManager)
MACHINE = web.AppKey("MACHINE", Machine)
LOGS = web.AppKey("LOGS", Logs)

routes = web.RouteTableDef()


@routes.view("/stream")
class Monitor(ApiPath, WsPathMixin, Subscribe, Publish):
    """The live monitor

    Subscribe to the channel `host` (events `cpu`, `memory`, `disk`, `network`), `notes`, or
    `questions`: then you are asked, too.
    """

    SOCKETS_KEY = SOCKETS

    async def on_connect(self) -> None:
        """Write down who comes"""
        journal.info("%s comes from %s", name_of(self), self.request.remote)

    async def on_disconnect(self, code: int) -> None:
        """Write down who goes"""
        journal.info("%s is gone (%d)", name_of(self), code)

    async def authorize(self, action: str, channel: str, event: str) -> bool:
        """What the machine does is told by nobody else"""
        return not (action == "publish" and channel == "host")

    async def ws_rpc_info(self, payload: dict[str, Any]) -> Info:
        """What machine this is"""
        hardware = self.request.app[MACHINE].hardware
        assert hardware is not None  # it is looked at before anybody is served
        return Info(
            host=platform.node(),
            system=f"{platform.system()} {platform.release()}",
            processors=hardware.processors,
            memory_mib=hardware.memory_mib,
            up=str(timedelta(seconds=round(time.time() - hardware.booted))),
            python=platform.python_version(),
            connections=self.sockets.server_info()["connections"],
        )

    async def ws_rpc_processes(self, payload: Top) -> list[Process]:
        """The processes that use most of the CPU, or of the memory"""
        sample = self.request.app[MACHINE].latest
        processes = sample.processes if sample is not None else []
        by = attrgetter({"cpu": "cpu_percent", "memory": "memory_mib"}[payload.by])
        return heapq.nlargest(payload.limit, processes, key=by)

    @ws_rpc(timeout=None)  # a quiet file is no failure
    async def ws_rpc_tail(self, payload: Tail) -> AsyncIterator[Line]:
        """The last lines of a log, and each new one as it comes"""
        async for line in self.request.app[LOGS].follow(payload.path, payload.lines):
            yield line

    @ws_rpc(timeout=60)
    async def ws_rpc_confirm(self, payload: Poll) -> list[Vote]:
        """Ask everyone else who is subscribed to the channel `questions`; what they answer"""
        watching = [
            ws
            for ws in self.sockets.sockets
            if ws is not self and "questions" in self.channels.get_subscribed(ws.connection)
        ]
        votes = await asyncio.gather(*(ask(ws, payload) for ws in watching))
        await self.sockets.publish("questions", "answered", Outcome(payload.text, votes))
        return votes


@routes.view("/notes")
class Notes(ApiPath):
    """Notes"""

    @op(body_schema=NewNote, response_schema=Note, response=201)
    async def post(self) -> Note:
        """Publish a note

        Everyone who is subscribed to the channel `notes` gets it as the event `note`.
        """
        new = self.cleaned(NewNote, await self.json_data())
        note = Note(text=new.text, author=new.author)
        await self.request.app[SOCKETS].publish("notes", "note", note)
        return note


async def ask(ws: Websocket, poll: Poll) -> Vote:
    """Have a client confirm something: it may refuse, be silent or go away."""
    question = Question(poll.text)
    try:
        decision = await ws.call("confirm", question, returns=Decision, timeout=poll.seconds)
    except (CallFailed, ConnectionClosed, TimeoutError, UnexpectedData) as exc:
        return Vote(name_of(ws), error=str(exc))
    return Vote(name_of(ws), yes=decision.yes)


def name_of(ws: Websocket) -> str:
    """What people call a connection. Its id is nothing to be shown around."""
    return ws.socket_id[:6]


async def write_down(call: Call, next: Next) -> Any:
    """Middleware: have each call in the journal, with its time and how it ended."""
    if call.stream:
        return written_down(call, await next(call))
    with in_journal(call):
        return await next(call)


async def written_down(call: Call, items: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """The items of a stream, which is in the journal at its end."""
    with in_journal(call):
        async for item in items:
            yield item


@contextmanager
def in_journal(call: Call) -> Iterator[None]:
    """Measure a call."""
    began, how = time.perf_counter(), "failed"
    try:
        yield
        how = "done"
    except (asyncio.CancelledError, GeneratorExit):
        how = "cancelled"
        raise
    finally:
        seconds = time.perf_counter() - began
        if how != "done" or call.method not in QUIET:
            name = name_of(call.socket)
            journal.info("%s %s %s in %.3f s", name, call.method, how, seconds)


async def keep_journal(app: web.Application) -> AsyncIterator[None]:
    """Where no other logs are to be followed, keep one, as long as the application runs."""
    logs = app[LOGS]
    if logs.directory is not None:
        yield
    else:
        with TemporaryDirectory(prefix="monitor-") as directory:
            logs.directory = Path(directory)
            handler = RotatingFileHandler(
                logs.directory / "monitor.log", maxBytes=MIB, backupCount=1, encoding="utf-8"
            )
            handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
            journal.addHandler(handler)
            journal.info("the monitor starts")
            yield
            journal.removeHandler(handler)
            handler.close()
    logs.close()


async def end_tails(app: web.Application) -> None:
    """A tail has no end of its own, and the server would wait for it."""
    app[LOGS].end()


async def publish_samples(app: web.Application) -> None:
    """Publish a sample each second."""
    loop, machine, sockets = asyncio.get_running_loop(), app[MACHINE], app[SOCKETS]
    due = loop.time()
    while True:
        sample = await machine.sample()
        try:
            await sockets.publish("host", "cpu", sample.cpu)
            await sockets.publish("host", "memory", sample.memory)
            await sockets.publish("host", "disk", sample.disk)
            await sockets.publish("host", "network", sample.network)
        except CannotPublish:
            return  # the server is shutting down
        # Not a second after the last one was done, but after it was due; late ones are left out.
        due = max(due + 1, loop.time())
        await asyncio.sleep(due - loop.time())


async def keep_publishing(app: web.Application) -> AsyncIterator[None]:
    """Own the publisher, as long as the application runs."""
    await app[MACHINE].sample()
    publisher = asyncio.create_task(publish_samples(app))
    publisher.add_done_callback(tell_failure)
    yield
    publisher.cancel()
    await asyncio.wait([publisher])
    app[MACHINE].close()


def tell_failure(task: asyncio.Task[None]) -> None:
    """Log why a task failed, when it does."""
    if not task.cancelled() and (exc := task.exception()) is not None:
        logger.error("nothing is published any more", exc_info=exc)


def create_app(logs: Path | None = None) -> web.Application:
    """Create the application.

    ``logs`` is the directory whose files `tail` may follow. Without it, it is that of the
    environment variable ``MONITOR_LOGS``, or one with the monitor's own ``monitor.log``.
    """
    if logs is None and (given := os.environ.get("MONITOR_LOGS")):
        logs = Path(given)
    if logs is not None and not logs.is_dir():
        raise NotADirectoryError(f"{logs} is no directory: give one whose logs may be followed")
    app = web.Application()
    # All that is kept can be recovered at once. No connection is a user's, so none comes back as
    # whom it was, and who is gone need not be present for long.
    limits = Limits(recovery=max(rule.history for rule in CHANNELS), presence_grace=1.0)
    app[SOCKETS] = SocketsManager(channels=CHANNELS, limits=limits, middleware=[write_down])
    app[MACHINE] = Machine()
    app[LOGS] = Logs(logs)
    app.add_routes([*routes, *page_routes(), client_module("/openapi.js")])
    app.router.add_get("/healthz", healthz)
    app.cleanup_ctx.extend([keep_journal, keep_publishing])
    app.on_shutdown.append(end_tails)
    Documents(title="Monitor", version="1.0.0").setup(app)
    return app
