"""Shards on a local Ray of two workers; where Ray cannot be imported, how they would be shared out."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from harness.errors import ManifestError
from harness.options import Options
from harness.session.elsewhere.cluster import cluster, shares
from harness.session.elsewhere.pool import pooled
from harness.session.executor import Executor, Work
from harness.session.session import run_suite
from harness.shards.jobs import Job
from harness.store import Store
from harness.store.claims import workers
from tests.cli.conftest import SUITE

from .test_executor import TRANSFER, samples


def test_how_a_cluster_is_shared_out() -> None:
    small, large = {"CPU": 4.0}, {"CPU": 16.0, "GPU": 4.0}
    assert shares(None, "cpu", [small, large]) == (20, 1, 0)
    assert shares(2, "cpu", [small, large]) == (2, 4, 0)
    assert shares(None, "auto", [small, large]) == (4, 4, 1.0)
    assert shares(8, "cuda", [small, large]) == (8, 2, 0.5)
    assert shares(None, "cpu", [{"memory": 1.0}]) == (1, 1, 0)


def test_without_ray_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ManifestError, match=r"needs Ray: install .*\[ray\]"), cluster(Options(), "cpu"):
        pass


@pytest.mark.filterwarnings("ignore")
def test_a_local_cluster_of_two_and_a_worker_that_is_killed(tmp_path: Path) -> None:
    ray = pytest.importorskip("ray")
    suite = tmp_path / "few.toml"
    suite.write_text(SUITE + TRANSFER)
    here = samples(run_suite(suite, Options(out=tmp_path / "here")).folder)
    killed: list[int] = []
    told: list[dict[str, object]] = []
    with cluster(Options(workers=2), "cpu") as hands:
        assert len(hands) == 2

        def murdering(store: Store) -> Executor:
            run = pooled(store, hands, told)

            def execute(works: Iterable[Work]) -> Iterator[tuple[Job, int]]:
                for done in run(works):
                    # one that is at a shard, as its claim says
                    busy = [one.process for one in workers(store.folder) if one.process != os.getpid()]
                    if not killed and busy:
                        killed.append(busy[0])
                        os.kill(busy[0], signal.SIGKILL)
                    yield done

            return execute

        ran = run_suite(suite, Options(out=tmp_path / "there"), executor=murdering)
    assert killed
    assert not ray.is_initialized()
    pd.testing.assert_frame_equal(samples(ran.folder), here)
    assert {answer["threads"] for answer in told} == {1}
    assert len({answer["process"] for answer in told}) >= 2
    largest = max(len(str(answer)) for answer in told)
    assert largest < 1000
