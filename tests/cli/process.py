"""The command as a process: with pipes, or on a terminal of its own."""

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "openapi"]
ENVIRONMENT = {**os.environ, "TERM": "xterm-256color", "PYTHONUNBUFFERED": "1"}
for _name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
    ENVIRONMENT.pop(_name, None)

DEADLINE = 45.0
"""Seconds within which whatever is waited for must have happened."""


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, with pipes."""
    return _run([*COMMAND, *arguments], **options)


def run_code(code: str) -> subprocess.CompletedProcess[str]:
    """Run a program in Python to its end, with pipes."""
    return _run([sys.executable, "-c", code])


def run_unread(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, with an output that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        with started(*arguments, stdout=writer) as process:
            _, err = process.communicate(timeout=DEADLINE)
    finally:
        os.close(writer)
    return subprocess.CompletedProcess(arguments, process.returncode, "", err)


def _run(command: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=ENVIRONMENT,
        timeout=DEADLINE,
        **options,
    )


@contextlib.contextmanager
def started(*arguments: str, **options: Any) -> Iterator["subprocess.Popen[str]"]:
    """Start the command with pipes; it is killed in the end if it still runs."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    command = [*COMMAND, *arguments]
    with subprocess.Popen(command, text=True, cwd=ROOT, env=ENVIRONMENT, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: "subprocess.Popen[str]") -> Any:
    """The next line of its output, which is JSON."""
    assert process.stdout is not None
    said, fd = b"", process.stdout.fileno()
    while not said.endswith(b"\n"):  # and not a byte more: the next may be for somebody else
        ready, _, _ = select.select([fd], [], [], DEADLINE)
        assert ready, f"it says nothing, behind {said!r}"
        byte = os.read(fd, 1)
        assert byte, f"it says no more, behind {said!r}"
        said += byte
    return json.loads(said)


def stopped(process: "subprocess.Popen[str]", code: int = 0) -> str:
    """Ask it to end; returns what it wrote on stderr. It has nothing more to say on stdout."""
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=DEADLINE)
    assert (process.returncode, out) == (code, ""), err
    assert "Traceback" not in err, err
    return err


def ended(process: "subprocess.Popen[str]") -> str:
    """Wait until it ends well, whoever reads its stdout; returns what it wrote on stderr."""
    assert process.wait(DEADLINE) == 0
    assert process.stderr is not None
    return process.stderr.read()


def interrupted(process: "subprocess.Popen[str]", *, behind: str) -> None:
    """Interrupt it when it has written a line on stderr: it ends with 130, and says no more."""
    assert process.stderr is not None
    assert process.stderr.readline() == f"{behind}\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=DEADLINE) == ("", "")
    assert process.returncode == 130


@contextlib.contextmanager
def served(target: str, *options: str) -> Iterator[str]:
    """Serve an application on a free port; yields ``HOST:PORT``. It must end well."""
    with started("serve", target, "--port", "0", *options) as process:
        url = line(process)["url"]
        yield url.removeprefix("http://")
        stopped(process)


class Terminal:
    """The command on a terminal: ``with Terminal("listen", …) as terminal``."""

    def __init__(self, *arguments: str, columns: int = 100) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
        self.raw = ""
        self._process = subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=ROOT,
            env=ENVIRONMENT,
            preexec_fn=lambda: os.login_tty(slave),
        )
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    @property
    def text(self) -> str:
        """What it shows, without colours."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.raw).replace("\r\n", "\n")

    def wait_for(self, text: str) -> None:
        """Wait until it shows a text."""
        self.wait_until(lambda shown: text in shown)

    def wait_until(self, fits: Callable[[str], bool]) -> None:
        """Wait until what it shows, without colours, fits."""
        deadline = time.monotonic() + DEADLINE
        while not fits(self.text):
            assert time.monotonic() < deadline, self.text
            assert self._read(deadline - time.monotonic()), self.text

    def ended(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def type(self, text: str) -> None:
        """Type something, as it comes from the keyboard; a line ends with ``\\n``."""
        os.write(self._master, text.encode())

    def press_ctrl_c(self) -> None:
        """Interrupt it, as the keyboard does."""
        self.type("\x03")

    def wait(self) -> int:
        """Wait until it ends; returns its exit code."""
        while self._read(DEADLINE):
            pass
        return self._process.wait(DEADLINE)

    def _read(self, timeout: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(0.0, timeout))
        try:
            data = os.read(self._master, 65536) if ready else b""
        except OSError:  # EIO: nobody has the other end any more
            data = b""
        self.raw += data.decode()
        return bool(data)
