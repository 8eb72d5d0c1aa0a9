"""Kills at random moments: a few here, a hundred with `make soak`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from . import forking
from .soaking import executors_here, soak

PLUGIN = Path(__file__).parent / "plugin"
KILLS = int(os.environ.get("SOAK", 4))


@pytest.mark.slow
def test_kills_at_random_moments(site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = tmp_path / "said"
    said.mkdir()

    def start(*arguments: object, cache: Path) -> forking.Command:
        environment = os.environ | {"HARNESS_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
        paths = [str(PLUGIN), str(site)]
        return forking.start([str(argument) for argument in arguments], environment, paths, said)

    (tmp_path / "soak").mkdir()
    told = soak(
        start, tmp_path / "soak", KILLS, seed=int(os.environ.get("SOAK_SEED", 1)), executors=executors_here()
    )
    assert told.kills.total() >= KILLS
    with capsys.disabled():
        if "SOAK" in os.environ:
            print(f"\n{told.kills.total()} kills in {told.rounds} folders")
            for name, counts in (("executor", told.kills), ("moment", told.moments)):
                print(f"by {name}: " + ", ".join(f"{count} {what}" for what, count in counts.most_common()))
