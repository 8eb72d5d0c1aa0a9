"""A folder is verified cell by cell, and then the files that a run makes of its cells."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from harness.errors import HarnessError, ResultsError
from harness.options import Options
from harness.plan.cells import Cell
from harness.results import read_description
from harness.session.device import device_of
from harness.session.provenance import describe
from harness.session.rows import of_model, planned_row
from harness.session.verification.boards import compare_analyses, compare_board, compare_head, guarded
from harness.session.verification.cells import (
    FILE,
    RecordedCells,
    Row,
    compare_begun,
    compare_cell,
    compare_columns,
    compare_models,
    compare_skipped,
    title,
)
from harness.session.verification.comparisons import compare_comparisons
from harness.session.verification.inputs import compare_annotations, compare_originals
from harness.session.verification.parts import compare_parts
from harness.session.verification.report import Report
from harness.shards.context import ReadyModel
from harness.shards.jobs import Job
from harness.shards.preparation import Preparation, rebuilt
from harness.store import Store
from harness.store.parquet import part_files


def verify(folder: Path, device_name: str) -> Report:
    """Judge every stored adversarial of a results folder again, and make again what a run makes of records.

    A folder whose run was interrupted is judged as far as it goes; the report says what is missing.

    Raises:
        ResultsError: the folder holds no results or no adversarials, a file cannot be read, or a model's
            weights are not there.
    """
    return _Verification(folder, device_name).run()


_DEPENDENT = "batch-dependent"
"""The flag of a model whose answers depend on the other images of a batch."""


class _Verification:
    """The state of a verification is its report, and the jobs that could be had."""

    def __init__(self, folder: Path, device_name: str) -> None:
        self.folder, self.store = folder, Store(folder)
        device = device_of(device_name)
        self.prepared: Preparation = rebuilt(folder, device)
        self.planned = self.prepared.planned
        self.seed = self.planned.suite.seed
        described = read_description(folder)
        options = Options(limit=described.get("limit"))
        self.head = partial(compare_head, described, self.planned, describe(self.planned, options, device))
        self.recorded = RecordedCells(folder, described, self.seed)
        self.jobs: dict[Cell, Job] = {}
        self.report = Report()

    def run(self) -> Report:
        """Verify everything, and return the report."""
        planned, report, recorded = self.planned, self.report, self.recorded
        if not any(cell.keep for cell in planned.cells):
            raise ResultsError(f"{self.folder} keeps no adversarials; run the suite with keep = true")
        self.head(report)
        if not recorded.exists:
            report.missing.append(FILE)
        compare_columns(recorded, report)
        for cell in planned.cells:
            self._cell(cell)
        compare_skipped(recorded, planned.skipped, report) if recorded.exists else None
        recorded.unclaimed(report)
        if recorded.exists:
            report.agree(FILE)
        self._foreign_folders()
        self._files()
        return report

    def _cell(self, cell: Cell) -> None:
        """Verify the row and the parts of a cell."""
        expected = planned_row(cell, self.seed)
        name = title(expected).partition(": ")[2]
        try:
            job: Job | None = self.prepared.job(cell)
            failure = None
        except HarnessError as error:
            job, failure = None, error
        row = self.recorded.claim(expected, job.id if job else "")
        if row is None and self.recorded.exists:
            self.report.differ(FILE, f"{title(expected)}: the cell has no row")
        if job is None:
            self._without_job(cell, row, failure)
            return
        self._known(job, cell, row)
        self.jobs[cell] = job
        ready = self.prepared.model(cell.dataset, cell.model)
        finished = False
        if row is not None:
            compare_cell(row, cell, self.recorded, job, ready, self.store, self.report)
            finished = bool(row["cell"]) and row["status"] != "partial"
            if row["status"] == "failed" and not row["cell"]:
                self.report.notes.append(
                    f"{name}: it failed before its first case ({row['error']}), which was not tried again"
                )
                if not part_files(self.store.folder / "samples" / job.id):
                    return
        steady = self._is_steady(cell, ready)
        place = f"{name}" if len(self.planned.datasets) == 1 else title(expected)
        compare_parts(self.store, job, place, finished=finished, steady=steady, report=self.report)

    def _is_steady(self, cell: Cell, ready: ReadyModel) -> bool:
        """Say whether a model answers, and the same images in one way; note where it does not."""
        told = of_model(ready)
        flags = (told.get("model_flags") or "").split(",")
        if told["randomised"] is False and _DEPENDENT not in flags:
            return True
        self.report.answers = False
        how = "does not answer" if told["randomised"] is None else "answers the same images in two ways"
        self.report.notes.append(f"{cell.model.label} {how}: its answers were not compared")
        return False

    def _known(self, job: Job, cell: Cell, row: Row | None) -> None:
        """Refuse a folder none of whose cells are those of the suite, since nothing can be judged."""
        begun = row is not None and bool(row["cell"])
        if begun and not self.jobs and not self.recorded.ids & self._ids():
            raise ResultsError(
                f"{self.folder}: no cell is {job.id} ({cell.model.label} x {cell.attack_label}): data, "
                "weights or versions are not those of the run"
            )

    def _ids(self) -> set[str]:
        """Return the ids of all cells that can be had."""
        found = set()
        for cell in self.planned.cells:
            try:
                found.add(self.prepared.job(cell).id)
            except HarnessError:
                continue
        return found

    def _without_job(self, cell: Cell, row: Row | None, failure: HarnessError | None) -> None:
        """Report a cell that cannot be had here: it failed in the run too, has not begun, or is refused."""
        if failure is not None and row is not None and row["cell"]:
            raise failure
        name = f"{cell.model.label} x {cell.attack_label} {cell.attack.threat.label}"
        if row is not None:
            compare_begun(row, cell, self.recorded, self.report)
        if row is not None and row["status"] == "failed":
            if row["error"] != str(failure):
                self.report.notes.append(f"{name}: it failed in the run ({row['error']}); here: {failure}")
        elif row is not None and row["status"] != "partial":
            self.report.differ(FILE, f"{name}: status is {row['status']}, but it has no cell: {failure}")
        else:
            self.report.missing.append(f"all of {name}: {failure}")

    def _foreign_folders(self) -> None:
        """Note folders of records that belong to no cell of the suite."""
        place = self.folder / "samples"
        known = {job.id for job in self.jobs.values()}
        others = sorted(one.name for one in place.iterdir() if one.is_dir()) if place.is_dir() else []
        foreign = [name for name in others if name not in known and part_files(place / name)]
        if foreign:
            more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
            self.report.notes.append(
                f"samples/{foreign[0]}{more}: of no cell of the suite, as an earlier suite leaves them; "
                "nothing reads it"
            )

    def _files(self) -> None:
        """Verify what a run writes beside the records."""
        prepared, report, recorded = self.prepared, self.report, self.recorded
        ready = {(cell.dataset, cell.model): prepared.model(cell.dataset, cell.model) for cell in self.jobs}
        finished = not report.missing
        guarded("models.json", report, compare_models, self.folder, ready, recorded, report)
        kept = {cell.dataset: prepared.opened[cell.dataset] for cell in self.planned.cells if cell.keep}
        due = recorded.is_recent
        opened = prepared.opened.values()
        guarded("annotations.parquet", report, compare_annotations, self.folder, opened, due, report)
        guarded("originals.parquet", report, compare_originals, self.folder, kept.values(), due, report)
        guarded("comparisons", report, compare_comparisons, self.folder, ready, finished, report)
        guarded("leaderboard.parquet", report, compare_board, self.folder, recorded, finished, report)
        guarded("analyses", report, compare_analyses, self.folder, self.planned, finished, report)
