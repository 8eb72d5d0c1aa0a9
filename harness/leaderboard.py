"""Leaderboard: records to metrics with intervals to a ranked board, one cell in memory at a time.

Reads Parquet only. Cases in error, or without a record, are left out of every rate and lower ``coverage``:
they count neither as robust nor as broken.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from harness.catalog import Entry, catalog
from harness.errors import HarnessError, ResultsError
from harness.metrics import CORE, NOTHING, Estimate, Flags, rate
from harness.outcomes import (
    COLUMNS,
    Codebook,
    Keys,
    Outcomes,
    Worst,
    concluded,
    from_table,
    joined,
    worse,
    worst_of,
)
from harness.ranking import CLEAN, WORST_CASE, ordered, ranked
from harness.results import read_cells, read_records, to_frame
from harness.specs import MetricSpec

WITH_INTERVAL = (
    "robust-accuracy",
    "success-rate",
    "natural-rate",
    "transfer-rate",
    "valid-rate",
    "mean-l2",
    "mean-linf",
    "mean-pass",
)
WITHOUT_INTERVAL = ("clean-accuracy", "mean-forwards", "mean-backwards", "mean-seconds")
PLUGIN = "core"
"""The plugin whose metrics are computed from arrays; those of others get a frame of their columns."""

TEXT = ("dataset", "stand_in_for", "model", "attack", "surrogate", "threat", "goal", "error")
ORDER = ("dataset", "model", "goal", "attack", "threat", "cell")
COUNTS = ("n", "images", "cells_failed")

Entries = Mapping[str, Entry[MetricSpec]]
Row = dict[str, Any]


def columns() -> list[str]:
    """The columns of every board, in order; metrics of plugins follow."""
    names = ["rank", "tied", "dataset", "stand_in_for", "model", "attack", "threat", "goal"]
    names += ["n", "images", "coverage", "clean_accuracy"]
    for metric in WITH_INTERVAL:
        names += _interval_columns(metric)
    names += ["mean_forwards", "mean_backwards", "mean_seconds"]
    return [*names, "attack_rank", "attack_tied", "surrogate", "cells_failed", "error"]


def build(folder: Path, metric_entries: Entries | None = None) -> pd.DataFrame:
    """The ranked board of a folder of results.

    ``n`` is the number of cases planned, ``coverage`` the share of them with an outcome; for what the rates
    are over see ``harness.metrics``. Per dataset, model and goal there are two more rows: attack "clean",
    where nothing is attacked, and attack "worst-case", where a case counts as a success once any attack
    succeeded on it, with the nearest of the successful adversarials.

    Args:
        folder: holds cells.parquet and samples/.
        metric_entries: metrics of plugins, by board column; those that are installed where None.
    """
    entries = catalog().metrics if metric_entries is None else metric_entries
    entries = {name: entry for name, entry in entries.items() if not _is_core(entry)}
    cells = [cell for cell in read_cells(folder).to_pylist() if cell["status"] != "skipped"]
    cells.sort(key=lambda cell: [cell[name] for name in ORDER])
    rows: list[Row] = []
    for _, group in groupby(cells, key=lambda cell: (cell["dataset"], cell["model"], cell["goal"])):
        rows += _rows_of_model(folder, list(group), entries)
    return ordered(ranked(_typed(rows, entries)))


def write(folder: Path) -> Path:
    """Writes leaderboard.parquet, whole or not at all, and gives its path."""
    board = build(folder)
    file = folder / "leaderboard.parquet"
    aside = folder / f".leaderboard.parquet.{os.getpid()}"
    try:
        board.to_parquet(aside, index=False)
        os.replace(aside, file)
    except OSError as error:
        raise ResultsError(f"{file} cannot be written: {error}") from error
    finally:
        with suppress(OSError):
            aside.unlink()
    return file


@dataclass(frozen=True)
class _Read:
    """What a cell's records say."""

    cases: Outcomes
    planned: int
    complete: bool
    """Every planned case has a record."""
    error: str | None


