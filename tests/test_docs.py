"""Every code block of the documentation is, word for word, something that a test runs.

The line above a block says where its text lives::

    <!-- file: examples/monitor.py -->          the whole file
    <!-- file: examples/monitor.py [note] -->   its lines between `# [note]` and `# [/note]`
    <!-- run: tests/test_monitor.py -->         console: the test that runs its `$ …` lines

A file named so must itself be named by a test, as `examples/monitor.py` or `examples.monitor`. Of a
console block, `$ make TARGET` needs a target in the Makefile, and `$ pip install aio-openapi[…]`
extras that exist; neither needs a line above it.
"""

import re
import textwrap
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [path for path in [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))] if path.exists()]
TESTS = [path for path in ROOT.glob("tests/**/*.py") if path != Path(__file__)]

FENCE = re.compile(r"^( *)(```+|~~~+)\s*(\S*)")
MARK = re.compile(r"^\s*<!-- (file|run): (\S+?)(?: \[(\w+)\])? -->\s*$")
OTHER_SPELLINGS = {
    "bash": "console",
    "sh": "console",
    "shell": "console",
    "js": "javascript",
    "py": "python",
    "python3": "python",
    "pycon": "python",
    "{code}": "{literalinclude}",
    "{code-block}": "{literalinclude}",
}


@dataclass(frozen=True)
class Block:
    line: int  # of the fence, from 1
    language: str
    text: str
    mark: re.Match[str] | None  # the comment above: what, path, region


def blocks(page: str) -> Iterator[Block]:
    """The fenced blocks of a Markdown text."""
    fence: re.Match[str] | None = None
    start, above = 0, ""
    body: list[str] = []
    for number, line in enumerate(page.splitlines(), start=1):
        found = FENCE.match(line)
        if fence is None:
            if found:
                fence, start, body = found, number, []
            elif line.strip():
                above = line
        elif found and found[2].startswith(fence[2]) and not found[3]:
            text = textwrap.dedent("\n".join(body)) + "\n"
            yield Block(start, fence[3], text, MARK.match(above))
            fence, above = None, ""
        else:
            body.append(line)


def region(source: str, name: str) -> str | None:
    """The lines between ``# [name]`` and ``# [/name]`` (or ``//``), without their indentation."""
    comment = r"^ *(?:#|//) \[%s\]\n"
    pattern = (comment % name) + r"(.*?)" + (comment % f"/{name}")
    found = re.search(pattern, source, re.DOTALL | re.MULTILINE)
    return textwrap.dedent(found[1]).strip("\n") + "\n" if found else None


def fault(block: Block, root: Path = ROOT, tests: list[Path] = TESTS) -> str:
    """What is wrong with a block, or nothing."""
    if block.language in OTHER_SPELLINGS:
        return f"write `{OTHER_SPELLINGS[block.language]}` instead of `{block.language}`"
    if block.language == "console":
        return console_fault(block, root)
    if block.language not in {"python", "javascript"}:
        return ""
    if not block.mark or block.mark[1] != "file":
        return "the line above it must name its file: <!-- file: examples/NAME.py -->"
    _, path, name = block.mark.groups()
    file = root / path
    if not file.is_file():
        return f"there is no {path}"
    text = region(file.read_text(), name) if name else file.read_text()
    if text is None:
        return f"{path} has no lines between `[{name}]` and `[/{name}]`"
    if text != block.text:
        return f"it differs from {path}{f' [{name}]' if name else ''}"
    names = {path, path.removesuffix(".py").replace("/", ".")}
    if not any(known in test.read_text() for test in tests for known in names):
        return f"no test names {path}"
    return ""


