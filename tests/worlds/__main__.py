"""``python -m tests.worlds``: prints the port of the control, and ends when its stdin does."""

import asyncio
import logging
import sys

from tests.worlds.control import Control


async def main() -> None:
    """Run until nobody holds the other end of stdin any more: who started it has ended."""
    # conversations fail on purpose, and what the server logs of that is noise
    logging.getLogger("openapi").addHandler(logging.NullHandler())
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with Control() as control:
        print(control.port, flush=True)  # noqa: T201 # it is what the other process waits for
        await reader.read()


if __name__ == "__main__":
    asyncio.run(main())
