"""Selections: the cells of a suite that flip attributes, what their parameters say, and their cases."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from harness.errors import HarnessError, nearest
from harness.metrics import rate
from harness.results import Results
from harness.store.parquet import record_files

SIGNS = ("+", "-")
""" "+" was right before the attack, "-" wrong (a natural adversarial, once it is flipped)."""
CONVERGED = "converged"
SEARCHES = ("line", "iterative")


@dataclass(frozen=True)
class Cell:
    """A cell that flips attributes, and what its parameters say."""

    id: str
    dataset: str
    stand_in_for: str | None
    model: str
    model_kind: str
    """The name in the catalogue: "separate", "moon"."""
    family: str
    """The same for models that differ only in their checkpoint."""
    loss: str
    checkpoint: str
    """ "converged", or after how many epochs."""
    attack: str
    kind: str
    """The name in the catalogue: "ffa", "fgs"."""
    method: str
    """The same for attacks that differ only in their search: the kind, and more where one kind is several."""
    search: str
    """ "line", "iterative"; empty for attacks that do not search."""
    threat: str
    surrogate: str | None
    source: str | None
    planned: int
    """Cases; 0 where it failed before they were known."""

    @property
    def early(self) -> bool:
        """Whether the model had not finished training."""
        return self.checkpoint != CONVERGED

    @property
    def identity(self) -> dict[str, Any]:
        """What a table tells of it."""
        names = (
            "dataset",
            "stand_in_for",
            "model",
            "loss",
            "checkpoint",
            "attack",
            "method",
            "search",
            "threat",
        )
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Study:
    """The cells of a suite that flip attributes, and their cases that have an outcome."""

    results: Results
    cells: tuple[Cell, ...]
    """Those in which the model itself was attacked, in the order of cells.parquet."""
    transfers: tuple[Cell, ...]
    """Those whose adversarials were made on another model."""
    cases: Mapping[str, pd.DataFrame]
    """By cell: sample_id, target, sign, success, pass; cases in error are left out."""

    @property
    def datasets(self) -> list[tuple[str, str | None]]:
        """Data sets and what they stand in for, in the order of the cells."""
        return list(dict.fromkeys((cell.dataset, cell.stand_in_for) for cell in self.cells))

    def coverage(self, cell: Cell) -> float | None:
        """The share of planned cases that have an outcome; None where the plan is not known."""
        return len(self.cases[cell.id]) / cell.planned if cell.planned else None

    def outputs(self, dataset: str, model: str) -> list[str]:
        """The attributes that a model answers, in the order of its decisions.

        Raises:
            HarnessError: the folder does not say.
        """
        models = self.results.models()
        found = models[(models["dataset"] == dataset) & (models["model"] == model)]
        if found.empty:
            raise HarnessError(
                f'{self.results.path / "models.json"} does not say what "{model}" answers on "{dataset}"; '
                "run the suite again to write it"
            )
        return list(found["outputs"].iloc[0])


def read_study(results: Results, thresholds: Sequence[float] = (), *, transfers: bool = False) -> Study:
    """The cells that flip attributes, with their cases.

    Args:
        thresholds: of PASS, which are to be applied to the cases.
        transfers: whether to read the cases of transfers too.

    Raises:
        HarnessError: no cell flips attributes, a threshold is no share, or one above 0 is asked for and PASS
            was not measured.
    """
    check_thresholds(thresholds)
    found = _cells(results)
    own = tuple(cell for cell in found if cell.surrogate is None)
    if not own:
        raise HarnessError(
            f"{results.path}: nothing was run that flips attributes; put an attribute model and an attack "
            "into the suite"
        )
    moved = tuple(cell for cell in found if cell.surrogate is not None)
    read = own + moved if transfers else own
    measured = {cell.id for cell in read if "pass" in _columns(results, cell)}
    cases = _cases(results, [cell.id for cell in read], bool(measured))
    if max(thresholds, default=0.0) > 0:
        for cell in own:
            if cell.id not in measured and cases[cell.id]["success"].any():
                raise HarnessError(
                    f'{results.path}: "{cell.attack}" on "{cell.model}" has no PASS, which a threshold '
                    'above 0 needs; add [[measure]] use = "pass" to the suite and run it again, or ask for 0'
                )
            # A success whose PASS could not be computed is on neither side of a threshold.
            frame = cases[cell.id]
            cases[cell.id] = frame[~frame["success"] | frame["pass"].notna()].reset_index(drop=True)
    return Study(results, own, moved, cases)


def hits(cases: pd.DataFrame, threshold: float) -> pd.Series[bool]:
    """Which cases are flipped with PASS >= threshold; a threshold of 0 asks nothing of PASS."""
    if threshold <= 0:
        return cases["success"]
    return cases["success"] & (cases["pass"] >= threshold)


def share(flags: pd.Series[bool], images: pd.Series[str]) -> dict[str, Any]:
    """A rate over cases as columns: count, n, rate, and its 95 % interval, low and high."""
    found = rate(flags.to_numpy(bool), pd.factorize(images)[0])
    return {
        "count": int(flags.sum()),
        "n": found.n,
        "rate": found.value,
        "low": found.low,
        "high": found.high,
    }


def of_sign(cases: pd.DataFrame, sign: str) -> pd.DataFrame:
    """The cases of a sign, "+" or "-"; all of them for "both"."""
    return cases if sign == "both" else cases[cases["sign"] == sign]


def check_thresholds(thresholds: Iterable[float]) -> None:
    """Whether thresholds of PASS lie in [0, 1].

    Raises:
        HarnessError: one does not.
    """
    for threshold in thresholds:
        if not 0 <= threshold <= 1:
            raise HarnessError(f"threshold {threshold:g} is no PASS; name a number from 0 to 1")


def searches_of(searches: Iterable[str]) -> list[str]:
    """Each search once, in the paper's order: line, iterative, others, and none."""
    names = set(searches)
    others = sorted(names - {*SEARCHES, ""})
    return [name for name in (*SEARCHES, *others, "") if name in names]


