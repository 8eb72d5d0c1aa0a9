"""How long `harness --help` keeps a person waiting."""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path
from typing import Any

HARNESS = Path(sysconfig.get_path("scripts")) / "harness"
FULL, TINY = 5, 1
"""How often the help is asked for."""


def test_help_answers_in_time(timed: Any, report: Any, sizes: int) -> None:
    _, seconds = timed(
        subprocess.run,
        args=([HARNESS, "--help"],),
        kwargs={"check": True, "stdout": subprocess.DEVNULL},
        rounds=sizes,
        warmup_rounds=1,
    )
    report("harness --help", min(seconds), "s", at_most=0.4)
