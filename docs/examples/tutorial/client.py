"""Watch the board, and put a task on it."""

import asyncio
import sys
from dataclasses import dataclass

from openapi.client import connect
from openapi.errors import CallFailed


@dataclass
class Task:
    title: str
    minutes: int
    id: int
    done: bool


async def main(url: str) -> None:
    async with connect(url) as client, client.subscribe("tasks", type=Task) as changes:
        task = await client.call("add", {"title": "write a client"}, returns=Task)
        print(f"task {task.id} takes {task.minutes} minutes")
        try:
            await client.call("finish", {"id": 99})
        except CallFailed as error:
            print(f"{error.code}: {error.message}")
        await client.call("finish", {"id": task.id})
        async for change in changes:
            print(change.event, change.data.title)
            if change.event == "finished":
                break


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
