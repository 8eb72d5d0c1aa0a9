"""How long `harness --help` keeps a person waiting."""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path
from typing import Any

HARNESS = Path(sysconfig.get_path("scripts")) / "harness"


def test_help_answers_in_time(benchmark: Any) -> None:
    benchmark.pedantic(
        subprocess.run,
        args=([HARNESS, "--help"],),
        kwargs={"check": True, "stdout": subprocess.DEVNULL},
        rounds=5,
        warmup_rounds=1,
    )
    assert benchmark.stats["min"] < 0.4