def _rows_of_model(folder: Path, cells: list[Row], entries: Entries) -> Iterator[Row]:
    """The rows of one dataset, model and goal."""
    codebook = Codebook()
    worst: Worst | None = None
    unfinished: list[Keys] = []
    planned = 0
    for (attack, threat), group in groupby(cells, key=lambda cell: (cell["attack"], cell["threat"])):
        same = list(group)  # more than one where seeds are crossed
        reads = []
        for cell in same:
            read = _read(folder, cell, codebook)
            found = worst_of(read.cases)
            worst = found if worst is None else worse(worst, found)
            if not read.complete:
                unfinished.append(found.keys)
            planned = max(planned, read.planned)
            reads.append(read)
        base = _identity(cells[0], attack, threat, same)
        row = base | _attack_row(joined([read.cases for read in reads]), sum(read.planned for read in reads))
        row["error"] = _line(read.error for read in reads)
        for name, entry in entries.items():
            row |= _plugin_metric(folder, same, name, entry, row)
        yield row
    assert worst is not None  # groups are not empty
    planned = max(planned, worst.keys.size)
    cases = concluded(worst, unfinished)
    yield _identity(cells[0], CLEAN, "none", []) | _clean_row(cases, planned)
    failed = _identity(cells[0], WORST_CASE, "any", cells)
    yield failed | _worst_row(cases, planned) | {"error": None}


def _read(folder: Path, cell: Row, codebook: Codebook) -> _Read:
    table = read_records(folder, cell["cell"], COLUMNS)
    n = table.num_rows
    error = cell["error"]
    if not error and n:
        errors = table.column("error").drop_null() if "error" in table.column_names else []
        if len(errors):
            error = f"{len(errors)} of {cell['cases'] or n} cases: {errors[0].as_py()}"
    return _Read(
        cases=from_table(table, codebook),
        planned=max(cell["cases"] or 0, n),
        # A cell that failed before its cases were counted has none, and may have planned any.
        complete=n >= cell["cases"] if cell["cases"] is not None else cell["status"] == "done",
        error=error,
    )


def _identity(first: Row, attack: str, threat: str, cells: list[Row]) -> Row:
    same = {name: first[name] for name in ("dataset", "stand_in_for", "model", "goal")}
    failed = sum(cell["status"] == "failed" for cell in cells)
    surrogate = cells[0]["surrogate"] if attack not in (CLEAN, WORST_CASE) else None
    return same | {"attack": attack, "surrogate": surrogate, "threat": threat, "cells_failed": failed}


def _attack_row(cases: Outcomes, planned: int) -> Row:
    row = _counts(cases, cases.covered, planned)
    for metric in WITH_INTERVAL:
        row |= _with_interval(metric, CORE[metric](cases))
    return row | {_name(metric): CORE[metric](cases).value for metric in WITHOUT_INTERVAL}


def _clean_row(cases: Outcomes, planned: int) -> Row:
    """The model left alone: what is right stays right. Covers all cases of which an attack's record, be it in
    error, says whether they were right."""
    row = _counts(cases, cases.known, planned)
    clean = rate(cases.correct[cases.known], cases.images[cases.known])
    return row | _with_interval("robust-accuracy", clean) | {"clean_accuracy": clean.value}


