"""Answers of many parts."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from aiohttp import web

from openapi.client import connect
from openapi.ws import SocketsManager, WsPathMixin, ws_rpc

SOCKETS = web.AppKey("SOCKETS", SocketsManager)


class Sensor:
    """A thermometer that is read over a cable."""

    opened = 0

    def __init__(self) -> None:
        Sensor.opened += 1

    async def read(self) -> float:
        """Degrees, some time later."""
        await asyncio.sleep(0.01)
        return 21.5

    def close(self) -> None:
        """Let go of the cable."""
        Sensor.opened -= 1


# [types]
@dataclass
class Wanted:
    count: int


@dataclass
class Reading:
    number: int
    celsius: float


# [/types]


class House(WsPathMixin):
    SOCKETS_KEY = SOCKETS

    # [stream]
    @ws_rpc(timeout=10.0)
    async def ws_rpc_readings(self, payload: Wanted) -> AsyncIterator[Reading]:
        """Readings of the thermometer, as they come"""
        sensor = Sensor()
        try:
            for number in range(payload.count):
                yield Reading(number, await sensor.read())
        finally:
            sensor.close()

    # [/stream]


def create_app() -> web.Application:
    app = web.Application()
    app[SOCKETS] = SocketsManager()
    app.router.add_view("/house", House)
    return app


# [client]
async def first_above(url: str, celsius: float) -> Reading | None:
    """The first reading that is warmer, of the next thousand."""
    async with connect(url) as client:
        async with client.stream("readings", {"count": 1000}, type=Reading) as readings:
            async for reading in readings:
                if reading.celsius > celsius:
                    return reading  # leaving the block cancels the call
    return None


# [/client]
