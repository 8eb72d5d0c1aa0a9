"""A run that is killed at any moment loses nothing finished, repeats nothing, and ends the same."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pandas as pd
import pytest

import harness

from . import forking

PLUGIN = Path(__file__).parent / "plugin"
SUITE = """\
schema = 1
name = "killed"
seed = 3
keep = true
batch_size = 6
shard_size = 12

[[dataset]]
use = "tiny"
count = 120
partition = "test"

[[model]]
use = "linear"

[[attack]]
use = "pgd"
eps = "8/255"
steps = 60
early_stop = false

[[attack]]
use = "noise"
eps = ["8/255", "40/255"]
draws = 30
"""
SHARDS = 3 * 2 * 60 // 12


@pytest.fixture
def start(site: Path, tmp_path: Path):
    """Start a run of its own process, with its own cache of weights."""
    path = tmp_path / "killed.toml"
    path.write_text(SUITE)
    said = tmp_path / "said"
    said.mkdir()

    def run(out: Path, cache: str, *more: str) -> forking.Command:
        environment = os.environ | {"HARNESS_CACHE": str(tmp_path / cache), "OMP_NUM_THREADS": "1"}
        arguments = ["run", str(path), "--out", str(out), *more]
        return forking.start(arguments, environment, [str(PLUGIN), str(site)], said)

    return run


def parts(out: Path) -> dict[Path, int]:
    """The finished shards, and when each was written."""
    return {path: path.stat().st_mtime_ns for path in out.glob("samples/*/part-*.parquet")}


def records(out: Path) -> pd.DataFrame:
    """All records but for what the clock says."""
    found = harness.read_results(out).samples()
    order = ["attack", "threat", "target", "sample_id"]
    return found.drop(columns="seconds").sort_values(order, ignore_index=True)


@pytest.mark.slow
def test_kills_lose_and_repeat_nothing(start, tmp_path: Path) -> None:
    chance = random.Random(1)
    killed, whole = tmp_path / "out", tmp_path / "whole"
    seen: dict[Path, int] = {}
    kills = 0
    while True:
        running = start(killed, "cache")
        before = len(parts(killed))
        deadline = time.monotonic() + 60
        # The first kill comes while it starts or trains, the others in the midst of attacks.
        patience = 0.3 if kills == 0 else chance.uniform(0, 0.25)
        while running.goes_on and time.monotonic() < deadline:
            if kills == 0 or len(parts(killed)) > before:
                time.sleep(patience)
                break
            time.sleep(0.005)
        if not running.goes_on or kills == 4:
            status, _, error = running.ended(120)
            assert status == 0, error
            break
        running.kill()
        kills += 1
        now = parts(killed)
        assert seen.items() <= now.items(), "a finished shard was lost or done again"
        seen = now
    assert kills >= 3
    assert 0 < len(seen) < SHARDS, "the kills came too early or too late to tell anything"
    assert seen.items() <= parts(killed).items()
    assert len(parts(killed)) == SHARDS
    assert not list(killed.rglob("*.tmp"))
    status, _, error = start(whole, "other-cache").ended(120)
    assert status == 0, error
    pd.testing.assert_frame_equal(records(killed), records(whole), check_exact=True)
    status, out, _ = start(killed, "cache").ended(60)
    assert status == 0
    assert "nothing was left to do" in out
    assert parts(killed).items() >= seen.items()


def test_two_runs_do_not_write_one_folder(start, tmp_path: Path) -> None:
    first = start(tmp_path / "out", "cache")
    while not list((tmp_path / "out").glob(".lock-*")) and first.goes_on:
        time.sleep(0.01)
    status, _, error = start(tmp_path / "out", "cache").ended(60)
    first.kill()
    assert status == 2
    assert "is being written by another run" in error
    assert str(first.process.pid) in error
    assert len(error.splitlines()) == 1


def test_another_batch_size_changes_no_random_number(tmp_path: Path) -> None:
    path = tmp_path / "killed.toml"
    path.write_text(SUITE.replace("steps = 60", "steps = 5"))
    frames = []
    for size in (4, 7):
        out = tmp_path / f"out{size}"
        harness.run(path, out=out, limit=12, overrides={"batch_size": size})
        frames.append(records(out))
    # The pictures hold the noise itself: they differ in nothing.
    assert list(frames[0]["adversarial"]) == list(frames[1]["adversarial"])
    assert list(frames[0]["forwards"]) == list(frames[1]["forwards"])
