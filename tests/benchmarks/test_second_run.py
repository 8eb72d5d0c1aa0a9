"""How long `harness run` takes where a run is finished and nothing has changed: the main job's, two seconds.

The first run trains what the cache does not hold, and attacks; a second one reads data sets' annotations,
digests and the leaderboard.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.session.test_finished import CONSTANT

BAR = 2.0  # s
MAIN_JOB = Path(__file__).parents[2] / "suites" / "celeba.toml"
FULL, TINY = MAIN_JOB.read_text(encoding="utf-8"), CONSTANT
DATA = [{}, {"CELEBA_ROOT": os.environ.get("CELEBA_ROOT", "")}]


@pytest.mark.parametrize("data", DATA, ids=["drawn faces", "real images"])
def test_a_second_run_takes_no_time(
    timed: Any, report: Any, sizes: str, tmp_path: Path, data: dict[str, str], request: Any
) -> None:
    if data == {"CELEBA_ROOT": ""}:
        pytest.skip("CELEBA_ROOT is unset")
    suite = tmp_path / "suite.toml"
    suite.write_text(sizes, encoding="utf-8")
    command = [sys.executable, "-m", "harness", "run", str(suite), "--out", str(tmp_path / "results")]
    plain = {name: value for name, value in os.environ.items() if name != "CELEBA_ROOT"}

    def run() -> str:
        done = subprocess.run(command, env={**plain, **data}, capture_output=True, text=True, check=True)
        return done.stdout

    assert " attacked; " in run()
    told, seconds = timed(run, rounds=5)
    assert "nothing was left to do; " in told
    report(f"the slowest of five second runs, {request.node.callspec.id}", max(seconds), "s", at_most=BAR)
