"""The study reads the cells of a suite that flip attributes, what they say, and their cases."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.analysis import reading
from harness.errors import HarnessError
from harness.metrics import rate
from harness.results import Results

KEY = ["sample_id", "target"]
SIGNS = ("+", "-")
""" "+" was right before the attack, "-" wrong (a natural adversarial, once it is flipped)."""
CONVERGED = "converged"
EUCLIDEAN = "euclidean"
SEARCHES = ("line", "iterative")
READING = {"crossed": "back", "target": "recomputed"}
"""How the study reads the iterative FFA: the loss of each temporary image is that of eq. 9 for this image."""
IDENTITY = (
    "dataset", "stand_in_for", "model", "loss", "checkpoint", "attack", "method", "search", "threat"
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Cell(reading.Cell):
    """A cell of the study flips attributes, and holds its cases that have an outcome."""

    method: str
    """The same for attacks that differ only in their search: the kind, and more where one kind is several."""
    cases: pd.DataFrame
    """sample_id, cluster, target, sign, success, pass; cases in error are left out."""
    reading: str = ""
    """In what an iterative FFA differs from the study's reading of the paper; empty where in nothing."""

    @property
    def loss(self) -> str:
        """What the model was trained with."""
        return str(self.model_parameters.get("loss") or EUCLIDEAN)

    @property
    def checkpoint(self) -> str:
        """ "converged", or after how many epochs."""
        return str(self.model_parameters.get("checkpoint") or CONVERGED)

    @property
    def early(self) -> bool:
        """Whether the model had not finished training."""
        return self.checkpoint != CONVERGED

    @property
    def family(self) -> str:
        """The same for models that differ only in their checkpoint."""
        rest = {name: value for name, value in self.model_parameters.items() if name != "checkpoint"}
        return json.dumps([self.model_kind, rest], sort_keys=True)

    @property
    def search(self) -> str:
        """ "line", "iterative"; empty for attacks that do not search."""
        return str(self.attack_parameters.get("search") or "")

    @property
    def identity(self) -> dict[str, Any]:
        """What a table tells of it."""
        return {name: getattr(self, name) for name in IDENTITY}

    @property
    def name(self) -> str:
        """What a claim calls it."""
        return f"{self.attack} on {self.model}"

    @property
    def coverage(self) -> float | None:
        """The share of planned cases that have an outcome; None where the plan is not known."""
        return len(self.cases) / self.planned if self.planned else None

    @property
    def reason(self) -> str | None:
        """Why a number of it is missing, where the folder says."""
        return self.problem


@dataclass(frozen=True)
class Study:
    """The study holds the cells of a suite that flip attributes."""

    results: Results
    cells: tuple[Cell, ...]
    """Those in which the model itself was attacked, in the order of cells.parquet."""
    transfers: tuple[Cell, ...]
    """Those whose adversarials were made on another model."""

    @property
    def datasets(self) -> list[tuple[str, str | None]]:
        """Data sets and what they stand in for, in the order of the cells."""
        return list(dict.fromkeys((cell.dataset, cell.stand_in_for) for cell in self.cells))


def read_study(results: Results, thresholds: Sequence[float] = (), *, transfers: bool = False) -> Study:
    """Read the cells that flip attributes, with their cases.

    Args:
        thresholds: of PASS, which are to be applied to the cases.
        transfers: whether to read the cases of transfers too; they have none otherwise.

    Raises:
        HarnessError: no cell flips attributes, a threshold is no share, or one above 0 is asked for and PASS
            was not measured.
    """
    for threshold in thresholds:
        if not 0 <= threshold <= 1:
            raise HarnessError(f"threshold {threshold:g} is no PASS; name a number from 0 to 1")
    found = [cell for cell in reading.read_cells(results, goal="flip", transfers=True) if cell.id]
    if all(cell.surrogate is not None for cell in found):
        raise HarnessError(
            f"{results.path}: nothing was run that flips attributes; put an attribute model and an attack "
            "into the suite"
        )
    read = [cell for cell in found if transfers or cell.surrogate is None]
    cases = reading.cases(results, read, ("pass",))
    for cell in read:
        frame = cases[cell.id]
        frame["sign"] = frame["right"].map({True: "+", False: "-"})
        if cell.surrogate is None and max(thresholds, default=0.0) > 0:
            if frame["success"].any() and "pass" not in reading.recorded(results, cell):
                raise HarnessError(
                    f'{results.path}: "{cell.attack}" on "{cell.model}" has no PASS, which a threshold '
                    'above 0 needs; add [[measure]] use = "pass" to the suite and run it again, or ask for 0'
                )
            # A success whose PASS could not be computed is on neither side of a threshold.
            cases[cell.id] = frame[~frame["success"] | frame["pass"].notna()].reset_index(drop=True)
    readings = _readings(found)
    methods = _methods(found, readings)
    unread = cases[read[0].id].iloc[:0]
    own = [
        Cell(
            **vars(cell),
            method=methods[cell.id],
            cases=cases.get(cell.id, unread),
            reading=readings[cell.id],
        )
        for cell in found
    ]
    return Study(
        results,
        tuple(cell for cell in own if cell.surrogate is None),
        tuple(cell for cell in own if cell.surrogate is not None),
    )