def console_fault(block: Block, root: Path) -> str:
    targets = set(re.findall(r"^([\w-]+):", (root / "Makefile").read_text(), re.MULTILINE))
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    commands = [line[2:] for line in block.text.splitlines() if line.startswith("$ ")]
    if not commands:
        return "a console block shows its commands on lines that begin with `$ `"
    for command in commands:
        if command.startswith("make "):
            words = command.split("#")[0].split()[1:]
            unknown = {word for word in words if "=" not in word} - targets
            if unknown:
                return f"the Makefile has no target {', '.join(sorted(unknown))}"
        elif command.startswith("pip install "):
            extras = {
                name for names in re.findall(r"\[(.+?)\]", command) for name in names.split(",")
            }
            unknown = extras - project["optional-dependencies"].keys()
            if project["name"] not in command or unknown:
                return f"`{command}` does not install this project with extras that it has"
        elif not block.mark or block.mark[1] != "run":
            return "the line above it must name the test that runs it: <!-- run: tests/NAME.py -->"
        elif not (root / block.mark[2]).is_file():
            return f"there is no {block.mark[2]}"
        elif command not in (root / block.mark[2]).read_text():
            return f"{block.mark[2]} does not run `{command}`"
    return ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_code_block_is_a_file_that_a_test_runs(page: Path) -> None:
    wrong = [(block, fault(block)) for block in blocks(page.read_text())]
    name = page.relative_to(ROOT)
    assert [f"{name}:{block.line}: {text}" for block, text in wrong if text] == []


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small project with one example, the test that runs it, and two make targets."""
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples/one.py").write_text(
        "import sys\n\nif sys:\n    # [exit]\n    sys.exit()\n    # [/exit]\n"
    )
    (tmp_path / "examples/two.py").write_text("2\n")
    (tmp_path / "test_one.py").write_text("import examples.one\nrun('openapi listen URL host')\n")
    (tmp_path / "Makefile").write_text("run: setup\nsetup:\n")
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "aio-openapi"\n[project.optional-dependencies]\nredis = []\n'
    )
    return tmp_path


def faults(project: Path, page: str) -> list[str]:
    return [fault(block, project, [project / "test_one.py"]) for block in blocks(page)]


@pytest.mark.parametrize(
    "page",
    [
        "<!-- file: examples/one.py [exit] -->\n```python\nsys.exit()\n```\n",
        "1. <!-- file: no -->\n\n   <!-- file: examples/one.py [exit] -->\n\n"
        "   ```python\n   sys.exit()\n   ```\n",
        "```console\n$ make run PORT=1  # the demo\n$ make setup\n```\n",
        "```console\n$ pip install aio-openapi\n$ pip install 'aio-openapi[redis]'\n```\n",
        "<!-- run: test_one.py -->\n```console\n$ openapi listen URL host\n{}\n```\n",
        '```json\n{"id": 1}\n```\n',
        "```\nplain\n```\n",
        "````md\n```python\n1\n```\n````\n",
    ],
)
def test_a_right_block_is_left_alone(project: Path, page: str) -> None:
    assert faults(project, page) == [""]


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("```python\n1\n```\n", "must name its file"),
        ("<!-- file: examples/one.py -->\nText.\n```python\n1\n```\n", "must name its file"),
        ("<!-- file: examples/no.py -->\n```python\n1\n```\n", "there is no examples/no.py"),
        ("<!-- file: examples/one.py -->\n```python\n1\n```\n", "it differs from examples/one.py"),
        ("<!-- file: examples/one.py [no] -->\n```python\n1\n```\n", "has no lines between"),
        ("<!-- file: examples/two.py -->\n```python\n2\n```\n", "no test names examples/two.py"),
        ("```py\n1\n```\n", "write `python` instead of `py`"),
        ("```console\nmake run\n```\n", "begin with `$ `"),
        ("```console\n$ make tea\n```\n", "no target tea"),
        ("```console\n$ pip install 'aio-openapi[mqtt]'\n```\n", "extras that it has"),
        ("```console\n$ openapi serve\n```\n", "must name the test"),
        ("<!-- run: no.py -->\n```console\n$ openapi serve\n```\n", "there is no no.py"),
        ("<!-- run: test_one.py -->\n```console\n$ openapi serve\n```\n", "does not run"),
    ],
)
def test_a_wrong_block_is_found(project: Path, page: str, text: str) -> None:
    assert [text in found for found in faults(project, page)] == [True]
