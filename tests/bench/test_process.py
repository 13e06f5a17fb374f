import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from bench.process import SERVER_CORE, Meter, Server, cpu_of, everywhere


@dataclass(frozen=True)
class Program:
    """A peer that is a few lines of Python."""

    text: str
    name: str = "the program"

    def command(self) -> Sequence[str | Path]:
        return [sys.executable, "-c", self.text]


SERVES = Program("import time; print(4711, flush=True); time.sleep(60)")


def has_ended(pid: int) -> bool:
    """Who has no parent any more may be a zombie for as long as init likes."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_server_says_its_port_and_is_ended() -> None:
    with Server(SERVES) as server:
        assert server.port == 4711
        assert psutil.pid_exists(server.pids[0])
    assert not psutil.pid_exists(server.pids[0])


def test_a_server_has_a_core_of_its_own_unless_it_is_to_have_all() -> None:
    with Server(SERVES) as server:
        assert os.sched_getaffinity(server.pids[0]) == {SERVER_CORE}
    with everywhere(), Server(SERVES, core=None) as server:
        assert os.sched_getaffinity(server.pids[0]) == os.sched_getaffinity(0)


def test_a_program_that_a_server_starts_is_part_of_it_and_ends_with_it() -> None:
    inner = "import time; time.sleep(60)"
    text = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {inner!r}]);"
    with Server(Program(f"{text} print(1, flush=True); time.sleep(60)")) as server:
        assert len(server.pids) == 2
        assert server.memory() > 0
    assert all(map(has_ended, server.pids))


def test_a_server_that_does_not_start_is_named_with_what_it_said() -> None:
    broken = Program("raise OSError('no port is free')")
    with (
        pytest.raises(OSError, match="the program does not start: .*no port is free"),
        Server(broken),
    ):
        pass


def test_what_a_server_said_is_with_the_error_that_it_caused() -> None:
    talks = "import sys, time; print('oh', file=sys.stderr, flush=True); print(1, flush=True);"
    with pytest.raises(AssertionError) as failed, Server(Program(f"{talks} time.sleep(60)")):
        raise AssertionError("a wrong answer")
    assert failed.value.__notes__ == ["the program said: oh"]


def test_what_a_server_uses_is_told_with_what_the_load_used() -> None:
    with Server(SERVES) as server, Meter(server) as used:
        sum(range(1000))
    assert used.cpu >= 0 and used.load >= 0 and used.seconds > 0
    told = used.headroom("rpc-1", "ours", 100)
    assert (told.what, told.peer, told.rate) == ("rpc-1", "ours", 100 / used.seconds)


def test_a_process_that_has_ended_has_no_time() -> None:
    with Server(SERVES) as server:
        pass
    with pytest.raises(ProcessLookupError, match="there is no process"):
        cpu_of(server.pids[0])
