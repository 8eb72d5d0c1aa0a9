"""Kills runs at random moments, in every way that a suite can be run, and looks at what they leave."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from harness.results import read_results
from harness.store.survey import survey

from . import forking

SUITE = """\
schema = 1
name = "soaked"
seed = 3
keep = true
batch_size = 6
shard_size = 12

[[dataset]]
use = "tiny"
count = 60
partition = "test"

[[model]]
use = "linear"

[[model]]
use = "linear"
id = "victim"
strength = 3.0

[[attack]]
use = "pgd"
eps = "8/255"
steps = 20
early_stop = false

[[attack]]
use = "noise"
eps = "40/255"
draws = 10

[[transfer]]
surrogate = "linear"
victim = "victim"

[[analysis]]
use = "attribute-success"
"""
EXECUTORS = ("in process", "shares", "verbs")
"""Those whose processes have imported the libraries before they begin."""
MOST = 120.0
"""Seconds after which a command that still runs has failed."""

Start = Callable[..., forking.Command]


@dataclass
class Soak:
    """A soak counts what it has killed, and what it found wrong."""

    kills: Counter[str] = field(default_factory=Counter)
    moments: Counter[str] = field(default_factory=Counter)
    rounds: int = 0


def soak(start: Start, place: Path, kills: int, seed: int, executors: tuple[str, ...] = EXECUTORS) -> Soak:
    """Kill so many runs; each folder ends with the records of a run that nothing befell.

    Args:
        start: starts the command line: ``start(*arguments, cache=…)``.
        place: an empty folder.
    """
    chance, told = random.Random(seed), Soak()
    suite = place / "soaked.toml"
    suite.write_text(SUITE)
    ended(start("run", suite, "--out", place / "whole", cache=place / "cache-whole"))
    whole = records(place / "whole")
    usual = {}
    for executor in executors:  # how long each takes, with nothing in the cache
        began = time.monotonic()
        for arguments in commands(executor, suite, place / executor, chance):
            ended(start(*arguments, cache=place / f"cache-{executor}"))
        usual[executor] = time.monotonic() - began
        if executor != "shares":
            pd.testing.assert_frame_equal(records(place / executor), whole, check_exact=True)
    while told.kills.total() < kills:
        told.rounds += 1
        folder, cache = place / f"out-{told.rounds}", place / f"cache-{told.rounds}"
        seen: dict[Path, int] = {}
        for executor in chance.sample(executors, len(executors)):
            while told.kills.total() < kills and chance.random() < 0.8:
                for arguments in commands(executor, suite, folder, chance):
                    running = start(*arguments, cache=cache)
                    time.sleep(chance.uniform(0, 1.2 * usual[executor]))
                    if running.goes_on:
                        told.kills[executor] += 1
                        told.moments[moment(folder, cache)] += 1
                    running.kill()
                    seen = checked(folder, seen)
        ended(start("run", suite, "--out", folder, cache=cache))
        if survey(folder).count("missing"):  # a worker of the last run had not ended yet
            ended(start("run", suite, "--out", folder, cache=cache))
        seen = checked(folder, seen)
        found = survey(folder, every=True)
        assert found.is_finished, found
        assert found.compared == found.parts == found.count("finished")
        assert not [file for file in folder.rglob("*.tmp") if file.is_file()]
        pd.testing.assert_frame_equal(records(folder), whole, check_exact=True)
        assert len(read_results(folder).leaderboard()) == len(read_results(place / "whole").leaderboard())
        shutil.rmtree(folder)
        shutil.rmtree(cache)
    return told


def commands(executor: str, suite: Path, folder: Path, chance: random.Random) -> list[tuple[object, ...]]:
    """The commands that are killed one after the other."""
    run = ("run", suite, "--out", folder)
    if executor == "workers":
        return [(*run, "--workers", 2)]
    if executor == "ray":
        return [(*run, "--executor", "ray", "--workers", 2)]
    if executor == "shares":
        count = chance.choice((2, 3))
        return [(*run, "--shard", f"{chance.randint(1, count)}/{count}")]
    if executor == "verbs" and (folder / "leaderboard.parquet").is_file():
        export = ("export", folder, "--format", "csv", "-o", folder / "board.csv")
        return [chance.choice([("analyze", folder), export])]
    return [run]


def moment(folder: Path, cache: Path) -> str:
    """In what a run was killed, as far as its files tell."""
    if not list(cache.rglob("card.json")):
        return "training or before"
    if not list(folder.glob("samples/*/part-*.parquet")):
        return "before the first shard"
    cells = pq.read_table(folder / "cells.parquet").to_pylist() if (folder / "cells.parquet").exists() else []
    if cells and all(row["status"] == "done" for row in cells):
        return "board, analyses or export"
    transfers = [row for row in cells if row["surrogate"] and row["shards_done"]]
    return "transfer" if transfers else "attacks"


def checked(folder: Path, seen: dict[Path, int]) -> dict[Path, int]:
    """The parts that are there and when each was written; those that were there before are untouched."""
    now = {part: part.stat().st_mtime_ns for part in folder.glob("samples/*/part-*.parquet")}
    assert seen.items() <= now.items(), "a finished shard was lost, or done again"
    if (folder / "cells.parquet").is_file():
        assert survey(folder, every=True).damaged == ()
    for file in folder.rglob("*.parquet"):
        if not file.name.startswith("."):
            pq.read_table(file)
    for file in folder.rglob("*.json"):
        json.loads(file.read_text())
    board = folder / "board.csv"
    assert not board.exists() or board.read_text().endswith("\n")
    return now


def ended(command: forking.Command) -> None:
    """Wait until a command has ended well."""
    status, _, error = command.ended(MOST)
    assert status == 0, error


def records(folder: Path) -> pd.DataFrame:
    """All records but for what the clock says."""
    order = ["model", "attack", "surrogate", "target", "sample_id"]
    found = read_results(folder).samples().drop(columns="seconds")
    assert not found.duplicated(["cell", "target", "sample_id"]).any()
    return found.sort_values(order, ignore_index=True)


def executors_here() -> tuple[str, ...]:
    """The executors that are killed: those that are slow to begin only in earnest."""
    if "SOAK" not in os.environ:
        return EXECUTORS
    return (*EXECUTORS, "workers", "ray") if find_spec("ray") else (*EXECUTORS, "workers")