def chosen(names: Collection[str], valid: Iterable[str], what: str) -> None:
    """Whether all names are among the valid ones.

    Raises:
        HarnessError: one is not.
    """
    known = list(valid)
    for name in names:
        if name not in known:
            raise HarnessError(f'{what} "{name}" is not in these results; {nearest(name, known)}')


# --- cells and records ------------------------------------------------------------------------------------


def _cells(results: Results) -> list[Cell]:
    frame = results.cells()
    rows = [
        {name: _plain(value) for name, value in row.items()}
        for row in frame.to_dict("records")
        if row["goal"] == "flip" and row["status"] != "skipped" and row["cell"]
    ]
    kinds = [_kind(row.get("attack_use"), row["attack"]) for row in rows]
    searches = [str(_json(row.get("attack_parameters")).get("search") or "") for row in rows]
    several: dict[tuple[str, str], set[tuple[str, str]]] = {}
    labels = [_plain_label(row) for row in rows]
    for row, kind, search, label in zip(rows, kinds, searches, labels, strict=True):
        several.setdefault((kind, search), set()).add((label, row["threat"]))
    found = []
    for row, kind, search, label in zip(rows, kinds, searches, labels, strict=True):
        same = several[kind, search]
        method = kind
        if len({name for name, _ in same}) > 1:
            method = _without_search(label)
        if len({threat for name, threat in same if name == label}) > 1:
            method = f"{method} {row['threat']}"
        parameters = _json(row.get("model_parameters"))
        use = row.get("model_use") or row["model"].partition("[")[0]
        rest = {name: value for name, value in parameters.items() if name != "checkpoint"}
        found.append(
            Cell(
                id=row["cell"],
                dataset=row["dataset"],
                stand_in_for=row.get("stand_in_for"),
                model=row["model"],
                model_kind=_kind(use, row["model"]),
                family=json.dumps([use, rest], sort_keys=True),
                loss=str(parameters.get("loss") or "euclidean"),
                checkpoint=str(parameters.get("checkpoint") or CONVERGED),
                attack=row["attack"],
                kind=kind,
                method=method,
                search=search,
                threat=row["threat"],
                surrogate=row.get("surrogate"),
                source=row.get("source"),
                planned=int(row.get("cases") or 0),
            )
        )
    return found


def _plain_label(row: Mapping[Any, Any]) -> str:
    """The attack's label without the surrogate of a transfer."""
    surrogate = row.get("surrogate")
    label: str = row["attack"]
    return label.removesuffix(f" from {surrogate}") if surrogate else label


def _without_search(label: str) -> str:
    """ "ffa[search=line,max_steps=9]" → "ffa[max_steps=9]"."""
    bare = re.sub(r"(?<=[\[,])search=[^,\]]*,?", "", label)
    return bare.replace(",]", "]").replace("[]", "")


def _kind(use: str | None, label: str) -> str:
    return (use or label.partition("[")[0].partition(" from ")[0]).rpartition("/")[2]


def _json(text: str | None) -> dict[str, Any]:
    found = json.loads(text) if text else {}
    return found if isinstance(found, dict) else {}


def _plain(value: Any) -> Any:
    """None for what frames hold in its place."""
    return None if value is None or value is pd.NA or value != value else value


def _columns(results: Results, cell: Cell) -> set[str]:
    """The columns that a cell's records have; none where it has no records."""
    files = record_files(results.path, cell.id)
    return set(pq.read_schema(files[0]).names) if files else set()


def _cases(results: Results, ids: Sequence[str], with_pass: bool) -> dict[str, pd.DataFrame]:
    columns = ["sample_id", "target", "clean_correct", "success", "error", *(["pass"] if with_pass else [])]
    frame = results.samples(columns=columns, where={"cell": list(ids)})
    covered = frame["error"].isna() & frame["success"].notna() & frame["clean_correct"].notna()
    frame = frame[covered]
    cases = pd.DataFrame(
        {
            "cell": frame["cell"],
            "sample_id": frame["sample_id"],
            "target": frame["target"],
            "sign": frame["clean_correct"].astype(bool).map({True: "+", False: "-"}),
            "success": frame["success"].astype(bool),
            "pass": frame["pass"] if with_pass else pd.Series(float("nan"), index=frame.index),
        }
    )
    groups = {str(name): group.drop(columns="cell") for name, group in cases.groupby("cell", sort=False)}
    empty = cases.iloc[:0].drop(columns="cell")
    return {name: groups.get(name, empty).reset_index(drop=True) for name in ids}
