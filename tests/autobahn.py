"""The Autobahn test suite for WebSockets, as run by kosoku."""

import asyncio
import json
import sys
from pathlib import Path

CASES = 517
LARGE_CASES = 54  # 9: limits and performance
COMPRESSION_CASES = 216  # 12 and 13: each exchanges 1,000 messages
QUICK_CASES = CASES - LARGE_CASES - COMPRESSION_CASES
QUICK = ("-x", "9.*", "-x", "12.*", "-x", "13.*")
INFORMATIONAL = {"7.1.6", "7.13.1", "7.13.2"}  # what a server does there is its own affair


async def run_suite(address: str, report: Path, *options: str) -> dict[str, tuple[str, str]]:
    """Run it against an echo server; return each case's verdicts, on its messages and its close."""
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("kosoku"),
        *("-m", "fuzzingclient", "-p", "2", "-o", str(report), *options, address),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    index = report / "index.json"
    assert index.exists(), f"kosoku made no report:\n{output.decode()}"
    (cases,) = json.loads(index.read_text()).values()
    return {name: (case["behavior"], case["behaviorClose"]) for name, case in cases.items()}


def assert_conforms(verdicts: dict[str, tuple[str, str]], cases: int) -> None:
    """Every case is OK, but for three that only inform."""
    assert len(verdicts) == cases, f"{len(verdicts)} cases were run instead of {cases}"
    failed = {
        name: verdict
        for name, verdict in verdicts.items()
        if verdict != (("INFORMATIONAL",) * 2 if name in INFORMATIONAL else ("OK", "OK"))
    }
    assert not failed, failed
