"""What is handed on: everything that the documented commands need."""

import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The files of the source distribution."""
    folder = tmp_path_factory.mktemp("sdist")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "sdist", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    (archive,) = folder.iterdir()
    with tarfile.open(archive) as tar:
        return {name.partition("/")[2] for name in tar.getnames()}


def test_the_source_distribution_has_what_the_targets_of_make_need(names: set[str]) -> None:
    text = (ROOT / "Makefile").read_text()
    needed = set(re.findall(r"\b(?:requirements|tools|tests|bench|examples)/[\w./-]*\w", text))
    files = {name for name in needed if (ROOT / name).is_file()}
    assert {"requirements/dev.txt", "tools/venv", "examples/monitor.py"} <= files
    assert files | {"Makefile", "pyproject.toml", "bench/__main__.py"} <= names


def test_the_source_distribution_has_what_the_readme_refers_to(names: set[str]) -> None:
    targets = re.findall(r"\]\((?!http)([^)#]+)", (ROOT / "README.md").read_text())
    folders = {folder.as_posix() for name in names for folder in Path(name).parents}
    assert {target.rstrip("/") for target in targets} <= names | folders


def test_the_source_distribution_has_nothing_that_was_installed_or_built(names: set[str]) -> None:
    assert [name for name in names if "node_modules" in name or name.startswith("build/")] == []


def test_the_pure_core_of_the_makefile_is_there() -> None:
    found = re.search(r"^pure := (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert found is not None
    assert [path for path in found[1].split(",") if not any(ROOT.glob(path))] == []
