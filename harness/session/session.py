"""A session is one run of a suite, from the manifest to the leaderboard; finished shards stay finished."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

from harness import analysis, leaderboard
from harness.cases.datasets import Learn, open_datasets
from harness.catalog import Catalog, catalog
from harness.dataset import Dataset
from harness.errors import HarnessError, ManifestError, ModelError
from harness.files import lock
from harness.manifest import read_suite
from harness.model import ordinary
from harness.options import Options
from harness.plan import Cell, Plan, plan
from harness.plan.datasets import DatasetChoice
from harness.plan.models import ModelChoice
from harness.session.annotations import keep_annotations
from harness.session.comparisons import keep_comparisons, persons_of, verifiers_of
from harness.session.device import device_of
from harness.session.elsewhere.choice import chosen
from harness.session.executor import Executor, Turn, Work, in_process
from harness.session.finished import Summary, begin, remember
from harness.session.originals import keep_originals
from harness.session.progress import Reporter
from harness.session.provenance import describe
from harness.session.rows import model_row, of_job, of_model, planned_row, skipped_row, state_of
from harness.shards.apart import attackers
from harness.shards.context import ReadyModel
from harness.shards.jobs import Job
from harness.shards.preparation import Obtain, Preparation
from harness.store import Store
from harness.store.claims import Claims
from harness.training import StateDict
from harness.zoo import TrainedModel, obtain
from harness.zoo.fits import obtain_fit

PUBLISHED_EVERY = 60.0
"""Seconds after which cells.parquet is written again while a model is attacked."""


def make_plan(suite: str | Path | Mapping[str, Any], options: Options, known: Catalog | None = None) -> Plan:
    """Return the plan of a suite with a run's overrides."""
    return plan(read_suite(suite, overrides=options.overrides), known or catalog())


def results_folder(planned: Plan, options: Options) -> Path:
    """Return the folder that a run of the plan writes to."""
    return options.out or Path("results") / planned.suite.name


def run_suite(
    suite: str | Path | Mapping[str, Any],
    options: Options,
    reporter: Reporter | None = None,
    executor: Callable[[Store], Executor] | None = None,
) -> Summary:
    """Run a suite; see ``harness.run``.

    Args:
        executor: runs the shards of a suite; None means as the options say.
    """
    read = read_suite(suite, overrides=options.overrides)
    with attackers(options.judge or read.judge) as apart, chosen(options, read.device) as elsewhere:
        executor = executor or elsewhere
        if apart is None:
            return _run_plan(plan(read, catalog()), options, reporter, executor or in_process)
        planned = plan(read, apart.catalog(catalog()), apart.resolve)
        apart.brief(planned, options.limit, device_of(options.device or planned.suite.device))
        return _run_plan(planned, options, reporter, executor or partial(in_process, remote=apart.remote))


def _run_plan(
    planned: Plan, options: Options, reporter: Reporter | None, executor: Callable[[Store], Executor]
) -> Summary:
    store = Store(results_folder(planned, options))
    device = device_of(options.device or planned.suite.device)
    share, shares = options.shard
    refuse_empty(planned)
    store.open()
    busy = f"{store.folder} is being written by another run"
    with (
        ordinary(),
        lock(store.folder / ".lock", busy, shared=shares > 1),  # a whole run keeps all shares out
        lock(store.folder / f".lock-{share}-of-{shares}", busy),
        store.claims,
        reporter or Reporter() as shown,
    ):
        code = begin(store.folder)
        opened = open_datasets(planned, options.limit, fitting(planned, device, shown, store.claims))
        store.write_suite(describe(planned, options, device) | {"persons": persons_of(opened)})
        keep_annotations(store.folder, opened.values())
        keep_originals(
            store.folder, {cell.dataset: opened[cell.dataset] for cell in planned.cells if cell.keep}
        )
        if not verifiers_of(planned):
            keep_comparisons(store.folder, {}, ())  # those of an earlier suite
        prepared = Preparation(planned, opened, obtaining(planned, device, shown, store.claims))
        run = _Run(prepared, options, store, shown)
        run.summary.shortage = [line for data in opened.values() for line in data.shortage]
        try:
            run.cells(executor(store))
        except BaseException:
            with suppress(HarnessError):  # the first error is the one to show
                run.publish(board=True)
            raise
        run.publish(board=True)
        run.summary.analyses = analysis.write(store.folder, planned.analyses)
        weights = {place: row["weights"] for place, row in run.models.items()}
        remember(run.summary, planned, options, opened, weights, code)
    return run.summary


def refuse_empty(planned: Plan) -> None:
    """Refuse a plan in which nothing is attacked.

    Raises:
        ManifestError: it has no cells.
    """
    if planned.cells:
        return
    name, count = planned.suite.name, len(planned.skipped)
    if not count:
        raise ManifestError(f"suite {name} attacks nothing; give it a data set, a model and an attack")
    first = planned.skipped[0]
    pair = f"{first.model.label} x {first.attack_label} on {first.dataset.label}"
    raise ManifestError(
        f"suite {name} attacks nothing, since all {count} pairs are skipped ({pair}: {first.reason}); add a "
        "model or an attack that fit each other, or remove what excludes them"
    )


def fitting(planned: Plan, device: torch.device, shown: Reporter, claims: Claims | None = None) -> Learn:
    """Return what fits a data set to another one, or finds in the cache what was learned there.

    Args:
        claims: where others see what this process does.
    """

    def fit(choice: DatasetChoice, source: Dataset | None) -> StateDict:
        with shown.training(choice.label) as report, _doing(claims, f"fitting {choice.label}"):
            return obtain_fit(choice, source, planned.suite.seed, device, report)

    return fit


