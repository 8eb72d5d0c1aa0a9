"""Benchmarks run with the memory settings of `harness run`."""

from __future__ import annotations

import pytest

from harness.cli.memory import keep_freed_memory


@pytest.fixture(scope="session", autouse=True)
def _as_the_command_line_does() -> None:
    keep_freed_memory()
