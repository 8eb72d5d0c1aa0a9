"""Peak memory of a run does not grow with the number of batches: of every attack of this project."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ATTACKS = {
    "pgd": 'eps = "8/255"\nsteps = 2',
    "fgs": 'eps = "8/255"',
    "ffa": "",
    "cw-l2": "iterations = 2\nsearches = 1",
    "gradient-descent": 'norm = "l2"\niterations = 2',
    "noise": 'eps = "8/255"\ndraws = 2',
    "eyeglasses": "iterations = 2\nrestarts = 1",
    "square": "iterations = 2\nrestarts = 1",
}
BATCH = 4
MEGABYTES = 40.0
"""The most that a thousand batches may take beyond ten: lists of their cases, and fragments."""


@dataclass(frozen=True)
class Sizes:
    """Numbers of batches that are compared."""

    few: int
    many: int


FULL = Sizes(few=10, many=1000)
TINY = Sizes(few=1, many=2)

RUN = """
import json, sys
from pathlib import Path
import harness
out, suite, limit = Path(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3])
cases = int(harness.run(suite, out=out, limit=limit).cells()["cases_done"].sum())
status = Path("/proc/self/status").read_text()
print(json.dumps({"cases": cases, "megabytes": int(status.partition("VmHWM:")[2].split()[0]) / 1024}))
"""


def _suite(attack: str, images: int) -> dict[str, Any]:
    import tomllib

    given = tomllib.loads(ATTACKS[attack])
    data = {"use": "synthetic-faces", "size": [22, 18], "count": 2 * images + 600, "partition": "train"}
    return {
        "schema": 1,
        "name": "memory",
        "batch_size": BATCH,
        "dataset": [data],
        "model": [{"use": "majority"} if attack == "none" else {"use": "separate", "epochs": 1}],
        "attack": [{"use": attack, "attributes": ["Smiling"], **given}],
    }


@pytest.mark.parametrize("attack", ATTACKS)
def test_peak_memory_of_many_batches(report: Any, sizes: Sizes, tmp_path: Path, attack: str) -> None:
    peaks = []
    for batches in (sizes.few, sizes.many):
        suite = _suite(attack, BATCH * sizes.many)  # the same data set and model
        arguments = [str(tmp_path / str(batches)), json.dumps(suite), str(BATCH * batches)]
        environment = {**os.environ, "HARNESS_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
        ran = subprocess.run(
            [sys.executable, "-c", RUN, *arguments],
            capture_output=True, text=True, check=True, timeout=1200, env=environment,
        )  # fmt: skip
        told = json.loads(ran.stdout)
        assert told["cases"] == BATCH * batches
        peaks.append(told["megabytes"])
    name = f"{attack}: peak memory of {sizes.many} batches beyond that of {sizes.few}"
    report(name, max(0.0, peaks[1] - peaks[0]), "MB", at_most=MEGABYTES)
