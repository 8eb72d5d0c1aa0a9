"""``harness.run`` runs a suite; everything else leads to it.

This module imports nothing heavy: `import harness` must stay quick.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.results import Results


def run(
    suite: str | Path | Mapping[str, Any],
    *,
    out: str | Path | None = None,
    limit: int | None = None,
    device: str | None = None,
    judge: str | None = None,
    shard: str | None = None,
    overwrite: str | None = None,
    workers: int | None = None,
    executor: str | None = None,
    address: str | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Results:
    """Plan a suite, train what is missing, attack, judge, and write records and leaderboard; resumes.

    A run that is finished, with nothing changed that it depends on, is not gone through again.

    Args:
        suite: a manifest's path, or its content as a mapping.
        out: the results folder; results/<suite name> by default.
        limit: at most so many images per data set.
        device: "cpu", "cuda", "cuda:1" or "auto".
        judge: "here", or "apart": attacks run in processes of their own, where they cannot reach the judge.
        shard: "i/n": do every n-th shard, beginning with the i-th, beside other processes.
        overwrite: "never", "failed" or "all": which finished shards are done again.
        workers: run so many shards at the same time, each in a process of its own.
        executor: "machine", or "ray": where these processes are.
        address: that of the Ray cluster; None starts one on this machine.
        overrides: manifest values by "seed" or "dataset.celeba.root".

    Raises:
        HarnessError: the request was wrong. A cell that fails does not raise: its row says so.
    """
    from harness.options import options
    from harness.results import read_results
    from harness.session.finished import run_unless_finished

    chosen = options(
        out=out,
        limit=limit,
        device=device,
        judge=judge,
        shard=shard,
        overwrite=overwrite,
        workers=workers,
        executor=executor,
        address=address,
        overrides=overrides,
    )
    return read_results(run_unless_finished(suite, chosen).folder)
