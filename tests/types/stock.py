"""Names that are in :mod:`tests.types.shop` too."""

from dataclasses import dataclass

from openapi.ws import WsPathMixin


@dataclass
class Item:
    count: int


class Shop(WsPathMixin):
    async def ws_rpc_count(self, payload: Item) -> Item:
        return payload
