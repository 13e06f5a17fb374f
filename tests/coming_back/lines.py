"""A process of a test and the test, who talk in lines of JSON.

The test reads what the process prints; the process ends when its stdin does, so that none is left
behind whatever becomes of the test.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

__all__ = ["Program", "running", "say", "stdin_ends"]

ROOT: Final = Path(__file__).parents[2]

#: The longest line, in bytes: what two hundred messages can become for one client is far below.
_LINE: Final = 4 * 1024 * 1024


def say(what: object) -> None:
    """Print a line. It is for the process."""
    print(json.dumps(what), flush=True)  # noqa: T201 # who started it reads it


async def stdin_ends() -> None:
    """Wait until nobody holds the other end of stdin any more. It is for the process."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


class Program:
    """A process, as the test has it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def says(self, what: object) -> None:
        """Wait until it says that. Raises AssertionError if it ends, or says something else."""
        line = await self._stdout.readline()
        assert line, f"it has ended with {await self._process.wait()}, and did not say {what!r}"
        assert json.loads(line) == what

    async def end(self) -> list[Any]:
        """Let it end; returns what it says last. Raises AssertionError if it fails."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        lines = [json.loads(line) async for line in self._stdout]
        assert await self._process.wait() == 0
        return lines

    @property
    def _stdout(self) -> asyncio.StreamReader:
        assert self._process.stdout is not None
        return self._process.stdout


@asynccontextmanager
async def running(*command: str | Path, told: object) -> AsyncIterator[Program]:
    """Start a program with an argument more, which is JSON. It is killed if it still runs."""
    process = await asyncio.create_subprocess_exec(
        *command,
        json.dumps(told),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_LINE,
    )
    try:
        yield Program(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
