"""Shards that other processes of this machine run: the same records, whatever happens to a worker."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from harness.errors import DatasetError
from harness.options import Options
from harness.results import read_results
from harness.session.elsewhere.pool import AGAIN, LostError, pooled
from harness.session.elsewhere.processes import Process, processes
from harness.session.session import run_suite
from harness.shards import channel
from harness.store import Store
from harness.store.survey import survey
from tests.cli import forking
from tests.cli.conftest import SUITE

from .test_executor import TRANSFER, samples


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "few.toml"
    path.write_text(SUITE + TRANSFER)
    return path


@pytest.fixture
def here(suite: Path, tmp_path: Path) -> pd.DataFrame:
    """The records of a run in this process, after which all weights are in the cache."""
    return samples(run_suite(suite, Options(out=tmp_path / "here")).folder)


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Process]]:
    """Two workers whose processes begin with the libraries."""
    kind = type("subprocess", (), {**vars(subprocess), "Popen": forking.Python})
    monkeypatch.setattr(channel, "subprocess", kind)
    made = processes(2, torch.device("cpu"))
    yield made
    for one in made:
        one.close()


def test_two_workers_give_the_same_records(
    suite: Path, here: pd.DataFrame, workers: list[Process], tmp_path: Path
) -> None:
    told: list[dict[str, Any]] = []
    options = Options(out=tmp_path / "there")
    ran = run_suite(suite, options, executor=lambda store: pooled(store, workers, told))
    pd.testing.assert_frame_equal(samples(ran.folder), here)
    assert (ran.cells_failed, ran.cells_open) == (0, 0)
    assert ran.cases_done == len(here)
    assert len({answer["process"] for answer in told}) == 2
    assert {answer["threads"] for answer in told} == {1}
    assert all(Path(answer["part"]).is_file() for answer in told)
    assert not list(ran.folder.glob(".worker-*"))
    again = run_suite(suite, options, executor=lambda store: pooled(store, workers, told))
    assert again.cases_done == 0


@pytest.mark.parametrize("threads", [1, 3])
def test_a_worker_computes_in_the_threads_that_it_is_given(
    suite: Path, workers: list[Process], tmp_path: Path, threads: int
) -> None:
    """One of the two numbers is not what torch would take by itself."""
    told: list[dict[str, Any]] = []
    workers[0]._given["threads"] = threads
    options = Options(out=tmp_path / "there", limit=2)
    run_suite(suite, options, executor=lambda store: pooled(store, workers[:1], told))
    assert {answer["threads"] for answer in told} == {threads}


class Murdered:
    """A hand whose worker is killed while it runs one of its first shards."""

    def __init__(self, inner: Process, times: int) -> None:
        self.inner, self.times, self.tasks = inner, times, 0

    def run(self, task: Mapping[str, Any]) -> dict[str, Any]:
        self.tasks += 1
        if self.tasks <= self.times:
            self.inner._channel.begin()
            process = self.inner._channel._process
            assert process is not None
            os.kill(process.pid, signal.SIGKILL)
        return self.inner.run(task)

    def stop(self) -> None:
        self.inner.stop()


def test_a_killed_worker_changes_nothing(
    suite: Path, here: pd.DataFrame, workers: list[Process], tmp_path: Path
) -> None:
    hands = [Murdered(workers[0], times=2), workers[1]]
    ran = run_suite(suite, Options(out=tmp_path / "there"), executor=lambda store: pooled(store, hands))
    assert hands[0].tasks > 1
    pd.testing.assert_frame_equal(samples(ran.folder), here)


class Lost:
    """A hand that is lost with some shard, again and again."""

    def __init__(self, shard: int | None) -> None:
        self.shard, self.tries = shard, 0

    def run(self, task: Mapping[str, Any]) -> dict[str, Any]:
        if self.shard in (None, task["shard"]):
            self.tries += 1
            raise LostError("was ended by SIGKILL")
        from harness.session.elsewhere.task import Bench

        return Bench().run({**task, "threads": 1, "device": "cpu"})

    def stop(self) -> None:
        pass


def test_a_shard_that_ends_every_worker_becomes_errors(suite: Path, tmp_path: Path) -> None:
    suite.write_text(SUITE.replace('\n[[attack]]\nuse = "still"\neps = "40/255"\n', ""))
    hand = Lost(shard=1)
    options = Options(out=tmp_path / "there")
    ran = run_suite(suite, options, executor=lambda store: pooled(store, [hand]))
    assert hand.tries == 1 + AGAIN
    assert ran.cells_failed == 1
    found = read_results(ran.folder).samples()
    errors = found["error"].dropna()
    assert len(errors) == 8
    assert set(errors) == {"the worker was ended by SIGKILL, as 2 did before"}
    assert survey(ran.folder).count("failed") == 1
    hand.shard = -1
    whole = run_suite(
        suite,
        Options(out=ran.folder, overwrite="failed"),
        executor=lambda store: pooled(store, [hand]),
    )
    assert (whole.cases_done, whole.cells_failed) == (8, 0)


def test_an_error_that_ends_a_run_ends_it_as_in_one_process(suite: Path, tmp_path: Path) -> None:
    class Blind:
        def run(self, task: Mapping[str, Any]) -> dict[str, Any]:
            return {"error": ["DatasetError", "tiny: the image 3.png cannot be read"]}

        def stop(self) -> None:
            pass

    with pytest.raises(DatasetError, match=r"^tiny: the image 3\.png cannot be read$"):
        run_suite(suite, Options(out=tmp_path / "out"), executor=lambda store: pooled(store, [Blind()]))


def test_a_worker_with_other_weights_is_refused(suite: Path, here: pd.DataFrame, tmp_path: Path) -> None:
    from harness.session.elsewhere.task import Bench

    task = {"folder": str(tmp_path / "here"), "cell": 0, "job": "0" * 16, "shard": 0}
    with pytest.raises(Exception, match="code, data or weights of its machine are others"):
        Bench().run({**task, "threads": 1, "device": "cpu"})


def test_an_interruption_ends_the_workers(suite: Path, workers: list[Process], tmp_path: Path) -> None:
    def interrupted(store: Store) -> Any:
        def execute(works: Any) -> Any:
            for done in pooled(store, workers)(works):
                yield done
                raise KeyboardInterrupt

        return execute

    with pytest.raises(KeyboardInterrupt):
        run_suite(suite, Options(out=tmp_path / "out"), executor=interrupted)
    at_work = [one._channel._process for one in workers]
    for one in workers:  # as ``chosen`` does
        one.close()
    for process in at_work:
        assert process is None or process.poll() is not None
    with pytest.raises(LostError):
        workers[0].run({})
