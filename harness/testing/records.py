"""Records that no attack made: few, none or odd ones, on which metrics and analyses must not fail."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from harness.store.folder import Store
from harness.store.png import encode
from harness.store.schema import RECORD_SCHEMA, record_schema

OUTPUTS = ("first", "second", "third", "fourth")
MODELS = ("model-one", "model-two")
GOALS = ("flip", "untargeted")
MEASURES = ("pass", "ssim")
ERROR = "RuntimeError: a broken case"
OUTCOME = ("reached", "reached_unrounded", "valid", "success", "linf", "l2", "l0", "margin_adv")
"""What an error leaves null."""


def records(
    count: int, goal: str = "flip", *, errors: int = 0, hits: bool = True, seed: int = 0
) -> list[dict[str, Any]]:
    """Return records of cases; two of each three were classified correctly.

    Args:
        errors: how many of them have an error in place of an outcome.
        hits: whether about half of the attacks succeeded, or none.
    """
    random = np.random.default_rng(seed)
    return [_record(row, goal, row < errors, hits and bool(random.random() < 0.5)) for row in range(count)]


def frame(rows: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> pd.DataFrame:
    """Return the records without errors as a frame of some columns, as a metric gets them from a board."""
    whole = [dict(row) for row in rows if row["error"] is None]
    columns = tuple(columns)
    table = pa.Table.from_pylist(whole, schema=record_schema(_measures(columns)))
    found = table.to_pandas()
    found["cluster"] = found["sample_id"]
    chosen: pd.DataFrame = found[list(columns)]
    return chosen


def write_results(
    folder: Path, cases: int, *, errors: int = 0, hits: bool = True, attacked: bool = True
) -> None:
    """Write the results of a suite that attacked two models, with two goals, as far as it came.

    Args:
        attacked: whether the cells have any records.
    """
    store = Store(folder)
    store.open()
    cells, models = [], []
    for model in MODELS:
        models.append(_model(model))
        for goal in GOALS:
            cell = f"{model}-{goal}"
            rows = records(cases, goal, errors=errors, hits=hits) if attacked else []
            if rows:
                schema = record_schema(MEASURES)
                store.write_part(cell, 0, pa.Table.from_pylist(rows, schema=schema))
            cells.append(_cell(cell, model, goal, len(rows), cases, errors))
    store.write_models(models)
    store.write_suite({"suite": {"name": "kit"}, "versions": {}})
    store.write_cells(cells)


def measured(columns: Iterable[str]) -> tuple[str, ...]:
    """Return which columns are not those of every record."""
    return tuple(name for name in columns if name not in (*RECORD_SCHEMA.names, "cluster"))


def _measures(columns: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*MEASURES, *measured(columns))))


def _record(row: int, goal: str, error: bool, hit: bool) -> dict[str, Any]:
    before = [bool((row >> bit) & 1) for bit in range(len(OUTPUTS))]
    column = row % len(OUTPUTS)
    after = [present != (hit and bit == column) for bit, present in enumerate(before)]
    size = (1 + row % 5) / 255
    found = {
        "sample_id": f"{row // 2:06d}.png",
        "goal": goal,
        "target": OUTPUTS[column] if goal == "flip" else None,
        "clean_correct": row % 3 > 0,
        "reached": hit,
        "reached_unrounded": hit,
        "valid": True,
        "success": hit,
        "fault": None,
        "linf": size if hit else 0.0,
        "l2": 10 * size if hit else 0.0,
        "l0": 40 if hit else 0,
        "margin_clean": -0.5,
        "margin_adv": 0.1 if hit else -0.2,
        "forwards": 4 + row % 3,
        "backwards": 1,
        "seconds": 0.01,
        "found": 2 if hit else -1,
        "zero_gradients": 0,
        "error": ERROR if error else None,
        "decisions_clean": before,
        "decisions_adv": after,
        "adversarial": encode(_picture(row)),
        "pass": 0.99 - size,
        "ssim": 0.98 - size,
    }
    return found | dict.fromkeys((*OUTCOME, *MEASURES, "decisions_adv", "adversarial")) if error else found


def _picture(row: int) -> npt.NDArray[np.uint8]:
    return np.full((3, 8, 8), 20 * row % 256, np.uint8)


def _cell(cell: str, model: str, goal: str, done: int, cases: int, errors: int) -> dict[str, Any]:
    failed = min(errors, done)
    return {
        "cell": cell,
        "dataset": "pictures",
        "model": model,
        "attack": "attack",
        "threat": "linf 8/255",
        "norm": "linf",
        "eps": 8 / 255,
        "access": "gradients",
        "budget": "fixed",
        "randomised": False,
        "goal": goal,
        "seed": 0,
        "status": "failed" if not done else "partial" if failed else "done",
        "error": None if done and not failed else ERROR,
        "cases": cases,
        "cases_done": done,
        "cases_failed": failed,
        "shards": 1,
        "shards_done": int(done > 0),
        "dataset_use": "pictures",
        "dataset_parameters": "{}",
        "model_use": model,
        "model_parameters": "{}",
        "attack_use": "attack",
        "attack_parameters": "{}",
    }


def _model(model: str) -> dict[str, Any]:
    return {
        "dataset": "pictures",
        "model": model,
        "use": model,
        "parameters": {},
        "weights": "0" * 16,
        "outputs": list(OUTPUTS),
        "card": {},
    }
