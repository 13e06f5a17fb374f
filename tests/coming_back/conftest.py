"""Processes of these tests are many, and run the same lines a hundred thousand times."""

import os

import pytest


@pytest.fixture(autouse=True)
def unwatched_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Coverage does not watch them: it would take three times as long."""
    for name in [each for each in os.environ if each.startswith("COVERAGE")]:
        monkeypatch.delenv(name)
