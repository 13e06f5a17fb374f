"""A realtime layer on aiohttp: typed RPC, publish/subscribe and documents from one class."""

from typing import Final

__version__: Final = "4.0.0.dev0"