def hits(cases: pd.DataFrame, threshold: float) -> pd.Series[bool]:
    """Return which cases are flipped with PASS >= threshold; a threshold of 0 asks nothing of PASS."""
    if threshold <= 0:
        return cases["success"]
    return cases["success"] & (cases["pass"] >= threshold)


def share(flags: pd.Series[bool], clusters: pd.Series[str]) -> dict[str, Any]:
    """Return a rate over cases as columns: count, n, rate, and its 95 % interval, low and high."""
    found = rate(flags, clusters)
    numbers = {"n": found.n, "rate": found.value, "low": found.low, "high": found.high}
    return {"count": int(flags.sum())} | numbers


def of_sign(cases: pd.DataFrame, sign: str) -> pd.DataFrame:
    """Return the cases of a sign, "+" or "-"; all of them for "both"."""
    return cases if sign == "both" else cases[cases["sign"] == sign]


def searches_of(searches: Iterable[str]) -> list[str]:
    """Return each search once, in the paper's order: line, iterative, others, and none."""
    names = set(searches)
    others = sorted(names - {*SEARCHES, ""})
    return [name for name in (*SEARCHES, *others, "") if name in names]


def _readings(cells: Sequence[reading.Cell]) -> dict[str, str]:
    """Return by a cell's id in what its iterative FFA is read otherwise than ``READING``.

    Where no cell follows it, the one reading that was run is the study's.
    """
    iterative = [
        cell
        for cell in cells
        if (cell.attack_kind, cell.attack_parameters.get("search")) == ("ffa", "iterative")
    ]
    told = {cell.id: "" for cell in cells}
    for cell in iterative:
        asked = {name: cell.attack_parameters.get(name, usual) for name, usual in READING.items()}
        other = [f"{name}={value}" for name, value in asked.items() if value != READING[name]]
        told[cell.id] = ",".join(other)
    return told if len({told[cell.id] for cell in iterative}) > 1 else dict.fromkeys(told, "")


def _methods(cells: Iterable[reading.Cell], readings: dict[str, str]) -> dict[str, str]:
    """Return the method of each cell by its id; another reading of an attack is another method."""
    kinds: dict[tuple[str, str, str], set[tuple[str, str]]] = {}
    keys = {}
    for cell in cells:
        kind = (cell.attack_kind, str(cell.attack_parameters.get("search") or ""), readings[cell.id])
        keys[cell.id] = kind, cell.attack.removesuffix(f" from {cell.surrogate}"), cell.threat
        kinds.setdefault(kind, set()).add(keys[cell.id][1:])
    methods = {}
    for id_, (kind, label, threat) in keys.items():
        several = len({name for name, _ in kinds[kind]}) > 1
        read = f"[{kind[2]}]" if kind[2] else ""
        method = _without_search(label) if several else kind[0] + read
        if len({other for name, other in kinds[kind] if name == label}) > 1:
            method = f"{method} {threat}"
        methods[id_] = method
    return methods


def _without_search(label: str) -> str:
    """ "ffa[search=line,max_steps=9]" → "ffa[max_steps=9]"."""
    bare = re.sub(r"(?<=[\[,])search=[^,\]]*,?", "", label)
    return bare.replace(",]", "]").replace("[]", "")
