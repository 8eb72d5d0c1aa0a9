"""cells.parquet and models.json are compared with what the suite, the models and the records give."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from math import isclose
from pathlib import Path
from typing import Any

from harness.plan.cells import Cell, Skipped
from harness.plan.datasets import DatasetChoice
from harness.session.rows import model_row, of_job, of_model, planned_row, skipped_row, state_of
from harness.session.verification.report import Report, shown
from harness.shards.context import ReadyModel
from harness.shards.jobs import Job
from harness.store import Store
from harness.store.parquet import read_cells, read_parquet
from harness.store.schema import CELL_SCHEMA

Row = dict[str, Any]

FILE = "cells.parquet"
MODELS = "models.json"
_LABELS = ("dataset", "model", "attack", "surrogate", "threat", "goal")
_NEWEST = "checksum"
"""A folder whose cells have this column was written by a version that writes all files that are compared."""


class RecordedCells:
    """The recorded cells are the rows of cells.parquet, each of which is claimed by one cell of the suite."""

    def __init__(self, folder: Path, described: Mapping[str, Any], seed: int) -> None:
        told = described.get("stand_ins")
        self.seed, self._stand_ins = seed, told if isinstance(told, dict) else {}
        file = folder / FILE
        self.exists = file.is_file()
        self.columns = set(read_parquet(file).column_names) if self.exists else set()
        self._left: list[Row] = read_cells(folder).to_pylist() if self.exists else []
        self.ids = {row["cell"] for row in self._left if row["cell"]}

    @property
    def is_recent(self) -> bool:
        """Return whether this version, or a later one, wrote the folder."""
        return _NEWEST in self.columns or not self.exists

    def stand_in(self, dataset: DatasetChoice) -> Row:
        """Return what a data set stands in for, as suite.json says it beside the resolved suite."""
        return {"stand_in_for": self._stand_ins.get(dataset.label)}

    def claim(self, labels: Mapping[str, Any], cell: str = "") -> Row | None:
        """Return the row of a cell, by its id, else by its labels; it is nobody else's from then on."""
        ways: tuple[Any, ...] = (
            lambda row: cell and row["cell"] == cell,
            lambda row: all(row[name] == labels[name] for name in _LABELS),
        )
        for fits in ways:
            for position, row in enumerate(self._left):
                if fits(row):
                    return self._left.pop(position)
        return None

    def unclaimed(self, report: Report) -> None:
        """Report the rows that are no cell's of the suite."""
        for row in self._left:
            what = "pair that is skipped" if row["status"] == "skipped" else "cell"
            report.differ(FILE, f"{title(row)}: the suite has no such {what}, or it stands there twice")


def title(row: Mapping[str, Any]) -> str:
    """Return what a person calls a row of cells.parquet or of the leaderboard."""
    return f"{row['dataset']}: {row['model']} x {row['attack']} {row['threat']}"


def compare_columns(recorded: RecordedCells, report: Report) -> None:
    """Report columns that cells.parquet lacks, or has too many."""
    if not recorded.exists:
        return
    lacking = [name for name in CELL_SCHEMA.names if name not in recorded.columns]
    if lacking and recorded.is_recent:
        report.differ(FILE, f"it has no column {', '.join(lacking)}")
    foreign = sorted(recorded.columns - set(CELL_SCHEMA.names))
    if foreign:
        report.differ(FILE, f"no run writes its column {', '.join(foreign)}")


def compare_cell(
    row: Row, cell: Cell, recorded: RecordedCells, job: Job, ready: ReadyModel, store: Store, report: Report
) -> None:
    """Report what the row of a cell says other than the suite, its model and its records do."""
    expected = _of_suite(cell, recorded)
    if row["cell"] and row["cell"] != job.id:
        report.differ(
            FILE,
            f"{title(row)}: cell is {job.id}, recorded {row['cell']}: data, weights or versions are not "
            "those of the run, or suite.json is not",
        )
    if row["weights"] is not None or row["cell"]:
        expected |= of_model(ready)
    done = len(store.finished(job.id) & set(job.shards))
    if row["cell"]:
        expected |= {name: value for name, value in of_job(job).items() if name != "cell"}
        counted = row["shards_done"] or 0
        if done < len(job.shards) and row["status"] in ("done", "failed"):
            pass  # each missing part is a difference of its own
        elif done < counted:
            told = f"{done} shards are there, recorded {counted}: parts were removed"
            report.differ(FILE, f"{title(row)}: {told}")
        elif done == counted and row["shards_done"] is not None:
            expected |= state_of(store.tally(job.id), len(job.shards))
    elif row["status"] not in ("partial", "failed"):
        expected |= {"status": "partial"}
    _compare(row, expected, report)


