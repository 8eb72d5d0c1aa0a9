"""The leaderboard is computed from the records, one cell in memory at a time: metrics with intervals, ranked.

It reads Parquet only. Cases in error, or without a record, are left out of every rate and lower ``coverage``:
they count neither as robust nor as fooled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from harness.catalog import Entry, catalog
from harness.errors import HarnessError, ResultsError
from harness.files import write_whole
from harness.leaderboard.evidence import (
    COLUMNS as FLAG_COLUMNS,
    Evidence,
    Traces,
    budgets_of,
    evidence_of,
    traces_of,
)
from harness.leaderboard.flags import label, raised, randomised
from harness.leaderboard.ranking import CLEAN, WORST_CASE, ordered, ranked
from harness.leaderboard.rows import (
    Row,
    attack_row,
    clean_row,
    metric_cells,
    metric_columns,
    worst_row,
)
from harness.leaderboard.worst_case import NO_CASES, concluded, worse, worst_of
from harness.metrics import CORE, NOTHING, SPECS, Estimate
from harness.metrics.core import NUMBERS
from harness.metrics.outcomes import OUTCOMES, Codebook, Keys, Outcomes, from_table, joined
from harness.specs import MetricSpec
from harness.store.parquet import read_cells, read_records, to_frame

PLUGIN = "core"
"""The plugin whose metrics are computed from arrays; those of others get a frame of their columns."""

TEXT = ("dataset", "stand_in_for", "model", "attack", "surrogate", "threat", "goal", "error", "flags")
ORDER = ("dataset", "model", "goal", "attack", "threat", "cell")
COUNTS = ("n", "images", "cells_failed")
LAST_EARLY = "mean_seconds"
"""Metrics after this one came later: their columns stand last, behind those that boards had before."""

Entries = Mapping[str, Entry[MetricSpec]]


def columns() -> list[str]:
    """Return the columns of every board, in order; metrics of plugins follow."""
    names = ["rank", "tied", "dataset", "stand_in_for", "model", "attack", "threat", "goal"]
    names += ["n", "images", "coverage"]
    metrics = [column for name, spec in SPECS.items() for column in metric_columns(name, spec)]
    early = metrics.index(LAST_EARLY) + 1
    names += metrics[:early]
    names += ["attack_rank", "attack_tied", "surrogate", "cells_failed", "error", "flags"]
    return names + metrics[early:]


def plugin_metrics() -> dict[str, Entry[MetricSpec]]:
    """Return the metrics of the installed plugins, by their names in the catalogue."""
    return {
        name: entry
        for name, entry in catalog().metrics.items()
        if not (entry.plugin.name == PLUGIN and entry.spec.name in CORE)
    }


def build(folder: Path, metric_entries: Entries | None = None) -> pd.DataFrame:
    """Return the ranked board of a folder of results.

    ``n`` is the number of cases planned, ``coverage`` the share of them with an outcome; for what the rates
    are over see ``harness.metrics``. Per dataset, model and goal there are two more rows: attack "clean",
    where nothing is attacked, and attack "worst-case", where a case counts as a success once any attack
    succeeded on it, with the nearest of the successful adversarials.

    Args:
        folder: holds cells.parquet and samples/.
        metric_entries: metrics of plugins, by board column; those that are installed where None.
    """
    entries = plugin_metrics() if metric_entries is None else metric_entries
    cells = [cell for cell in read_cells(folder).to_pylist() if cell["status"] != "skipped"]
    cells.sort(key=lambda cell: [cell[name] for name in ORDER])
    unsteady = randomised(cells)
    rows: list[Row] = []
    for place, group in groupby(cells, key=lambda cell: (cell["dataset"], cell["model"], cell["goal"])):
        always = {"randomised-model"} if place[:2] in unsteady else set()
        rows += _rows_of_model(folder, list(group), entries, always)
    return ordered(ranked(_typed(rows, entries)))


def write(folder: Path) -> Path:
    """Write leaderboard.parquet, whole or not at all, and return its path.

    Raises:
        ResultsError: it cannot be written.
    """
    board = build(folder)
    file = folder / "leaderboard.parquet"
    try:
        write_whole(file, lambda aside: board.to_parquet(aside, index=False))
    except OSError as error:
        raise ResultsError(f"{file} cannot be written: {error}") from error
    return file


@dataclass(frozen=True)
class _Read:
    """What the records of a cell say."""

    cases: Outcomes
    traces: Traces
    planned: int
    complete: bool
    """Every planned case has a record."""
    error: str | None


def _rows_of_model(folder: Path, cells: list[Row], entries: Entries, always: set[str]) -> list[Row]:
    """Return the rows of one dataset, model and goal; ``always`` are flags of all of them."""
    codebook, budgets = Codebook(), budgets_of(cells)
    rows: list[Row] = []
    evidence: list[Evidence] = []
    worst, planned = NO_CASES, 0
    unfinished: list[Keys] = []
    for (attack, threat), group in groupby(cells, key=lambda cell: (cell["attack"], cell["threat"])):
        same = list(group)  # more than one where seeds are crossed
        reads = [_read(folder, cell, codebook) for cell in same]
        distinct = [worst_of(read.cases) for read in reads]
        tried = reduce(worse, distinct)
        worst = worse(worst, tried)
        unfinished += [one.keys for one, read in zip(distinct, reads, strict=True) if not read.complete]
        planned = max([planned, *(read.planned for read in reads)])
        traces = sum((read.traces for read in reads), Traces())
        shared = evidence[0].keys if evidence else None
        evidence.append(evidence_of(same[0], tried, traces, budgets, shared))
        row = _row_of_attack(folder, same, reads, entries)
        rows.append(_identity(cells[0], attack, threat, same) | row)
    flags = [always | own for own in raised(evidence)]
    cases, planned = concluded(worst, unfinished), max(planned, worst.keys.size)
    rows.append(_identity(cells[0], CLEAN, "none", []) | clean_row(cases, planned))
    rows.append(_identity(cells[0], WORST_CASE, "any", cells) | worst_row(cases, planned))
    flags += [always, always.union(*flags)]
    return [row | {"flags": label(own)} for row, own in zip(rows, flags, strict=True)]


def _read(folder: Path, cell: Row, codebook: Codebook) -> _Read:
    table = read_records(folder, cell["cell"], (*OUTCOMES, *NUMBERS, *FLAG_COLUMNS))
    n = table.num_rows
    error = cell["error"]
    if not error and n:
        errors = table.column("error").drop_null() if "error" in table.column_names else []
        if len(errors):
            error = f"{len(errors)} of {cell['cases'] or n} cases: {errors[0].as_py()}"
    cases = from_table(table, codebook, NUMBERS)
    return _Read(
        cases=cases,
        traces=traces_of(table, cases),
        planned=max(cell["cases"] or 0, n),
        # A cell that failed before its cases were counted has none, and may have planned any.
        complete=n >= cell["cases"] if cell["cases"] is not None else cell["status"] == "done",
        error=error,
    )


def _identity(first: Row, attack: str, threat: str, cells: list[Row]) -> Row:
    """Return what a row is of; ``first`` is any cell of its model, and ``cells`` are those of the row."""
    same = {name: first[name] for name in ("dataset", "stand_in_for", "model", "goal")}
    failed = sum(cell["status"] == "failed" for cell in cells)
    surrogate = cells[0]["surrogate"] if attack not in (CLEAN, WORST_CASE) else None
    return same | {"attack": attack, "surrogate": surrogate, "threat": threat, "cells_failed": failed}


def _row_of_attack(folder: Path, cells: list[Row], reads: list[_Read], entries: Entries) -> Row:
    """Return the numbers of the cells of one attack, and of the metrics of plugins, with what went wrong."""
    row = attack_row(joined([read.cases for read in reads]), sum(read.planned for read in reads))
    errors = [read.error for read in reads]
    for name, entry in entries.items():
        estimate, error = _plugin_metric(folder, cells, entry)
        row |= metric_cells(name, entry.spec, estimate)
        errors.append(error)
    return row | {"error": _line(errors)}


def _plugin_metric(folder: Path, cells: list[Row], entry: Entry[MetricSpec]) -> tuple[Estimate, str | None]:
    """Return a plugin's metric of a row's records without errors; NOTHING where its columns are absent.

    A metric that fails is NOTHING and says why: it takes no board with it.
    """
    wanted = {*entry.spec.columns, "error"}
    parts = [read_records(folder, cell["cell"], wanted) for cell in cells]
    table = pa.concat_tables(parts, promote_options="permissive")
    if table.num_rows == 0 or not set(entry.spec.columns) <= set(table.column_names):
        return NOTHING, None
    if "error" in table.column_names:
        table = table.filter(pc.is_null(table.column("error")))
    try:
        frame = to_frame(table.select(list(entry.spec.columns)))
        estimate = entry.load(entry.spec.run)(frame)
        if not isinstance(estimate, Estimate):
            raise TypeError(f"it gave {type(estimate).__name__} instead of a harness.metrics.Estimate")
    except Exception as error:  # whatever a plugin raises
        fault = str(error) if isinstance(error, HarnessError) else f"{type(error).__name__}: {error}"
        return NOTHING, f'metric "{entry.qualified}": {fault}'
    return estimate, None


def _typed(rows: list[Row], entries: Entries) -> pd.DataFrame:
    """Return a frame of the rows whose column types do not depend on what they hold."""
    own = [column for name, entry in entries.items() for column in metric_columns(name, entry.spec)]
    data: dict[str, Any] = {}
    for name in dict.fromkeys([*columns(), *own]):
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


def _line(errors: Iterable[str | None]) -> str | None:
    """Return the distinct errors in one line, or None."""
    told = list(dict.fromkeys(" ".join(error.split()) for error in errors if error))
    return "; ".join(told) or None
