"""docs/how-to/test.md: its tests pass in a pytest that has no plugin but ours."""

import os
import subprocess
import sys
from pathlib import Path

from docs.examples.howto.testing_app import create_app
from openapi.testing import socket_client

ROOT = Path(__file__).parents[2]
TESTS = "docs/examples/howto/testing_tests.py"


def test_the_tests_of_the_page_pass() -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "openapi.testing.plugin", "-c", os.devnull),
            *("--rootdir", str(ROOT), "-W", "error", "--strict-markers"),
            *("-p", "no:cacheprovider", TESTS),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        env=env | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )
    assert " 8 passed" in done.stdout, done.stdout
    assert not done.stderr


async def test_they_need_no_virtual_time() -> None:
    async with socket_client(create_app()) as client:
        task = await client.call("add", {"title": "tea"})
        assert task["title"] == "tea"
