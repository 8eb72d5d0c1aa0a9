"""A session is one run of a suite, from the manifest to the leaderboard; finished shards stay finished."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from harness import analysis, leaderboard
from harness.cases.datasets import Learn, Loaded, open_datasets
from harness.catalog import Catalog, catalog
from harness.dataset import Dataset
from harness.errors import HarnessError, ModelError
from harness.files import lock
from harness.judge.batching import BatchSize, fitting
from harness.manifest import read_suite
from harness.options import Options
from harness.plan.cells import Cell, Plan
from harness.plan.datasets import DatasetChoice
from harness.plan.models import ModelChoice
from harness.plan.planner import plan
from harness.session.annotations import keep_annotations
from harness.session.device import device_of
from harness.session.executor import Turn
from harness.session.originals import keep_originals
from harness.session.progress import Reporter
from harness.session.provenance import describe
from harness.session.rows import model_row, planned_row, skipped_row, state_of
from harness.shards.bench import CleanAnswers, images
from harness.shards.jobs import Job, make_job, transfer_job
from harness.shards.shard import run_shard
from harness.shards.transfer import judge_shard
from harness.store.folder import Store
from harness.training import StateDict
from harness.zoo.fits import obtain_fit
from harness.zoo.trained import Specimen, obtain


@dataclass
class Summary:
    """What a run did."""

    folder: Path
    cells: int = 0
    skipped: int = 0
    cases_done: int = 0
    """Cases attacked by this run, not by earlier ones."""
    cells_failed: int = 0
    cells_open: int = 0
    """Cells of which other processes' shards are still missing."""
    rows: list[dict[str, Any]] = field(default_factory=list)
    analyses: list[analysis.Written] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether a cell or an analysis failed."""
        return bool(self.cells_failed) or any(written.error for written in self.analyses)


def make_plan(suite: str | Path | Mapping[str, Any], options: Options, known: Catalog | None = None) -> Plan:
    """The plan of a suite with a run's overrides."""
    return plan(read_suite(suite, overrides=options.overrides), known or catalog())


def results_folder(planned: Plan, options: Options) -> Path:
    """Where a run of the plan writes."""
    return options.out or Path("results") / planned.suite.name


def run_suite(
    suite: str | Path | Mapping[str, Any], options: Options, reporter: Reporter | None = None
) -> Summary:
    """Run a suite; see ``harness.run``."""
    planned = make_plan(suite, options)
    store = Store(results_folder(planned, options))
    device = device_of(options.device or planned.suite.device)
    share, shares = options.shard
    store.open()
    busy = f"{store.folder} is being written by another run"
    with (
        lock(store.folder / f".lock-{share}-of-{shares}", busy),
        reporter or Reporter() as shown,
    ):
        loaded = open_datasets(planned, options.limit, learning(planned, device, shown))
        store.write_suite(describe(planned, options, device))
        keep_annotations(store.folder, loaded.values())
        keep_originals(
            store.folder, {cell.dataset: loaded[cell.dataset] for cell in planned.cells if cell.keep}
        )
        run = _Run(planned, options, store, device, shown, loaded)
        try:
            run.attacks()
            run.transfers()
        except BaseException:
            run.publish()
            with suppress(HarnessError):  # what went wrong first is what is told
                leaderboard.write(store.folder)
            raise
        run.publish()
        leaderboard.write(store.folder)
        run.summary.analyses = analysis.write(store.folder, planned.analyses)
    return run.summary


def learning(planned: Plan, device: torch.device, shown: Reporter) -> Learn:
    """What gives data sets that are fitted to others what was learned there, or learns it now."""

    def learn(choice: DatasetChoice, source: Dataset | None) -> StateDict:
        with shown.training(choice.label) as report:
            return obtain_fit(choice, source, planned.suite.seed, device, report)

    return learn