def _of_suite(cell: Cell, recorded: RecordedCells) -> Row:
    """Return what the suite alone says of a cell."""
    row = planned_row(cell, recorded.seed) | recorded.stand_in(cell.dataset)
    return {name: value for name, value in row.items() if name not in ("cell", "status")}


def compare_begun(row: Row, cell: Cell, recorded: RecordedCells, report: Report) -> None:
    """Report what the row of a cell that cannot be had says other than the suite does."""
    expected = _of_suite(cell, recorded)
    _compare(row, expected, report)


def compare_skipped(recorded: RecordedCells, skipped: Iterable[Skipped], report: Report) -> None:
    """Report pairs that the suite skips, and cells.parquet does not."""
    for item in skipped:
        expected = skipped_row(item, recorded.seed) | recorded.stand_in(item.dataset)
        row = recorded.claim(expected)
        if row is None:
            report.differ(FILE, f"{title(expected)}: the pair that is skipped has no row")
            continue
        if all((one["error"] or "").startswith("excluded by") for one in (row, expected)):
            expected.pop("error")  # it names the manifest
        _compare(row, expected, report)


def _compare(row: Row, expected: Row, report: Report) -> None:
    """Report one line per row: the columns that it has, and that are not as expected."""
    wrong = [
        f"{name} is {shown(value)}, recorded {shown(row[name])}"
        for name, value in expected.items()
        if name in row and not same(value, row[name])
    ]
    if wrong:
        report.differ(FILE, f"{title(row)}: {'; '.join(wrong)}")


def same(ours: Any, theirs: Any, tolerance: float = 1e-9) -> bool:
    """Say whether two values of a row are the same; sums of numbers may differ in their last digits."""
    if _is_number(ours) and _is_number(theirs):
        return isclose(ours, theirs, rel_tol=tolerance, abs_tol=1e-12) or (ours != ours and theirs != theirs)
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(same(ours[key], theirs[key], tolerance) for key in ours)
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(lambda a, b: same(a, b, tolerance), ours, theirs))
    return type(ours) is type(theirs) and bool(ours == theirs)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def compare_models(
    folder: Path, ready: Mapping[tuple[Any, Any], ReadyModel], recorded: RecordedCells, report: Report
) -> None:
    """Report what models.json says other than the models do; of a card, all but times."""
    file = folder / MODELS
    if not file.is_file():
        if recorded.exists and recorded.is_recent:
            report.differ(MODELS, "it is missing")
        return
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))
        named = {(row["dataset"], row["model"]): row for row in rows}
    except (OSError, ValueError, TypeError, KeyError) as error:
        report.differ(MODELS, f"it cannot be read: {error}")
        return
    for (dataset, model), made in ready.items():
        expected = json.loads(json.dumps(model_row(dataset, model, made)))
        row = named.pop((dataset.label, model.label), None)
        if row is None:
            report.differ(MODELS, f"{model.label} on {dataset.label} is missing")
            continue
        for key in sorted({*expected, *row}):
            ours, theirs = (_timeless(each.get(key)) for each in (expected, row))
            if not same(ours, theirs, 1e-3):
                fault = f"{model.label} on {dataset.label}: {key} {_first(ours, theirs)}"
                report.differ(MODELS, fault)
    for name, count in Counter((row["dataset"], row["model"]) for row in rows).items():
        if count > 1 or name in named:
            report.differ(
                MODELS, f"{name[1]} on {name[0]}: the run attacks no such model, or it stands twice"
            )
    report.agree(MODELS)


def _timeless(value: Any) -> Any:
    """Return a value of models.json without the times of its card, which differ between machines."""
    if not isinstance(value, dict):
        return value
    return {key: item for key, item in value.items() if not key.endswith("seconds")}


def _first(ours: Any, theirs: Any) -> str:
    """Return the first difference of two values, in words."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted({*ours, *theirs}):
            if not same(ours.get(key), theirs.get(key), 1e-3):
                return f"{key} {_first(ours.get(key), theirs.get(key))}"
    return f"is {shown(ours)}, recorded {shown(theirs)}"
