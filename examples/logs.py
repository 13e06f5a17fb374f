"""Files that grow, line by line, as `tail -F` shows them.

    logs = Logs(Path("/var/log"))
    async for line in logs.follow("app.log", lines=10): ...

A file that is cut short, or whose name is given to another one, is read on from its start, as log
rotation wants it. What is cut short and longer than before within one pause is not noticed.
"""

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from io import FileIO
from pathlib import Path
from typing import TypeVar

from openapi.errors import ErrorCode, InvalidData, RpcError

LINE_BYTES = 4096  # what is shown of a line
READ_BYTES = 16 * 1024  # at once
LOOK_BACK = 1024 * 1024  # bytes, for the last lines
PAUSE = 0.2  # seconds between two looks

T = TypeVar("T")


@dataclass
class Line:
    """``offset``: where it begins in the file, in bytes. ``text`` is without its end."""

    offset: int
    text: str


class Logs:
    """What is below a directory. Files block: they have one thread, and no other."""

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = directory
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="logs")
        self._ending = False

    async def follow(self, path: str, lines: int) -> AsyncIterator[Line]:
        """The last lines of a file, then each one that comes, until :meth:`end`.

        A line comes when it has its end. Raises InvalidData for a file that is none, RpcError for
        a path that leads out of the directory.
        """
        assert self.directory is not None, "there is nothing to be followed yet"
        file = _File(self.directory, path)
        try:
            await self._in_thread(partial(file.open, lines))
            while not self._ending:
                found = await self._in_thread(file.read)
                if found is None:
                    await asyncio.sleep(PAUSE)
                for line in found or ():
                    yield line
        finally:
            # Behind a read that nobody waits for any more.
            self._thread.submit(file.close)

    def end(self) -> None:
        """Let everyone who follows a file come to an end."""
        self._ending = True

    def close(self) -> None:
        """Let the thread go."""
        self._thread.shutdown(wait=False)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except OSError as exc:
            raise InvalidData({"path": exc.strerror or str(exc)}) from exc


class _File:
    """One file that is followed."""

    def __init__(self, directory: Path, path: str) -> None:
        self._root = os.path.realpath(directory)
        self._path = path
        self._file: FileIO | None = None
        self._begun = b""  # the line without an end, as much as is shown of it
        self._begins = 0  # where it does

    def open(self, lines: int) -> None:
        """Open it in front of its last lines. Raises OSError, InvalidData, RpcError."""
        self._file = self._opened()
        self._begins = self._file.seek(_before_last(self._file, lines))

    def read(self) -> list[Line] | None:
        """Lines that have an end by now; None where nothing has come. Raises as :meth:`open`."""
        assert self._file is not None
        data = self._file.read(READ_BYTES)
        if not data:
            if not self._replaced(self._file):
                return None
            data = self._file.read(READ_BYTES)  # what came in between
            if not data:
                return self._begin_anew()
        return self._split(data)

    def close(self) -> None:
        """Close it, if it is open."""
        if self._file is not None:
            self._file.close()

    def _opened(self) -> FileIO:
        try:
            path = os.path.realpath(os.path.join(self._root, self._path))
        except ValueError as exc:  # there is a NUL in it
            raise InvalidData({"path": "is no path"}) from exc
        if os.path.isabs(self._path) or not Path(path).is_relative_to(self._root):
            raise RpcError(
                ErrorCode.NOT_ALLOWED, "Only what is below the directory of logs can be read"
            )
        # A pipe would have us wait for its writer; links are followed by now.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise InvalidData({"path": "is no file"})
        return FileIO(descriptor)

    def _replaced(self, file: FileIO) -> bool:
        ours = os.fstat(file.fileno())
        try:
            named = os.stat(os.path.join(self._root, self._path))
        except FileNotFoundError:
            return False  # the next one is not there yet
        return not os.path.samestat(ours, named) or ours.st_size < file.tell()

    def _begin_anew(self) -> list[Line] | None:
        try:
            file = self._opened()
        except FileNotFoundError:
            return None
        self.close()
        self._file = file
        last = [self._ended()] if self._begun else []  # its end will never come
        self._begins = 0
        return last

    def _split(self, data: bytes) -> list[Line]:
        *ends, rest = data.split(b"\n")
        assert self._file is not None
        position = self._file.tell() - len(data)
        lines = []
        for end in ends:
            self._keep(end)
            lines.append(self._ended())
            position += len(end) + 1
            self._begins = position
        self._keep(rest)
        return lines

    def _keep(self, part: bytes) -> None:
        self._begun += part[: LINE_BYTES + 1 - len(self._begun)]

    def _ended(self) -> Line:
        shown, self._begun = self._begun.removesuffix(b"\r"), b""
        text = shown[:LINE_BYTES].decode(errors="replace")
        return Line(self._begins, text + "…" if len(shown) > LINE_BYTES else text)


def _before_last(file: FileIO, lines: int) -> int:
    """Where the last lines of a file begin; fewer of them, where they are far away."""
    size = os.fstat(file.fileno()).st_size
    first = max(0, size - LOOK_BACK)
    data = os.pread(file.fileno(), size - first, first)
    begin = data.rfind(b"\n") + 1  # behind the last one that has an end
    for _ in range(lines):
        if not begin:
            break
        begin = data.rfind(b"\n", 0, begin - 1) + 1
    if first and not begin:
        begin = data.find(b"\n") + 1  # the first one is not there from its start
    return first + begin