def obtaining(planned: Plan, device: torch.device, shown: Reporter, claims: Claims | None = None) -> Obtain:
    """Return what trains a model, or loads it from the cache; ``claims`` as of ``fitting``."""

    def train(choice: ModelChoice, dataset: Dataset) -> TrainedModel:
        with shown.training(choice.label) as report, _doing(claims, f"training {choice.label}"):
            return obtain(choice, dataset, planned.suite.seed, device, report)

    return train


def _doing(claims: Claims | None, what: str) -> AbstractContextManager[None]:
    return nullcontext() if claims is None else claims.doing(what)


class _Run:
    """The state of one run is the rows of cells.parquet and models.json as they fill."""

    def __init__(self, prepared: Preparation, options: Options, store: Store, shown: Reporter) -> None:
        self.prepared, self.options, self.store, self.shown = prepared, options, store, shown
        planned = prepared.planned
        self.summary = Summary(store.folder, len(planned.cells), len(planned.skipped))
        self.rows = {cell: planned_row(cell, planned.suite.seed) for cell in planned.cells}
        self.skipped = [skipped_row(item, planned.suite.seed) for item in planned.skipped]
        self.models: dict[tuple[DatasetChoice, ModelChoice], dict[str, Any]] = {}
        self.verifiers: dict[tuple[str, str], ReadyModel] = {}
        self.jobs: dict[Cell, Job] = {}
        self.mine: dict[str, list[int]] = {}  # shards of each job that fall to this process
        self.turn = Turn(*options.shard)

    def cells(self, execute: Executor) -> None:
        """Run every cell of the plan; readers see how far it has come at least every minute."""
        if not self.store.has_cells:
            self.publish()
        published = time.monotonic()
        # Transfers come last in a plan, and begin when all that they judge is there.
        placed = enumerate(self.prepared.planned.cells)
        for _, cells in groupby(placed, key=lambda item: item[1].source is None):
            for job, shard in execute(self._works(cells)):
                self.summary.cases_done += len(job.parts[shard])
                if time.monotonic() - published > PUBLISHED_EVERY:
                    self.publish()
                    published = time.monotonic()

    def publish(self, *, board: bool = False) -> None:
        """Write cells.parquet and models.json as things stand, and the leaderboard where it is asked for.

        One process at a time: what another one counted earlier must not be written over what is counted now.
        """
        with lock(self.store.folder / ".publishing", "results are published", wait=True):
            self._publish()
            if board:
                leaderboard.write(self.store.folder)

    def _publish(self) -> None:
        for cell, job in self.jobs.items():  # other processes have gone on meanwhile
            if self.rows[cell]["status"] == "partial":
                self.rows[cell] |= state_of(self.store.tally(job.id), len(job.shards))
        states = [row["status"] for row in self.rows.values()]
        self.summary.cells_failed, self.summary.cells_open = states.count("failed"), states.count("partial")
        if (self.options.judge or self.prepared.planned.suite.judge) == "apart":
            judges = [row.get("judge") for row in self.rows.values()]
            self.summary.cells_judged_here = judges.count("here")
        self.summary.rows = [*self.rows.values(), *self.skipped]
        self.store.write_cells(self.summary.rows)
        self.store.write_models(list(self.models.values()))

    def _works(self, cells: Iterable[tuple[int, Cell]]) -> Iterator[Work]:
        """Yield what is left of each cell, and publish after each model."""
        for _, same in groupby(cells, key=lambda item: (item[1].dataset, item[1].model)):
            for place, cell in same:
                job = self._job(cell)
                if job is None:
                    continue
                left = self._left(job)
                label = f"{cell.model.label} x {cell.attack_label} {cell.attack.threat.label}"
                cases = sum(len(job.parts[shard]) for shard in left)
                yield Work(job, left, self.shown.attacking(label, cases), place)
                self.rows[cell] |= state_of(self.store.tally(job.id), len(job.shards))
            self.publish()

    def _job(self, cell: Cell) -> Job | None:
        """Return a cell's job, or None where it cannot be had, which fails the cell."""
        place = cell.dataset, cell.model
        try:
            ready = self.prepared.model(*place)
        except ModelError as error:
            self._fail(cell, error)
            return None
        if place not in self.models:
            self.models[place] = model_row(*place, ready)
            self._compare(place, ready)
        self.rows[cell] |= of_model(ready)
        try:
            job = self.prepared.job(cell)
        except HarnessError as error:
            self._fail(cell, error)
            return None
        self.jobs[cell] = job
        # The process that made a shard's adversarials judges them on other models too.
        self.mine[job.id] = self.mine[job.source] if job.source else self.turn.mine(job.shards)
        self.rows[cell] |= of_job(job)
        return job

    def _compare(self, place: tuple[DatasetChoice, ModelChoice], ready: ReadyModel) -> None:
        """Store the clean comparisons of a verifier; where it fails, its cells will say so."""
        if ready.verifier is None:
            return
        self.verifiers[place[0].label, place[1].label] = ready
        with suppress(ModelError):
            keep_comparisons(self.store.folder, self.verifiers, verifiers_of(self.prepared.planned))

    def _fail(self, cell: Cell, error: HarnessError) -> None:
        self.rows[cell] |= {"status": "failed", "error": str(error)}

    def _left(self, job: Job) -> tuple[int, ...]:
        """Return the shards of a job that this process is still to run."""
        mine = self.mine[job.id]
        if self.options.overwrite == "all":
            self.store.discard(job.id, mine)
        elif self.options.overwrite == "failed":
            self.store.discard(job.id, self.store.failed(job.id) & set(mine))
        left = set(mine) - self.store.finished(job.id)
        return tuple(sorted(left & self.store.finished(job.source) if job.source else left))
