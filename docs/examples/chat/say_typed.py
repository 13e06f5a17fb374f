# mypy: disable-error-code="import-not-found"
# [typed]
"""Say one thing in the lobby: python say_typed.py URL TEXT"""

import asyncio
import sys
from uuid import uuid4

from chat_client import ChatClient, Say

from openapi.client import connect


async def main(url: str, text: str) -> None:
    async with connect(url) as client:
        chat = ChatClient(client)
        said = await chat.say(Say(text=text, key=uuid4().hex), idempotent=True)
        print(f"{said.name}: {said.text}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
# [/typed]
