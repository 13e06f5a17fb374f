"""A server under measurement: a process of its own, alone on its core, and what it has used.

The server has the first core that this process may use, the load the second. Where there is only
one, both share it, and ``SHARED`` says so.
"""

import os
import resource
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

import psutil

from bench.figures import Headroom

__all__ = [
    "CORES",
    "LOAD_CORE",
    "ROOT",
    "SERVER_CORE",
    "SHARED",
    "Meter",
    "Server",
    "cpu_of",
    "everywhere",
    "pin_load",
]

ROOT: Final = Path(__file__).parents[1]

#: Those that this process may use, before it is kept to one of them.
CORES: Final = sorted(os.sched_getaffinity(0))
SERVER_CORE: Final = CORES[0]
LOAD_CORE: Final = CORES[min(1, len(CORES) - 1)]
SHARED: Final = len(CORES) == 1

#: Seconds until a server has said its port, and until it has ended.
_START: Final = 30.0
_STOP: Final = 2.0


class Startable(Protocol):
    """What is needed of a peer to be started."""

    @property
    def name(self) -> str: ...
    def command(self) -> Sequence[str | Path]: ...


def pin_load() -> None:
    """Keep this process to the core of the load."""
    os.sched_setaffinity(0, {LOAD_CORE})


@contextmanager
def everywhere() -> Iterator[None]:
    """Let this process run on every core for a while."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(CORES))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cpu_of(pid: int) -> float:
    """User and system time of a process with all its threads, in seconds.

    By the scheduler's own account, which is finer than the ticks of ``/proc/<pid>/stat``; by those
    where the kernel keeps none. Raises ``ProcessLookupError`` when it is gone.
    """
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
    except FileNotFoundError:
        raise ProcessLookupError(f"there is no process {pid} any more") from None
    used = 0
    for task in tasks:
        try:
            used += int((task / "schedstat").read_bytes().split(maxsplit=1)[0])
        except FileNotFoundError:
            if not task.exists():
                continue  # a thread that ended since
            times = psutil.Process(pid).cpu_times()
            return float(times.user + times.system)
    return used / 1e9


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _memory_of(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"the kernel says nothing of the memory of process {pid}")


class Server:
    """Starts a peer and ends it.

    with Server(peer, "--patterns", "100") as server:
        before = server.cpu()

    It has the first core; ``core`` is another one, or None for all. Raises ``OSError``, with what
    the server printed last, where it does not say its port within 30 seconds.
    """

    def __init__(self, peer: Startable, *options: str, core: int | None = SERVER_CORE) -> None:
        self._peer = peer
        self._options = options
        self._cores = set(CORES) if core is None else {core}
        self.port = 0
        self.pids: list[int] = []

    def __enter__(self) -> Self:
        command = [*self._peer.command(), *self._options]
        self._stderr = tempfile.TemporaryFile()
        try:
            self._process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                cwd=ROOT,
                # A Ctrl-C is for the load, which ends its servers in order.
                start_new_session=True,
                preexec_fn=self._settle,
            )
        except BaseException:  # Ctrl-C, too: no process is left behind
            self._stderr.close()
            raise
        pid = self._process.pid
        try:
            line = self._first_line()
            # Node.js may be started by a script, which then waits for it.
            children = psutil.Process(pid).children(recursive=True)
            self.pids = [pid, *(child.pid for child in children)]
            self.port = self._read_port(line)
        except BaseException:  # Ctrl-C, too: no process is left behind
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        said = self.said() if error is not None else ""
        self._stop()
        if error is not None and said:
            error.add_note(f"{self._peer.name} said: {said}")

    def _settle(self) -> None:
        """Before the program begins: its cores, and as many files as may be."""
        os.sched_setaffinity(0, self._cores)
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def _first_line(self) -> bytes:
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            return self._process.stdout.readline() if selector.select(_START) else b""

    def _read_port(self, line: bytes) -> int:
        try:
            return self._port_of(line)
        except ValueError:
            message = f"{self._peer.name} does not start: it said no port, but {line!r}"
            raise OSError(f"{message}; {self.said()}") from None

    def _port_of(self, line: bytes) -> int:
        """What the first line says. Raises ``ValueError`` where it does not."""
        return int(line)

    def _stop(self) -> None:
        group = self._process.pid
        os.killpg(group, signal.SIGTERM)
        # Not reaped yet, it keeps the group's number from being another's.
        end = time.monotonic() + _STOP
        while time.monotonic() < end and any(map(_runs, self.pids)):
            time.sleep(0.01)
        os.killpg(group, signal.SIGKILL)
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._stderr.close()

    def said(self) -> str:
        """The last line that it wrote to its standard error."""
        self._stderr.seek(0)
        return self._stderr.read().decode(errors="replace").strip().rpartition("\n")[2][:500]

    def cpu(self) -> float:
        """What :func:`cpu_of` says of all that it consists of."""
        return sum(map(cpu_of, self.pids))

    def memory(self) -> int:
        """Its proportional share of memory (PSS), in bytes."""
        return sum(map(_memory_of, self.pids))


class Meter:
    """What a server and the load use while it is open, and for how long.

    with Meter(server) as used:
        ...
    used.cpu, used.load, used.seconds
    """

    def __init__(self, *servers: Server) -> None:
        self._servers = servers
        self.cpu = self.load = self.seconds = 0.0

    def __enter__(self) -> Self:
        self._begun = time.perf_counter()
        self._load = time.process_time()
        self._cpu = [server.cpu() for server in self._servers]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if error is None:
            self.cpu = sum(
                server.cpu() - before
                for server, before in zip(self._servers, self._cpu, strict=True)
            )
            self.load = time.process_time() - self._load
            self.seconds = time.perf_counter() - self._begun

    def headroom(self, what: str, peer: str, operations: int) -> Headroom:
        """The parts of their cores that server and load used for so many operations."""
        return Headroom(
            what,
            peer,
            self.cpu / self.seconds,
            self.load / self.seconds,
            operations / self.seconds,
        )
