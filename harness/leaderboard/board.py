"""The leaderboard is computed from the records, one cell in memory at a time: metrics with intervals, ranked.

It reads Parquet only. Cases without an outcome lower ``coverage``: they count neither as robust nor as
fooled, and intervals reach over all that could have become of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from harness.catalog import catalog
from harness.errors import ResultsError
from harness.files import write_whole
from harness.leaderboard.finders import COLUMN as FOUND_BY
from harness.leaderboard.flags import of_models
from harness.leaderboard.model_rows import Entries, Source, placed, rows_of_model
from harness.leaderboard.operating import COLUMNS, columns_of_point, flags_of_point, read_points
from harness.leaderboard.ranking import Scores, ordered, ranked
from harness.leaderboard.rows import Row, count_columns, metric_columns
from harness.leaderboard.threats import OVERALL, threats_of
from harness.metrics import CORE, SPECS
from harness.metrics.outcomes import Codebook
from harness.store.clusters import read_people
from harness.store.parquet import read_cells

PLUGIN = "core"
"""The plugin whose metrics are computed from arrays; those of others get a frame of their columns."""

TEXT = (
    "dataset",
    "stand_in_for",
    "model",
    "attack",
    "surrogate",
    "threat",
    "goal",
    "error",
    "flags",
    FOUND_BY,
)
ORDER = ("dataset", "model", "goal", "attack", "threat", "cell")
COUNTS = ("n", "images", "cells_failed", "clusters")
LAST_EARLY = "mean_seconds"
"""Metrics after this one came later: their columns stand last, behind those that boards had before."""


def columns() -> list[str]:
    """Return the columns of every board, in order; metrics of plugins follow."""
    names = ["rank", "tied", "dataset", "stand_in_for", "model", "attack", "threat", "goal"]
    names += ["n", "images", "coverage"]
    metrics = [column for name, spec in SPECS.items() for column in metric_columns(name, spec)]
    early = metrics.index(LAST_EARLY) + 1
    names += metrics[:early]
    names += ["attack_rank", "attack_tied", "surrogate", "cells_failed", "error", "flags"]
    return [*names, *metrics[early:], "clusters", *count_columns()]


def plugin_metrics() -> Entries:
    """Return the metrics of the installed plugins, by their names in the catalogue."""
    return {
        name: entry
        for name, entry in catalog().metrics.items()
        if not (entry.plugin.name == PLUGIN and entry.spec.name in CORE)
    }


def build(folder: Path, metric_entries: Entries | None = None) -> pd.DataFrame:
    """Return the ranked board of a folder of results.

    ``n`` is the number of cases planned, ``coverage`` the share of them with an outcome; for what the rates
    are over see ``harness.metrics``. Per dataset, model and goal there are more rows: attack "clean", where
    nothing is attacked, and for each threat attack "worst-case", where a case counts as a success once any
    attack succeeded on it within the threat's bounds, with the nearest of the successful adversarials.

    Args:
        folder: holds cells.parquet and samples/.
        metric_entries: metrics of plugins, by board column; those that are installed where None.
    """
    entries = plugin_metrics() if metric_entries is None else metric_entries
    table = read_cells(folder).to_pylist()
    cells = [cell for cell in table if cell["status"] != "skipped"]
    options, threats = _options(folder), [threat.label for threat in threats_of(cells)]
    if options.get("order_by") in threats:
        threats.sort(key=lambda label: label != options["order_by"])
    cells.sort(key=lambda cell: [cell[name] for name in ORDER])
    source = Source(folder, entries, bool(options.get("overall_worst_case")))
    people, flagged, points = read_people(folder), of_models(cells), read_points(folder)
    for place, told in flagged.items():
        told |= flags_of_point(points.get(place))
    rows: list[Row] = []
    for name, group in groupby(cells, key=lambda cell: cell["dataset"]):
        rows += _rows_of_dataset(source, list(group), people.get(name, {}), flagged)
    rows = [row | columns_of_point(points.get((row["dataset"], row["model"]))) for row in rows]
    return ordered(_typed(rows, entries), [*threats, OVERALL.label])


def _options(folder: Path) -> Mapping[str, Any]:
    """Return the suite's own keys, of suite.json; none where it is missing, or has no suite."""
    try:
        known = json.loads((folder / "suite.json").read_text(encoding="utf-8"))["suite"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return known if isinstance(known, dict) else {}


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


def _rows_of_dataset(
    source: Source,
    cells: list[Row],
    people: Mapping[str, int],
    flagged: Mapping[tuple[str, str], set[str]],
) -> list[Row]:
    """Return the rows of one data set, whose models are compared with each other.

    Args:
        flagged: the flags of each data set and model by the model's clean answers.
    """
    codebook = Codebook(people)
    rows: list[Row] = []
    scores: list[Scores | None] = []
    for _, group in groupby(cells, key=lambda cell: (cell["model"], cell["goal"])):
        own = list(group)
        always = flagged[own[0]["dataset"], own[0]["model"]]
        more, reached = rows_of_model(source, own, codebook, always)
        rows += more
        scores += reached
    ranks = ranked(rows, scores, ("attack", "threat", "goal"), codebook)
    return [row | placed(rank, "rank", "tied") for row, rank in zip(rows, ranks, strict=True)]


def _typed(rows: list[Row], entries: Entries) -> pd.DataFrame:
    """Return a frame of the rows whose column types do not depend on what they hold."""
    own = [column for name, entry in entries.items() for column in metric_columns(name, entry.spec)]
    data: dict[str, Any] = {}
    pointed = [name for name in (*COLUMNS, FOUND_BY) if any(name in row for row in rows)]
    for name in dict.fromkeys([*columns(), *own, *pointed]):
        values = [row.get(name) for row in rows]
        if name in TEXT:
            data[name] = pa.array(values, pa.string()).to_pandas()
        elif name in COUNTS:
            data[name] = np.array(values, np.int64)
        elif name in ("rank", "attack_rank", *count_columns()):
            data[name] = pd.array(values, dtype="Int64")
        elif name in ("tied", "attack_tied"):
            data[name] = pd.array(values, dtype="boolean")
        else:
            data[name] = np.array([np.nan if value is None else value for value in values], np.float64)
    return pd.DataFrame(data)
