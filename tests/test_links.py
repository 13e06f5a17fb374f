"""What the documents point at is there: files, headings, and commands."""

import re
from pathlib import Path

import pytest

from tests.test_docs import ROOT, blocks, fault

PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("wire/*.md"), *ROOT.glob("docs/**/*.md")],
    key=lambda page: page.relative_to(ROOT),
)
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")
FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"`((?:[\w.-]+/)+[\w.-]*)`")


def slug(heading: str) -> str:
    """The name of a heading in a URL, as GitHub and MyST make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def slugs(page: Path) -> set[str]:
    text = FENCED.sub("", page.read_text("utf-8"))
    return {slug(heading) for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    lost = []
    for path, anchor in LINK.findall(FENCED.sub("", page.read_text("utf-8"))):
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in slugs(target)):
            lost.append(f"{path}#{anchor}" if anchor else path)
    assert lost == []


@pytest.mark.parametrize("name", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_every_file_that_is_named_is_there(name: str) -> None:
    named = set(FILE.findall((ROOT / name).read_text("utf-8")))
    roots = (ROOT, ROOT / "src/openapi")
    assert {path for path in named if not any((root / path).exists() for root in roots)} == set()


@pytest.mark.parametrize("name", ["ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md"])
def test_the_blocks_of_the_other_documents_are_right_too(name: str) -> None:
    assert [
        text for block in blocks((ROOT / name).read_text("utf-8")) if (text := fault(block))
    ] == []


def test_the_index_lists_every_page() -> None:
    index = (ROOT / "docs/index.md").read_text("utf-8")
    pages = {
        page.relative_to(ROOT / "docs").with_suffix("").as_posix()
        for page in ROOT.glob("docs/*/*.md")
    }
    assert {page for page in pages if f"\n{page}\n" not in index} == set()
