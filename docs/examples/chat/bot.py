"""A bot in the lobby: it counts what is said, and answers who asks it."""

import asyncio
import sys
from dataclasses import dataclass
from uuid import uuid4

from openapi.client import Client, PositionLost, Status, connect


@dataclass
class Said:
    name: str
    text: str


def tell(status: Status) -> None:
    print(status.state.value, status.reason or "", flush=True)


async def answer(client: Client, text: str) -> None:
    try:
        await client.call("say", {"text": text, "key": uuid4().hex}, idempotent=True, timeout=120)
    except TimeoutError:
        print("too late to answer:", text, flush=True)


async def main(url: str) -> None:
    count = 0
    async with (
        connect(url, on_state=tell) as client,
        client.subscribe("room:lobby", "said", type=Said) as messages,
    ):
        while True:
            try:
                async for message in messages:
                    said = message.data
                    if said.name == "bot":
                        continue
                    count += 1
                    if said.text == "bot, how many?":
                        await answer(client, f"{count}, {said.name}")
            except PositionLost:
                print("messages were lost: counting anew", flush=True)
                count = 0


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1]))
    except KeyboardInterrupt:
        pass