class _Run:
    """The state of one run: what is ready, and the rows of cells.parquet as they fill."""

    def __init__(
        self,
        planned: Plan,
        options: Options,
        store: Store,
        device: torch.device,
        shown: Reporter,
        loaded: Mapping[DatasetChoice, Loaded],
    ) -> None:
        self.planned, self.options, self.store = planned, options, store
        self.device, self.shown, self.loaded = device, shown, loaded
        self.summary = Summary(store.folder, len(planned.cells), len(planned.skipped))
        self.rows = {cell: planned_row(cell, planned) for cell in planned.cells}
        self.skipped = [skipped_row(item, planned) for item in planned.skipped]
        self.models: dict[tuple[DatasetChoice, ModelChoice], dict[str, Any]] = {}
        self.jobs: dict[Cell, Job] = {}
        self.mine: dict[str, list[int]] = {}  # shards of each job that fall to this process
        self.turn = Turn(*options.shard)

    def attacks(self) -> None:
        """Every cell in which the model itself is attacked."""
        for (dataset, model), cells in _by_model(cell for cell in self.planned.cells if not cell.source):
            size: BatchSize | None = None
            for cell, specimen, clean in self._ready(dataset, model, cells):
                # One for all attacks on the model: what did not fit once is not tried again.
                size = size or self._batch_size(specimen, self.loaded[dataset])
                try:
                    job = make_job(self.planned, cell, self.loaded[dataset], specimen, clean, size)
                except HarnessError as error:
                    self._fail(cell, error)
                    continue
                self.mine[job.id] = self.turn.mine(job.shards)
                self._run(cell, job, specimen)
            self.publish()

    def transfers(self) -> None:
        """Every cell in which a model judges what was made on another; that has run by now."""
        for (dataset, model), cells in _by_model(cell for cell in self.planned.cells if cell.source):
            for cell, specimen, clean in self._ready(dataset, model, cells):
                source = self.jobs.get(cell.source) if cell.source else None
                try:
                    if source is None or cell.source is None:
                        raise ModelError(f"its surrogate failed: {self.rows[cell.source]['error']}")  # type: ignore[index]
                    job = transfer_job(self.planned, cell, self.loaded[dataset], specimen, clean, source)
                except HarnessError as error:
                    self._fail(cell, error)
                    continue
                # The process that made a shard's adversarials judges them too.
                self.mine[job.id] = self.mine[source.id]
                self._run(cell, job, specimen)
            self.publish()

    def publish(self) -> None:
        """Write cells.parquet and models.json as things stand."""
        for cell, job in self.jobs.items():  # other processes have gone on meanwhile
            if self.rows[cell]["status"] == "partial":
                self.rows[cell] |= state_of(self.store.tally(job.id), len(job.shards))
        states = [row["status"] for row in self.rows.values()]
        self.summary.cells_failed, self.summary.cells_open = states.count("failed"), states.count("partial")
        self.summary.rows = [*self.rows.values(), *self.skipped]
        self.store.write_cells(self.summary.rows)
        self.store.write_models(list(self.models.values()))

    def _ready(
        self, dataset: DatasetChoice, model: ModelChoice, cells: list[Cell]
    ) -> Iterator[tuple[Cell, Specimen, CleanAnswers]]:
        """The cells of a model with its weights; none where those cannot be had, which fails the cells."""
        data = self.loaded[dataset]
        try:
            with self.shown.training(model.label) as report:
                specimen = obtain(model, data.dataset, self.planned.suite.seed, self.device, report)
        except ModelError as error:
            for cell in cells:
                self._fail(cell, error)
            return
        self.models[dataset, model] = model_row(dataset, model, data, specimen)
        clean = CleanAnswers(specimen.model, data.dataset, data.rows)
        randomised = _randomised(specimen, data)
        for cell in cells:
            self.rows[cell] |= {
                "randomised": randomised,
                "weights": specimen.digest,
                "dataset_fingerprint": data.dataset.fingerprint,
            }
            yield cell, specimen, clean

    def _batch_size(self, specimen: Specimen, data: Loaded) -> BatchSize:
        wanted = self.planned.suite.batch_size
        return fitting(specimen.model, data.dataset.shape) if wanted == "auto" else BatchSize(wanted)

    def _fail(self, cell: Cell, error: HarnessError) -> None:
        self.rows[cell] |= {"status": "failed", "error": str(error)}

    def _run(self, cell: Cell, job: Job, specimen: Specimen) -> None:
        """Do what is left of a job's shards that fall to this process."""
        self.jobs[cell] = job
        self.rows[cell] |= {
            "cell": job.id,
            "cases": job.cases,
            "shards": len(job.shards),
            "source": job.source,
        }
        store, mine = self.store, self.mine[job.id]
        if self.options.overwrite == "all":
            store.discard(job.id, mine)
        elif self.options.overwrite == "failed":
            store.discard(job.id, store.failed(job.id) & set(mine))
        left = sorted(set(mine) - store.finished(job.id))
        if job.source:
            left = sorted(set(left) & store.finished(job.source))
        label = f"{cell.model.label} x {cell.attack_label} {cell.attack.threat.label}"
        with self.shown.attacking(label, sum(len(job.parts[shard]) for shard in left)) as advance:
            for shard in left:
                cases = job.parts[shard]
                if job.source:
                    table = judge_shard(job.bench, cases, store.part(job.source, shard))
                    advance(len(cases))
                else:
                    table = run_shard(
                        job.bench,
                        cases,
                        learning=job.learning[shard] if job.learning else None,
                        advance=advance,
                        repair=specimen.restore,
                    )
                store.write_part(job.id, shard, table)
                self.summary.cases_done += len(cases)
        self.rows[cell] |= state_of(store.tally(job.id), len(job.shards))


def _by_model(cells: Iterable[Cell]) -> Iterator[tuple[tuple[DatasetChoice, ModelChoice], list[Cell]]]:
    groups: dict[tuple[DatasetChoice, ModelChoice], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.dataset, cell.model), []).append(cell)
    yield from groups.items()


def _randomised(specimen: Specimen, data: Loaded) -> bool | None:
    """Whether the model answers the same images in two ways; None where it does not answer."""
    x = images(data.dataset, data.rows[:32], specimen.model.device)
    try:
        one, other = specimen.model.scores(x), specimen.model.scores(x)
    except Exception:  # whatever a model raises; its cells will say so
        return None
    # Some kernels add in an order of their own; noise that is meant to confuse an attacker is far larger.
    return not torch.allclose(one, other, rtol=1e-4, atol=1e-5, equal_nan=True)
