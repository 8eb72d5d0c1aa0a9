"""An executor runs shards of jobs, here or elsewhere, and yields those that are finished."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from harness.shards.jobs import Job
from harness.shards.shard import Remote, run_shard
from harness.shards.transfer import judge_shard
from harness.store import Store
from harness.store.schema import judged_apart


@dataclass(frozen=True, eq=False)
class Work:
    """Work is the shards of one job that are still to be run."""

    job: Job
    shards: tuple[int, ...]
    advance: Callable[[int], None]
    """Told how many more cases are done, for the progress shown."""
    place: int = 0
    """The cell's position in the plan."""


Executor = Callable[[Iterable[Work]], Iterator[tuple[Job, int]]]
"""Takes work as it becomes ready, writes the records of its shards, and yields each finished shard.

It may take more work before earlier work is finished. A job holds a model and cannot travel: another process
makes it again, with ``harness.shards.preparation.rebuilt`` and the cell's position in the plan.
"""


def in_process(store: Store, remote: Remote | None = None) -> Executor:
    """Return the executor that runs shards one after the other in this process.

    Args:
        remote: runs the attacks in other processes; shards are then judged here, and marked as judged apart.
    """

    def execute(works: Iterable[Work]) -> Iterator[tuple[Job, int]]:
        for work in works:
            for shard in work.shards:
                if finish(work.job, shard, store, work.advance, remote):
                    yield work.job, shard

    return execute


def finish(
    job: Job, shard: int, store: Store, advance: Callable[[int], None], remote: Remote | None = None
) -> bool:
    """Run a shard and write its records; return False where another process is at it, or has just done it."""
    if not store.claims.claim(job.id, shard):
        advance(len(job.parts[shard]))
        return False
    try:
        if store.part(job.id, shard).is_file():
            advance(len(job.parts[shard]))
            return False
        began = time.perf_counter()
        table = records(job, shard, store, advance, remote)
        took = time.perf_counter() - began
        store.write_part(job.id, shard, judged_apart(table) if remote else table, took)
    finally:
        store.claims.release()
    return True


def records(
    job: Job, shard: int, store: Store, advance: Callable[[int], None], remote: Remote | None = None
) -> pa.Table:
    """Attack and judge the cases of a shard; of a transfer, judge what its source's shard holds."""
    cases = job.parts[shard]
    if job.source is None:
        learning = job.learning[shard] if job.learning else None
        return run_shard(job.context, cases, learning=learning, remote=remote, advance=advance)
    table = judge_shard(job.context, cases, store.part(job.source, shard))
    advance(len(cases))
    return table


class Turn:
    """A turn deals the shards of all cells to the processes of ``--shard i/n``, in each process alike."""

    def __init__(self, share: int, shares: int) -> None:
        self._share, self._shares, self._dealt = share - 1, shares, 0

    def mine(self, shards: range) -> list[int]:
        """Return those of a job's shards that fall to this process."""
        chosen = [shard for shard in shards if (self._dealt + shard) % self._shares == self._share]
        self._dealt += len(shards)
        return chosen
