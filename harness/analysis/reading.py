"""Analyses read the cells of a results folder here: what their parameters say, and their cases."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from harness.errors import HarnessError, nearest
from harness.metrics import Estimate
from harness.results import Results
from harness.store.parquet import record_files

CASE = ("sample_id", "cluster", "target", "clean_correct", "success", "error")
TEXTS = ("dataset", "stand_in_for", "reason")
"""How columns begin or end that may be null in every row and hold no number."""


@dataclass(frozen=True, eq=False)
class Cell:
    """A cell is one data set x model x attack x threat, as cells.parquet describes it."""

    id: str
    """Empty where the cell failed before it had one."""
    dataset: str
    stand_in_for: str | None
    dataset_kind: str
    """The name in the catalogue, without the plugin's: "synthetic-faces"."""
    dataset_parameters: Mapping[str, Any]
    dataset_source: Mapping[str, Any]
    """What a derived data set is made from: label, use, parameters."""
    model: str
    model_kind: str
    model_parameters: Mapping[str, Any]
    attack: str
    attack_kind: str
    attack_parameters: Mapping[str, Any]
    threat: str
    eps: float | None
    """None where the attack has no budget, or looks for the smallest change."""
    surrogate: str | None
    """The model whose adversarials this one judges; None where it was attacked itself."""
    source: str | None
    """The id of the cell in which these were made."""
    planned: int
    """How many cases; 0 where it failed before they were known."""
    problem: str | None
    """Why there are fewer outcomes than planned, where the folder says."""


def read_cells(results: Results, *, goal: str | None = None, transfers: bool = False) -> list[Cell]:
    """Return the cells that were run, in the order of cells.parquet.

    Args:
        goal: only cells of this goal: "flip", "untargeted".
        transfers: whether to name those too in which a model judges the adversarials of another.
    """
    rows = [
        {str(name): _plain(value) for name, value in row.items()}
        for row in results.cells().to_dict("records")
    ]
    return [
        _cell(row)
        for row in rows
        if row["status"] != "skipped"
        and goal in (None, row["goal"])
        and (transfers or row.get("surrogate") is None)
    ]


def _cell(row: Mapping[str, Any]) -> Cell:
    told: dict[str, Any] = {name: row.get(name) for name in ("stand_in_for", "eps", "surrogate", "source")}
    for part in ("dataset", "model", "attack"):
        told[part] = row[part]
        told[f"{part}_kind"] = kind_of(row.get(f"{part}_use"), row[part])
        told[f"{part}_parameters"] = parameters_of(row.get(f"{part}_parameters"))
    problem = f"{row['status']}: {row['error']}" if row.get("error") else str(row["status"])
    return Cell(
        id=row["cell"] or "",
        dataset_source=parameters_of(row.get("dataset_source")),
        threat=row["threat"],
        planned=int(row.get("cases") or 0),
        problem=None if row["status"] == "done" else problem,
        **told,
    )


def kind_of(use: str | None, label: str = "") -> str:
    """Return the name in the catalogue: "bayes/cnn" → "cnn"; of a label, what stands before its bracket."""
    return (use or label.partition("[")[0].partition(" from ")[0]).rpartition("/")[2]


def parameters_of(text: str | None) -> dict[str, Any]:
    """Return the parameters that a column of cells.parquet holds as JSON; none where there are none."""
    found = json.loads(text) if text else {}
    return found if isinstance(found, dict) else {}


def _plain(value: Any) -> Any:
    """Return None for what frames hold in its place."""
    return None if value is None or value is pd.NA or value != value else value


def recorded(results: Results, cell: Cell) -> set[str]:
    """Return the columns that a cell's records have; none where it has no records."""
    files = record_files(results.path, cell.id)
    return set(pq.read_schema(files[0]).names) if files else set()


def cases(results: Results, cells: Iterable[Cell], columns: Sequence[str] = ()) -> dict[str, pd.DataFrame]:
    """Return the cases that have an outcome, by the cell's id; those in error are left out.

    Columns: cell, sample_id, cluster (the person that the image shows where that is known, else the image;
    intervals are over clusters), target, right (whether it was classified correctly), success, and
    ``columns``, which are empty where no record has them.
    """
    cells = list(cells)
    held = {name for cell in cells for name in recorded(results, cell)}
    read = [name for name in columns if name in held]
    frame = results.samples(columns=[*CASE, *read], where={"cell": [cell.id for cell in cells if cell.id]})
    known = frame["error"].isna() & frame["success"].notna() & frame["clean_correct"].notna()
    frame = frame[known].rename(columns={"clean_correct": "right"}).astype({"right": bool, "success": bool})
    frame = frame.assign(**{name: float("nan") for name in columns if name not in held})
    frame = frame[["cell", "sample_id", "cluster", "target", "right", "success", *columns]]
    groups = {str(name): own.reset_index(drop=True) for name, own in frame.groupby("cell", sort=False)}
    nothing = frame.iloc[:0].reset_index(drop=True)
    return {cell.id: groups.get(cell.id, nothing) for cell in cells}


def outputs(results: Results, dataset: str, model: str) -> list[str]:
    """Return the names of what a model answers on a data set, in the order of its decisions.

    Raises:
        HarnessError: the folder does not say.
    """
    found = _model(results, dataset, model)
    if found is None:
        raise HarnessError(
            f'{results.path / "models.json"} does not say what "{model}" answers on "{dataset}"; '
            "run the suite again to write it"
        )
    return list(found["outputs"])


def card(results: Results, dataset: str, model: str) -> Mapping[str, Any]:
    """Return what the card of a model says, such as its accuracy; empty where it says nothing."""
    found = _model(results, dataset, model)
    return {} if found is None else dict(found["card"])


def _model(results: Results, dataset: str, model: str) -> pd.Series[Any] | None:
    models = results.models()
    models = models[(models["dataset"] == dataset) & (models["model"] == model)]
    return models.iloc[0] if len(models) else None


def choose(names: Collection[str], valid: Iterable[str], what: str) -> None:
    """Check that all names are among the valid ones.

    Args:
        what: what they name, such as "attack".

    Raises:
        HarnessError: one is not; the error names the nearest valid one.
    """
    known = list(valid)
    for name in names:
        if name not in known:
            raise HarnessError(f'{what} "{name}" is not in these results; {nearest(name, known)}')


def estimate_columns(name: str, found: Estimate) -> dict[str, float | None]:
    """Return an estimate as columns: the value, and its 95 % interval as _low and _high."""
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def estimate(row: Mapping[Any, Any], name: str) -> Estimate:
    """Return the estimate whose columns ``estimate_columns`` made; its ``n`` is 0, since no column has it."""
    value, low, high = (_plain(row[f"{name}{end}"]) for end in ("", "_low", "_high"))
    return Estimate(value, low, high, 0)


def typed(rows: Iterable[Mapping[str, Any]], texts: Sequence[str] = ()) -> pd.DataFrame:
    """Return rows as a frame in which a number that no row has is still a number.

    Args:
        texts: columns that hold no numbers, beside those that begin or end like ``TEXTS``.
    """
    table = pd.DataFrame(list(rows))
    for name in table:
        text = str(name).startswith(TEXTS) or str(name).endswith(TEXTS) or name in texts
        if table[name].isna().all() and not text:
            table[name] = table[name].astype(float)
    return table