def _worst_row(cases: Outcomes, planned: int) -> Row:
    """The pointwise worst case over all attacks.

    What is not covered here is no random sample: a success elsewhere would have covered it, so the covered
    cases look more broken than all are. Where coverage is incomplete the intervals of the rates therefore
    reach to what they would be if all the cases that are not covered held, and if all fell. Cases without a
    record of any attack are not among these: nothing is known of them.
    """
    row = _counts(cases, cases.covered, planned)
    known, open_ = cases.known, cases.known & ~cases.covered
    row["clean_accuracy"] = rate(cases.correct[known], cases.images[known]).value if row["coverage"] else None
    for metric, among, hits, possible in (
        ("robust-accuracy", known, cases.correct & ~cases.success & ~open_, cases.correct & open_),
        ("success-rate", known & cases.correct, cases.success, open_),
        ("natural-rate", known & ~cases.correct, cases.success, open_),
    ):
        estimate = CORE[metric](cases)
        if open_.any() and estimate.n:
            images = cases.images[among]
            fallen, held = rate(hits[among], images), rate((hits | possible)[among], images)
            estimate = replace(estimate, low=fallen.low, high=held.high)
        row |= _with_interval(metric, estimate)
    for metric in ("mean-l2", "mean-linf", "mean-pass"):
        row |= _with_interval(metric, CORE[metric](cases))
    return row


def _counts(cases: Outcomes, covered: Flags, planned: int) -> Row:
    count = int(np.count_nonzero(covered))
    images = int(np.unique(cases.images).size)
    return {"n": planned, "images": images, "coverage": count / planned if planned else 0.0}


def _plugin_metric(folder: Path, cells: list[Row], name: str, entry: Entry[MetricSpec], row: Row) -> Row:
    """A plugin's metric of a row's records, without those in error; null where its columns are absent.

    A metric that fails is null and says so in the row's error: it takes no board with it.
    """
    wanted = {*entry.spec.columns, "error"}
    parts = [read_records(folder, cell["cell"], wanted) for cell in cells]
    table = pa.concat_tables(parts, promote_options="permissive")
    column = _name(name)
    if table.num_rows == 0 or not set(entry.spec.columns) <= set(table.column_names):
        return _with_interval(column, NOTHING)
    if "error" in table.column_names:
        table = table.filter(pc.is_null(table.column("error")))
    try:
        frame = to_frame(table.select(list(entry.spec.columns)))
        estimate = entry.load(entry.spec.run)(frame)
        if not isinstance(estimate, Estimate):
            raise TypeError(f"it gave {type(estimate).__name__} instead of a harness.metrics.Estimate")
    except Exception as error:  # whatever a plugin raises
        fault = str(error) if isinstance(error, HarnessError) else f"{type(error).__name__}: {error}"
        told = f'metric "{entry.qualified}": {fault}'
        return _with_interval(column, NOTHING) | {"error": _line([row.get("error"), told])}
    return _with_interval(column, estimate)


def _typed(rows: list[Row], entries: Entries) -> pd.DataFrame:
    """A frame of the rows whose column types do not depend on what they hold."""
    names = columns() + [column for name in entries for column in _interval_columns(name)]
    data: dict[str, Any] = {}
    for name in dict.fromkeys(names):
        values = [row.get(name) for row in rows]
        if name in TEXT:
            data[name] = pa.array(values, pa.string()).to_pandas()
        elif name in COUNTS:
            data[name] = np.array(values, np.int64)
        elif name in ("rank", "attack_rank"):
            data[name] = pd.array(values, dtype="Int64")
        elif name in ("tied", "attack_tied"):
            data[name] = pd.array(values, dtype="boolean")
        else:
            data[name] = np.array([np.nan if value is None else value for value in values], np.float64)
    return pd.DataFrame(data)


def _is_core(entry: Entry[MetricSpec]) -> bool:
    return entry.plugin.name == PLUGIN and entry.spec.name in CORE


def _name(metric: str) -> str:
    return metric.replace("-", "_").replace("/", "_")


def _interval_columns(metric: str) -> list[str]:
    return [_name(metric), f"{_name(metric)}_low", f"{_name(metric)}_high"]


def _with_interval(metric: str, estimate: Estimate) -> Row:
    numbers = (estimate.value, estimate.low, estimate.high)
    return dict(zip(_interval_columns(metric), numbers, strict=True))


def _line(errors: Iterable[str | None]) -> str | None:
    """The distinct errors in one line, or None."""
    told = list(dict.fromkeys(" ".join(error.split()) for error in errors if error))
    return "; ".join(told) or None
