"""The fastest way that is here to unmask what clients send.

aiohttp has one in C. It has no public name, so where it is not found, nothing is lost but time.
"""

from typing import Final

from openapi.protocol.websocket import Unmask, xor

__all__ = ["unmask"]

try:
    from aiohttp._websocket.mask import (  # type: ignore[import-not-found] # it is compiled
        _websocket_mask_cython as _mask,
    )
except ImportError:
    _fastest: Unmask = xor
else:

    def _by_aiohttp(key: bytes, payload: bytes) -> bytearray:
        """See :func:`xor`."""
        data = bytearray(payload)
        _mask(key, data)
        return data

    _fastest = _by_aiohttp

unmask: Final[Unmask] = _fastest
