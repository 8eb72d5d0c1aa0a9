"""Executors: shards that another process runs, from folder and cache alone, give the same records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from harness.options import Options
from harness.results import read_results
from harness.session.executor import Executor, Turn, Work, in_process
from harness.session.session import run_suite
from harness.shards.jobs import Job
from harness.store import Store
from tests.cli import forking
from tests.cli.conftest import SUITE

TRANSFER = """
[[model]]
use = "linear"
id = "victim"
width = 5

[[transfer]]
surrogate = "linear"
victim = "victim"
"""


def elsewhere(store: Store) -> Executor:
    """Runs every shard in a process of its own, and takes all work before the first shard is finished."""

    def execute(works: Iterable[Work]) -> Iterator[tuple[Job, int]]:
        taken = list(works)
        cells = pd.read_parquet(store.folder / "cells.parquet")["cell"].tolist()
        for work in taken:
            for shard in work.shards:
                cell = cells.index(work.job.id)
                assert forking.run_shard(store.folder, cell, work.job.id, shard) == 0
                work.advance(len(work.job.parts[shard]))
                yield work.job, shard

    return execute


def samples(folder: Path) -> pd.DataFrame:
    return read_results(folder).samples().drop(columns="seconds")


def test_shards_that_other_processes_run_give_the_same_records(tmp_path: Path) -> None:
    suite = tmp_path / "few.toml"
    still = '\n[[attack]]\nuse = "still"\neps = "40/255"\n'
    assert still in SUITE
    suite.write_text(SUITE.replace("shard_size = 8", "shard_size = 24").replace(still, "") + TRANSFER)
    here = run_suite(suite, Options(out=tmp_path / "here"))
    there = run_suite(suite, Options(out=tmp_path / "there"), executor=elsewhere)
    assert there.cases_done == here.cases_done > 0
    assert not there.cells_failed
    assert not there.cells_open
    pd.testing.assert_frame_equal(samples(here.folder), samples(there.folder))
    cells = read_results(there.folder).cells()
    assert set(cells["status"]) == {"done"}
    assert cells["surrogate"].notna().any()


def test_a_run_goes_on_after_an_executor_that_finished_only_some_shards(suite: Path, tmp_path: Path) -> None:
    def lazy(store: Store) -> Executor:
        def execute(works: Iterable[Work]) -> Iterator[tuple[Job, int]]:
            for work in works:
                yield from in_process(store)([Work(work.job, work.shards[:1], work.advance)])

        return execute

    options = Options(out=tmp_path / "out")
    first = run_suite(suite, options, executor=lazy)
    assert (first.cells_open, first.cells_failed) == (2, 0)
    assert set(read_results(first.folder).cells()["status"]) == {"partial"}
    second = run_suite(suite, options)
    assert (second.cells_open, second.cells_failed) == (0, 0)
    assert first.cases_done == 2 * 8
    assert first.cases_done + second.cases_done == len(samples(second.folder))


@pytest.mark.parametrize("processes", [1, 2, 3, 7])
def test_every_shard_falls_to_one_process(processes: int) -> None:
    turns = [Turn(share, processes) for share in range(1, processes + 1)]
    for shards in (1, 4, 1, 9, 2):
        dealt = [turn.mine(range(shards)) for turn in turns]
        assert sorted(shard for mine in dealt for shard in mine) == list(range(shards))
        # nobody has more than one shard more than another
        assert max(map(len, dealt)) - min(map(len, dealt)) <= 1
