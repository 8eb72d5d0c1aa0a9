"""Reading: the cells of a suite that tell two classes apart, what their parameters say, and their cases."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from harness.errors import HarnessError
from harness.results import Results
from harness_bayes.analyses.study import KINDS, Attacked, Data, Model, Study

GOAL = "untargeted"
COLUMNS = ("sample_id", "clean_correct", "success", "l2", "error")


def read_study(results: Results) -> Study:
    """The cells that tell two classes apart, with their cases.

    Raises:
        HarnessError: there is none.
    """
    rows = [_plain(row) for row in results.cells().to_dict("records")]
    answers = results.models()
    two = {
        (dataset, model)
        for dataset, model, outputs in zip(
            answers["dataset"], answers["model"], answers["outputs"], strict=True
        )
        if len(outputs) == 2
    }
    rows = [
        row
        for row in rows
        if row["goal"] == GOAL
        and row["status"] != "skipped"
        and row.get("surrogate") is None
        and (_last(row.get("dataset_use")) in KINDS or (row["dataset"], row["model"]) in two)
    ]
    if not rows:
        raise HarnessError(
            f"{results.path}: nothing was run that tells two classes apart; put a data set such as "
            '"mfa-symmetric" or "two-classes", a model and an attack into the suite'
        )
    cases = _cases(results, [row["cell"] for row in rows if row["cell"]])
    return Study(results, tuple(_attacked(row, cases) for row in rows))


def _attacked(row: Mapping[str, Any], cases: Mapping[str, pd.DataFrame]) -> Attacked:
    own = cases.get(row["cell"]) if row["cell"] else None
    problem = None
    if row["status"] != "done":
        problem = f"{row['status']}: {row['error']}" if row.get("error") else str(row["status"])
    parameters = row.get("model_parameters")
    return Attacked(
        data=_data(row),
        model=Model(row["model"], _last(row.get("model_use"), row["model"]), _json(parameters)),
        attack=row["attack"],
        attack_kind=_last(row.get("attack_use"), row["attack"]),
        threat=row["threat"],
        unlimited=row.get("eps") is None,
        planned=int(row.get("cases") or 0),
        problem=problem,
        cases=_nothing() if own is None else own,
    )


def _data(row: Mapping[str, Any]) -> Data:
    parameters, source = _json(row.get("dataset_parameters")), _json(row.get("dataset_source"))
    use = _last(row.get("dataset_use"), row["dataset"])
    pair = parameters.get("pair")
    kind = KINDS.get(use, use)
    return Data(
        label=row["dataset"],
        stand_in_for=row.get("stand_in_for"),
        kind=kind,
        to_real=parameters.get("tested_on") == "real",
        attribute=parameters.get("attribute"),
        pair=(str(pair[0]), str(pair[1])) if pair else None,
        source=source.get("label"),
        made_of=_last(source.get("use")) or None,
    )


def _cases(results: Results, cells: Sequence[str]) -> dict[str, pd.DataFrame]:
    """By cell, the cases that have an outcome."""
    frame = results.samples(columns=COLUMNS, where={"cell": list(cells)})
    known = frame["error"].isna() & frame["success"].notna() & frame["clean_correct"].notna()
    frame = frame[known]
    cases = pd.DataFrame(
        {
            "cell": frame["cell"],
            "sample_id": frame["sample_id"],
            "right": frame["clean_correct"].astype(bool),
            "success": frame["success"].astype(bool),
            "l2": frame["l2"].astype(float),
        }
    )
    return {str(name): own.reset_index(drop=True) for name, own in cases.groupby("cell", sort=False)}


def _nothing() -> pd.DataFrame:
    kinds = {"cell": "str", "sample_id": "str", "right": bool, "success": bool, "l2": float}
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in kinds.items()})  # type: ignore[call-overload]


def _last(use: str | None, label: str = "") -> str:
    """The name in the catalogue: "bayes/cnn" → "cnn"; of a label, what stands before its bracket."""
    return (use or label.partition("[")[0]).rpartition("/")[2]


def _json(text: str | None) -> dict[str, Any]:
    found = json.loads(text) if text else {}
    return found if isinstance(found, dict) else {}


def _plain(row: Mapping[Any, Any]) -> dict[str, Any]:
    """None for what frames hold in its place."""
    return {
        str(name): None if value is None or value is pd.NA or value != value else value
        for name, value in row.items()
    }
