"""A pool gives shards to hands: each runs one at a time elsewhere, and may be lost while it does."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Any, Protocol

from harness import errors
from harness.errors import HarnessError
from harness.files import sweep
from harness.session.executor import Executor, Work
from harness.shards.jobs import Job
from harness.shards.shard import failed_shard
from harness.store import Store

AGAIN = 2
"""How often a shard is run again whose worker was lost; then its cases are errors, with the reason."""


class LostError(Exception):
    """The worker ended while it ran a shard."""


class Hand(Protocol):
    """A hand runs one task at a time elsewhere."""

    def run(self, task: Mapping[str, Any]) -> dict[str, Any]:
        """Run a task and return what it answers: what was written, or "error" with a kind and a text.

        Raises:
            LostError: the worker was lost; the next task goes to another one.
        """

    def stop(self) -> None:
        """End what runs, from any thread; what ``run`` then raises is of no interest."""


@dataclass(frozen=True, eq=False)
class _Task:
    work: Work
    shard: int
    lost: int = 0
    """How many workers were lost that ran it."""


def pooled(store: Store, hands: Sequence[Hand], told: list[dict[str, Any]] | None = None) -> Executor:
    """Return the executor that gives shards to hands, and takes new work before they have nothing to do.

    Args:
        told: gets the answer of each shard that was run.
    """
    answers = [] if told is None else told

    def execute(works: Iterable[Work]) -> Iterator[tuple[Job, int]]:
        tasks: SimpleQueue[_Task | None] = SimpleQueue()
        results: SimpleQueue[tuple[_Task, Any]] = SimpleQueue()

        def serve(hand: Hand) -> None:
            while (task := tasks.get()) is not None:
                try:
                    results.put((task, hand.run(_request(store, task))))
                except BaseException as error:
                    results.put((task, error))

        threads = [threading.Thread(target=serve, args=(hand,), daemon=True) for hand in hands]
        for thread in threads:
            thread.start()
        left, more, ended = 0, iter(works), False
        try:
            while True:
                while not ended and left < 2 * len(hands):
                    work = next(more, None)
                    if work is None:
                        ended = True
                        break
                    for shard in work.shards:
                        tasks.put(_Task(work, shard))
                        left += 1
                if not left:
                    return
                task, answer = results.get()
                if isinstance(answer, LostError) and task.lost < AGAIN:
                    tasks.put(replace(task, lost=task.lost + 1))
                    continue
                left -= 1
                job, shard = task.work.job, task.shard
                task.work.advance(len(job.parts[shard]))
                if _is_done(store, task, answer, answers):
                    yield job, shard
        except BaseException:
            for hand in hands:
                hand.stop()
            raise
        finally:
            for _ in threads:
                tasks.put(None)
            for thread in threads:
                thread.join()
            if left:
                sweep(store.folder)  # what a hand was writing when it was stopped

    return execute


def _request(store: Store, task: _Task) -> dict[str, Any]:
    """Return what a hand is asked: nothing bigger than a path and some numbers."""
    return {
        "do": "shard",
        "folder": str(store.folder.resolve()),
        "cell": task.work.place,
        "job": task.work.job.id,
        "shard": task.shard,
    }


def _is_done(store: Store, task: _Task, answer: Any, told: list[dict[str, Any]]) -> bool:
    """Say whether this run has made a shard; raise what ends the run."""
    if isinstance(answer, LostError):
        reason = f"the worker {answer}, as {task.lost} did before" if task.lost else f"the worker {answer}"
        job = task.work.job
        store.write_part(job.id, task.shard, failed_shard(job.context, job.parts[task.shard], reason))
        return True
    if isinstance(answer, BaseException):
        raise answer
    if "error" in answer:
        kind, text = answer["error"]
        known = getattr(errors, kind, None)
        expected = isinstance(known, type) and issubclass(known, HarnessError)
        raise (known if expected and known else HarnessError)(text if expected else f"{kind}: {text}")
    told.append(answer)
    return bool(answer["ran"])
