"""The routes of the demo's page: what they serve, and what they tell the browser to refuse."""

import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser

import aiohttp
import pytest
from yarl import URL

from examples import monitor
from examples.page import PAGE
from openapi.browser import MODULE
from openapi.client import connect
from tests.cli.process import ROOT
from tests.conftest import Serve

#: What a page of ours may do: nothing, but for this.
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "'none'",
}


class Addresses(HTMLParser):
    """What a document refers to, and what of it is no reference: scripts, styles and handlers."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.found |= {given[name] or "" for name in ("src", "href") if name in given}
        self.inline += [name for name in given if name.startswith("on") or name == "style"]
        if tag == "style" or (tag == "script" and "src" not in given):
            self.inline.append(tag)


@pytest.fixture
async def url(serve: Serve) -> AsyncIterator[URL]:
    yield await serve(monitor.create_app())


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_the_page_is_at_the_root_and_allows_nothing_from_elsewhere(
    url: URL, session: aiohttp.ClientSession
) -> None:
    async with session.get(url) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        policy = response.headers["Content-Security-Policy"]
        assert dict(each.split(" ", 1) for each in policy.split("; ")) == POLICY
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert response.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert response.headers["Cache-Control"] == "no-cache"
        assert await response.text() == (PAGE / "index.html").read_text("utf-8")


async def test_all_that_the_page_refers_to_is_served_and_is_its_own(
    url: URL, session: aiohttp.ClientSession
) -> None:
    document = Addresses()
    document.feed((PAGE / "index.html").read_text("utf-8"))
    assert document.inline == []
    addresses = {each for each in document.found if not each.startswith("#")}
    for address in addresses:
        assert address.startswith("/"), address
        async with session.get(url.join(URL(address))) as response:
            assert response.status == 200, address
            assert response.headers["X-Content-Type-Options"] == "nosniff"
    modules = {f"/page/{path.name}" for path in PAGE.glob("*.js")}
    assert modules < addresses, "these are loaded one behind the other"


@pytest.mark.parametrize(
    ("name", "type"),
    [
        ("app.js", "text/javascript; charset=utf-8"),
        ("vendor/uPlot.esm.js", "text/javascript; charset=utf-8"),
        ("style.css", "text/css; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
    ],
)
async def test_a_file_of_the_page_is_served_as_what_it_is(
    url: URL, session: aiohttp.ClientSession, name: str, type: str
) -> None:
    async with session.get(url / "page" / name) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == type
        assert response.headers["Cache-Control"] == "no-cache"
        assert "Content-Security-Policy" in response.headers
        assert await response.read() == (PAGE / name).read_bytes()
        known = response.headers["ETag"]
    async with session.get(url / "page" / name, headers={"If-None-Match": known}) as response:
        assert response.status == 304


@pytest.mark.parametrize(
    "name",
    ["__init__.py", "../monitor.py", "..%2fmonitor.py", "vendor", "vendor/LICENSE", "no.js", "%00"],
)
async def test_nothing_else_is_served(url: URL, session: aiohttp.ClientSession, name: str) -> None:
    async with session.get(URL(f"{url}/page/{name}", encoded=True)) as response:
        assert response.status == 404


async def test_the_page_has_the_client_that_the_package_has(
    url: URL, session: aiohttp.ClientSession
) -> None:
    async with session.get(url / "openapi.js") as response:
        assert response.status == 200
        assert await response.read() == MODULE.read_bytes()


def test_the_page_makes_no_markup_of_texts() -> None:
    markup = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(")
    for path in PAGE.glob("*.js"):
        assert not markup.search(path.read_text("utf-8")), path


def test_the_chart_library_has_its_licence_with_it() -> None:
    licence = (PAGE / "vendor/LICENSE").read_text("utf-8")
    assert "MIT License" in licence
    assert "Permission is hereby granted, free of charge" in licence


async def test_all_that_the_channel_keeps_can_be_drawn_at_once(url: URL) -> None:
    samples = ("cpu", "memory", "disk", "network")
    async with connect(url / "stream") as client, client.subscribe("host") as messages:
        seen = [await anext(messages) for _ in samples]
        kept = await client.history("host", limit=1200, reverse=True)
    assert sorted(each.event for each in seen) == sorted(samples)
    known = {each.position: each.data for each in kept.messages}
    for message in seen:
        assert known[message.position] == message.data
        assert message.data["at"].endswith("Z")


def test_the_readme_shows_the_page_and_says_what_is_seen() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    image = re.search(r"!\[([^]]{40,})\]\((docs/images/demo\.png)\)", readme)
    assert image is not None
    assert (ROOT / image[2]).stat().st_size < 300_000
