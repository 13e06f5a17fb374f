"""A server as a process of the tests: ready when it answers, gone when they are.

Everything here blocks, for some tens of milliseconds where a server starts, so that it is of use to
fixtures of any scope, with or without a loop.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

__all__ = ["HOST", "NotReady", "Server", "free_port"]

HOST: Final = "127.0.0.1"

#: Seconds in which a server surely answers. Only a test that fails waits for so long.
_PATIENCE: Final = 20.0
_PAUSE: Final = 0.005

#: Below the ports that systems give to outgoing connections: one of these may take the port of a
#: server that is away, and who tries such a port again and again connects to itself in the end.
_PORTS: Final = range(15_000, 30_000)

#: Processes that run tests at the same time, at most.
_WORKERS: Final = 8
_drawn: Final[set[int]] = set()

_MORTAL: Final = Path(__file__).with_name("mortal.py")


class NotReady(Exception):
    """A server that has ended, or does not answer in time. It has its log."""


class Server(ABC):
    """One server, on a port and in a folder of its own, both the same for as long as it lives.

    It is not started yet: ``with Server() as server:`` does that, and :meth:`close` at the end.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"{type(self).__name__.lower()}-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._is_paused = False

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients find it."""

    @abstractmethod
    def _command(self) -> Sequence[str | Path]:
        """The program and its arguments."""

    @abstractmethod
    def _answers(self) -> bool:
        """Ask it whether it is ready. May raise OSError."""

    @property
    def runs(self) -> bool:
        """Whether it was started and not ended."""
        return self._process is not None

    @property
    def pid(self) -> int:
        """The process. Raises LookupError where there is none."""
        if self._process is None:
            raise LookupError(f"{self} does not run")
        return self._process.pid

    def start(self) -> None:
        """Start it, with what it kept if it ran before, and return when it answers.

        Raises NotReady.
        """
        assert self._process is None, f"{self} runs already"
        command = [sys.executable, "-I", "-S", _MORTAL, str(os.getpid()), *self._command()]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + _PATIENCE
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise NotReady(f"{self} is not ready:\n{(self.folder / 'log').read_text()}")
            time.sleep(_PAUSE)

    def stop(self) -> None:
        """End it in order: it may write down what it keeps. Harmless when it does not run."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, paused or not. Harmless when it does not run."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Let it do nothing: its connections are there, and nobody answers."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitpid(self.pid, os.WUNTRACED)  # it stops when the system comes to it
        self._is_paused = True

    def resume(self) -> None:
        """Let it go on. Harmless when it was not paused."""
        if self._is_paused:
            os.kill(self.pid, signal.SIGCONT)
            self._is_paused = False

    def close(self) -> None:
        """Kill it and remove its folder. Harmless the second time."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__} on port {self.port}"

    def _is_ready(self) -> bool:
        try:
            return self._answers()
        except OSError:
            return False

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if how is not signal.SIGKILL and self._is_paused:
            os.kill(process.pid, signal.SIGCONT)
        self._is_paused = False
        process.send_signal(how)
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def free_port() -> int:
    """A TCP port of loopback that nobody listens on, and that was not drawn before.

    It may be used much later. So each process of one run has ports of its own to draw from.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS
    while True:
        port = random.SystemRandom().choice(_PORTS[worker::_WORKERS])
        if port in _drawn:
            continue
        with socket.socket() as sock:
            try:
                sock.bind((HOST, port))
            except OSError:
                continue
        _drawn.add(port)
        return port
