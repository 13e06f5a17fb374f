"""Typed HTTP operations, and their document."""

from dataclasses import dataclass
from typing import Annotated

from aiohttp import web
from msgspec import Meta

from openapi.spec import ApiPath, Documents, op

routes = web.RouteTableDef()


# [types]
@dataclass
class BookUpdate:
    title: Annotated[str, Meta(min_length=1)]


@dataclass
class Book(BookUpdate):
    id: int


@dataclass
class BookId:
    id: int


@dataclass
class BookQuery:
    word: str = ""
    limit: Annotated[int, Meta(ge=1, le=100)] = 10


BOOKS = web.AppKey("BOOKS", dict[int, Book])
# [/types]


# [list]
@routes.view("/books")
class Books(ApiPath):
    """Books"""

    tags = ["books"]

    @op(query_schema=BookQuery, response_schema=list[Book])
    async def get(self) -> list[Book]:
        """List the books

        Those whose title has the word, in no particular order.
        """
        query = self.cleaned(BookQuery, self.request.query)
        found = [book for book in self.request.app[BOOKS].values() if query.word in book.title]
        return found[: query.limit]


# [/list]


# [one]
@routes.view("/books/{id}")
class OneBook(ApiPath):
    """One book"""

    path_schema = BookId
    tags = ["books"]

    @op(body_schema=BookUpdate, response_schema=Book)
    async def put(self) -> Book:
        """Write a book"""
        where = self.cleaned(BookId, self.request.match_info)
        update = self.cleaned(BookUpdate, await self.json_data())
        if update.title.isupper():
            self.raise_validation_error(errors={"title": "do not shout"})
        book = Book(id=where.id, title=update.title)
        self.request.app[BOOKS][book.id] = book
        return book

    @op(response=204)
    async def delete(self) -> None:
        """Forget a book"""
        where = self.cleaned(BookId, self.request.match_info)
        self.request.app[BOOKS].pop(where.id, None)


# [/one]


# [app]
def create_app() -> web.Application:
    app = web.Application()
    app[BOOKS] = {}
    app.add_routes(routes)
    Documents(title="Library", version="1.0", tags={"books": "What can be read"}).setup(app)
    return app


# [/app]
