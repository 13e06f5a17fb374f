"""An application whose endpoints use every kind of type, and names that clash."""

import datetime as dt
import enum
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, NotRequired, TypedDict, TypeVar
from uuid import UUID

import msgspec
from aiohttp import web
from pydantic import BaseModel, Field

from openapi.ws import ChannelRule, SocketsManager, WsPathMixin, ws_rpc
from openapi.ws.pubsub import Publish, Subscribe
from tests.types import stock

T = TypeVar("T")
SOCKETS = web.AppKey("SOCKETS", SocketsManager)


class Colour(enum.Enum):
    """What it looks like, "at first sight" """

    RED = "red"
    NEARLY_BLUE = 'it\'s "blue"'


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


class Grade(enum.StrEnum):
    A = "a"
    B = "b"


@dataclass
class Nothing:
    """There are no fields in it."""


@dataclass
class Item:
    """Something on sale.

    In stock or not: see \\d and '''quotes'''.
    """

    name: Annotated[str, msgspec.Meta(min_length=1)]
    price: Decimal
    colour: Colour = Colour.RED
    size: Size | None = Size.SMALL
    tags: list[str] = field(default_factory=list)
    grade: Grade = Grade.A
    kind: Literal["tea", "cake", 1] = "tea"
    id: UUID | None = None


@dataclass
class Order:
    """An order, whose time the server sets where it is missing."""

    items: list[Item]
    date: dt.date | None = None
    made: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))
    list: "tuple[int, ...]" = ()
    note: str = "none"
    seal: bytes = b""
    left: float = 0.5


@dataclass
class Tree:
    value: int
    left: "Tree | None" = None
    more: "list[Tree]" = field(default_factory=list)
    forest: "Forest | None" = None


@dataclass
class Forest:
    trees: dict[str, Tree]


@dataclass
class Box(Generic[T]):
    content: T


class Circle(msgspec.Struct, tag=True):
    radius: float


class Square(msgspec.Struct, tag=True):
    side: float
    corner: "Point"


class Point(NamedTuple):
    x: int
    y: int = 0


class Up(msgspec.Struct, array_like=True, tag="up"):
    by: int


class Down(msgspec.Struct, array_like=True, tag="down"):
    by: int = 0


class Renamed(msgspec.Struct, rename="camel", omit_defaults=True):
    first_name: str
    last_name: str = ""
    is_from: str | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="from")


class Opening(TypedDict):
    """When it is open."""

    day: dt.date
    at: dt.time
    for_: NotRequired[dt.timedelta]


Odd = TypedDict("Odd", {"from": int, "no-name": NotRequired[str], "class": "Odd | None"})


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    born: dt.datetime


class Owner(BaseModel):
    """Who has a pet."""

    name: str = Field(alias="fullName")
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    friends: list["Owner"] = Field(default_factory=list)
    colour: Colour = Colour.RED
    any: str | dt.datetime | None = None


@dataclass
class Stream:
    """It has the name of something that is imported."""

    Any: int = 0
    field: int = 3
    int: float = 1e16
    long: Literal[
        "a choice of so many words",
        "that it does not fit into a line",
        "and has a name",
        "of its own",
    ] = "and has a name"
    wide: (
        Circle
        | Square
        | list[dict[Literal["the first of them all", "the second of them", "the third"], Item]]
        | None
    ) = None


@dataclass
class Top:
    limit: int = 10


class Shop(WsPathMixin, Publish, Subscribe):
    """The shop

    With a `code` and a "quote" at its end: "shop"
    ---
    not for people
    """

    SOCKETS_KEY = SOCKETS

    async def ws_rpc_order(self, payload: Order) -> Order:
        """Order something

        It goes there and back: */ \\ \"""
        """
        return payload

    async def ws_rpc_list(self, payload: Nothing) -> list[Item]:
        """All items"""
        return [Item("tea", Decimal("2.50"))]

    async def ws_rpc_import(self, payload: Stream) -> None:
        """Its name is a keyword"""

    async def ws_rpc_long_name(self, payload: Box[list[int]]) -> Box[str | None]:
        return Box("".join(map(str, payload.content)))

    async def ws_rpc_shape(self, payload: Circle | Square) -> Circle | Square | None:
        return payload

    async def ws_rpc_move(
        self, payload: Annotated[dict[str, Up | Down], "moves"]
    ) -> tuple[Point, Up]:
        return Point(1), Up(2)

    async def ws_rpc_tree(self, payload: Tree) -> dict[str, Tree]:
        return {"tree": payload}

    async def ws_rpc_rename(self, payload: Renamed) -> Renamed:
        return payload

    async def ws_rpc_own(self, payload: Owner) -> Owner:
        return payload

    @ws_rpc(body_schema=Opening, response_schema=Odd)
    async def ws_rpc_open(self, payload: dict[str, Any]) -> Any:
        return {"from": 1, "class": None}

    async def ws_rpc_item(self, payload: stock.Item) -> set[Size]:
        """Another type of that name"""
        return {Size.SMALL}

    # Not every application has types.
    async def ws_rpc_untyped(self, payload):  # type: ignore[no-untyped-def]
        return payload

    async def ws_rpc_kind(self, payload: Nothing) -> Literal["a", "b"]:
        return "a"

    @ws_rpc(timeout=90.5)
    async def ws_rpc_slow(self, payload: Nothing) -> int | None:
        return None

    @ws_rpc(timeout=None)
    async def ws_rpc_endless(self, payload: Nothing) -> dict[Colour, dict[int, UUID]]:
        return {}

    async def ws_rpc_count(self, payload: Nothing) -> AsyncIterator[int | None]:
        """Count"""
        yield 1

    async def ws_rpc_lines(self, payload: Top) -> AsyncIterator[Item]:
        """Items, one after the other"""
        yield Item(str(payload.limit), Decimal(1))

    async def ws_rpc_anything(self, payload: Nothing) -> AsyncIterator[Any]:
        yield 1

    async def ws_rpc_subscribe_prices(self, payload: Nothing) -> bool:
        return True


class Wrapping(WsPathMixin, Publish):
    """It publishes something else than what it is given."""

    SOCKETS_KEY = SOCKETS

    def get_publish_message(self, data: Any) -> Any:
        return {"trees": {name: {"value": 1} for name in data}}


class Silent(WsPathMixin):
    pass


RULES = [
    ChannelRule("prices", data=Item, history=10),
    ChannelRule("orders:*", data=Order, history=100, presence=True),
    ChannelRule("orders", data=Order),
    ChannelRule("orders:all", data=int),
    ChannelRule("liveScores/{2}*", data=Literal["home", "guest"]),
    ChannelRule("trees:*", data=Tree | None, presence=True),
    ChannelRule("*", data=Forest),
    ChannelRule("untyped"),
    ChannelRule("secret", data=int, refused=True),
]


def create_app() -> web.Application:
    inner = web.Application()
    inner[SOCKETS] = SocketsManager(channels=RULES)
    inner.router.add_view("/shop", Shop)
    inner.router.add_view("/shop/{id}", Shop)
    inner.router.add_view("/wrapping", Wrapping)
    app = web.Application()
    app.router.add_view("/silent", Silent)
    app.router.add_view("/shop", stock.Shop)
    app.add_subapp("/inner", inner)
    return app
