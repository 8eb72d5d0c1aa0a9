"""A job is a cell that is ready to run: its identity, its cases, and how they are cut into shards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.cases import GOALS
from harness.cases.cases import Cases, by_target, divided
from harness.cases.datasets import OpenedDataset
from harness.errors import DatasetError
from harness.judge.batching import BatchSize
from harness.parameters import digest_of, jsonable
from harness.plan.cells import Cell, Plan
from harness.shards.context import CellContext, ReadyModel


@dataclass(frozen=True, eq=False)
class Job:
    """A job is a cell that is ready to run."""

    id: str
    context: CellContext
    parts: tuple[Cases, ...]
    """The cases of each shard."""
    source: str | None = None
    """Transfer: the cell whose shards of the same numbers hold the adversarials."""
    learning: tuple[Cases, ...] = ()
    """The cases of each shard on which one change for all is learned; they have no records."""

    @property
    def shards(self) -> range:
        """Return the cell's shard numbers."""
        return range(len(self.parts))

    @property
    def cases(self) -> int:
        """Return how many cases the cell has."""
        return sum(map(len, self.parts))


def make_job(planned: Plan, cell: Cell, ready: ReadyModel) -> Job:
    """Make the job of a cell in which the model itself is attacked.

    An attack that learns one change for many images has a shard per target, since it needs all its cases.

    Raises:
        DatasetError: the data set lacks what the goal needs.
    """
    data = ready.data
    cases = GOALS[cell.goal].enumerate(cell, data.dataset, data.rows, ready.names, ready.verifier)
    learning: tuple[Cases, ...] = ()
    if cell.attack.fit is None:
        size = shard_size(planned, len(cases))
        parts = tuple(cases.part(start, start + size) for start in range(0, len(cases), size))
    else:
        share, seed = cell.attack.fit, planned.suite.seed
        halves = [divided(group, data.dataset, share, seed) for group in by_target(cases)]
        learning, parts = tuple(one for one, _ in halves), tuple(other for _, other in halves)
    context = _context(planned, cell, ready, ready.batch_size)
    identity = cell_id(planned, cell, data, ready.trained.digest, cases)
    return Job(identity, context, parts, learning=learning)


def transfer_job(planned: Plan, cell: Cell, ready: ReadyModel, source: Job) -> Job:
    """Make the job of a cell in which a model judges what was made on another, with the same shards.

    Cases that the victim cannot judge, such as attributes that it does not answer, are left out.

    Raises:
        DatasetError: nothing is left.
    """
    parts = tuple(GOALS[cell.goal].for_victim(part, ready.names) for part in source.parts)
    if not any(map(len, parts)):
        raise DatasetError(f"{cell.model.label} answers no attribute that was flipped")
    identity = {"source": source.id, **_victim(planned, cell, ready.trained.digest)}
    context = _context(planned, cell, ready, source.context.batch_size)
    return Job(digest_of(identity), context, parts, source.id)


def cell_id(planned: Plan, cell: Cell, data: OpenedDataset, weights: str, cases: Cases | None = None) -> str:
    """Return a digest of everything that a cell's records depend on, as 16 hexadecimal digits.

    Args:
        cases: those of the cell; of embeddings, they and the calibration stand in place of the sample.
    """
    attack, threat = cell.attack, cell.attack.threat
    named = attack.attributes if cell.model.entry.spec.head == "attributes" else None
    identity = {
        "dataset": [data.dataset.fingerprint, data.sample_digest],
        **_compared(data, cases),
        "attack": attack.entry.identity(attack.parameters),
        "threat": [threat.norm, threat.eps, threat.access, threat.levels],
        "goal": [cell.goal, jsonable(named)],
        "compute": attack.compute,
        "keep": cell.keep,
        **({} if attack.fit is None else {"fit": attack.fit}),
        "seed": planned.suite.seed,
        "shard_size": planned.suite.shard_size,
        **_victim(planned, cell, weights),
    }
    return digest_of(identity)


def shard_size(planned: Plan, cases: int) -> int:
    """Return the cases of a shard: the manifest's number, else 256, or more if there were over 64 shards.

    A kill costs the shard that is running; but each shard is a file, and a board over millions of records
    would spend its time on opening files.
    """
    return planned.suite.shard_size or max(256, -(-cases // 64))


def _compared(data: OpenedDataset, cases: Cases | None) -> dict[str, Any]:
    """Return what the cases of embeddings depend on: which they are, and how thresholds are chosen."""
    if cases is None or cases.references is None or data.comparisons is None:
        return {}
    settings = data.comparisons.settings
    given = settings.threshold
    point = ["fmr", settings.fmr[0]] if given is None else ["threshold", given]
    how = [settings.references, settings.selection, settings.mirror, *point]
    return {
        "dataset": [data.dataset.fingerprint, cases.digest],
        "comparisons": [data.comparisons.digest, jsonable(how)],
    }


def _victim(planned: Plan, cell: Cell, weights: str) -> dict[str, Any]:
    """Return what judging depends on: the model, and what is measured and observed."""
    observes = cell.model.entry.spec.observes
    return {
        **({"observes": list(observes)} if observes else {}),
        "model": cell.model.entry.identity(cell.model.parameters),
        "weights": weights,
        "measures": [
            [
                measure.column,
                measure.entry.qualified,
                measure.entry.full_version,
                jsonable(measure.parameters),
                measure.at_least,
                measure.at_most,
            ]
            for measure in planned.measures
        ],
    }


def _context(planned: Plan, cell: Cell, ready: ReadyModel, batch_size: BatchSize) -> CellContext:
    trained, seed = ready.trained, planned.suite.seed
    return CellContext(
        cell,
        ready.data.dataset,
        trained.model,
        ready.clean,
        planned.measures,
        seed,
        batch_size,
        trained.restore,
        trained.digest,
        ready.verifier,
    )
