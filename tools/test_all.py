"""Run the tests on every Python from 3.11 to 3.14 of this machine, each in its own environment.

Interpreters are looked for on PATH and among pyenv's versions. A table at the end says for each
what passed; one that is not on the machine is named as absent. Exits with 1 if anything failed.
"""

import hashlib
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

VERSIONS = ("3.11", "3.12", "3.13", "3.14")
ROOT = Path(__file__).parents[1]
REQUIREMENTS = ROOT / "requirements/dev.txt"


@dataclass(frozen=True)
class Row:
    version: str
    result: str
    passed: int = 0
    failed: int = 0


def candidates(version: str) -> Iterator[str]:
    """Where an interpreter may be; a pyenv shim that stands for nothing is told by starting it."""
    folders = [Path(folder) for folder in os.get_exec_path()]
    yield from (str(folder / f"python{version}") for folder in folders)
    pyenv = [Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")]
    pyenv += [folder.parent for folder in folders if folder.name == "shims"]
    for root in pyenv:
        found = root.glob(f"versions/{version}.*/bin/python{version}")
        yield from map(str, sorted(found, reverse=True))


def interpreter(version: str) -> str | None:
    """The first that starts and is that version; of an environment, what it was made from."""
    for path in candidates(version):
        if not Path(path).exists():
            continue
        code = "import sys, ssl, venv; print('%d.%d' % sys.version_info[:2], sys._base_executable)"
        done = subprocess.run([path, "-c", code], capture_output=True, text=True, check=False)
        found, _, base = done.stdout.strip().partition(" ")
        if done.returncode == 0 and found == version:
            return base
    return None


def environment(version: str, base: str) -> Path:
    """The interpreter of an up-to-date environment; it is made anew when the pins change."""
    folder = ROOT / ".venvs" / version
    python, stamp = folder / "bin/python", folder / ".requirements"
    pins = hashlib.sha256(REQUIREMENTS.read_bytes() + base.encode()).hexdigest()
    if not (python.exists() and stamp.exists() and stamp.read_text() == pins):
        folder.parent.mkdir(exist_ok=True)
        subprocess.run([ROOT / "tools/venv", folder, base, REQUIREMENTS], check=True)
        stamp.write_text(pins)
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation"]
    subprocess.run([python, "-m", "pip", "install", *options, "--editable", ROOT], check=True)
    subprocess.run([python, "-m", "pip", "check", "--quiet"], check=True)
    return python


def run(version: str, base: str, arguments: list[str]) -> Row:
    print(f"\n=== Python {version}: {base}", flush=True)
    try:
        python = environment(version, base)
    except subprocess.CalledProcessError as error:
        return Row(version, f"no environment: {error.cmd[0]} failed", failed=1)
    report = ROOT / ".venvs" / f"{version}.xml"
    report.unlink(missing_ok=True)
    options = ["-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
    done = subprocess.run([python, "-m", "pytest", *options, *arguments], cwd=ROOT, check=False)
    if not report.exists():
        return Row(version, f"pytest ended with {done.returncode}", failed=1)
    suite = ET.parse(report).getroot().find("testsuite")
    assert suite is not None, f"{report} has no test suite"
    total, skipped = int(suite.attrib["tests"]), int(suite.attrib["skipped"])
    failed = int(suite.attrib["failures"]) + int(suite.attrib["errors"])
    result = "passed" if done.returncode == 0 else "FAILED"
    return Row(version, result, total - skipped - failed, failed)


def main(arguments: list[str]) -> int:
    rows = []
    for version in VERSIONS:
        base = interpreter(version)
        rows.append(run(version, base, arguments) if base else Row(version, "absent"))
    print("\nPython   passed   failed")
    for row in rows:
        counts = "" if row.result == "absent" else f"{row.passed:>6}   {row.failed:>6}   "
        print(f"{row.version:<6}   {counts}{row.result}")
    present = [row for row in rows if row.result != "absent"]
    return 0 if present and all(row.result == "passed" for row in present) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
