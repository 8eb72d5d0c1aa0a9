"""The study reads models of two classes under attack, and what became of their cases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis import reading
from harness.errors import HarnessError
from harness.metrics import Estimate, mean, rate
from harness.results import Results

KINDS = {"mfa-symmetric": "symmetric", "mfa-asymmetric": "asymmetric", "two-classes": "real"}
"""Data sets of the catalogue, and the distribution that models learn from."""
CLOSEST = "closest"
"""In place of an attack: of each case the nearest adversarial that any attack found."""
OPTIMAL, LINEAR, RBF = "bayes-optimal", "linear-svm", "rbf-svm"
CNN, TRADES, PGD = "cnn", "cnn-trades", "cnn-pgd"
ORDER = (OPTIMAL, "mfa", CNN, LINEAR, RBF, TRADES, PGD)
"""Models of the catalogue in the paper's order; others follow as the suite names them."""


@dataclass(frozen=True)
class Data:
    """A data set of the study has two classes."""

    label: str
    stand_in_for: str | None
    kind: str
    """What models learn from: "symmetric", "asymmetric", "real", or the name in the catalogue."""
    to_real: bool
    """Learned from samples and tested on real images."""
    attribute: str | None
    pair: tuple[str, str] | None
    source: str | None
    """What its images are made of: the suite's name for it, and its name in the catalogue."""
    made_of: str | None

    @property
    def task(self) -> str:
        """What is told apart: "Smiling", "0 vs 6"; the label where the parameters do not say."""
        if self.attribute is not None:
            return self.attribute
        return " vs ".join(self.pair) if self.pair else self.label

    @property
    def group(self) -> str:
        """Learned from and tested on: "symmetric", "symmetric, tested on real"."""
        return f"{self.kind}, tested on real" if self.to_real else self.kind

    @property
    def family(self) -> tuple[str | None, str | None, str]:
        """The same for data sets made of the same real images and classes."""
        return (self.source, self.stand_in_for, self.task)


@dataclass(frozen=True, eq=False)
class Model:
    """A model is known by the name that the suite gives it."""

    label: str
    kind: str
    """The name in the catalogue: "cnn"."""
    parameters: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Attacked:
    """A model was attacked on a data set; the cases are those that have an outcome."""

    data: Data
    model: Model
    attack: str
    """Its label, or "closest"."""
    attack_kind: str
    threat: str
    unlimited: bool
    """Looks for the smallest change, without a budget."""
    planned: int
    """Cases; 0 where it failed before they were known."""
    problem: str | None
    """Why there are fewer outcomes than planned, where the folder says."""
    cases: pd.DataFrame
    """cell (of the adversarial), sample_id, cluster (the person that the image shows where known, else the
    image), right (before the attack), success, l2."""

    @property
    def identity(self) -> dict[str, Any]:
        """What a table tells of it."""
        return {
            "dataset": self.data.label,
            "stand_in_for": self.data.stand_in_for,
            "kind": self.data.group,
            "task": self.data.task,
            "model": self.model.label,
            "model_kind": self.model.kind,
            "attack": self.attack,
            "threat": self.threat,
        }

    @property
    def name(self) -> str:
        """What a claim calls it."""
        return f"{self.model.label} on {self.data.label}"

    @property
    def coverage(self) -> float | None:
        """The share of planned cases that have an outcome; None where the plan is not known."""
        return len(self.cases) / self.planned if self.planned else None

    @cached_property
    def persons(self) -> bool:
        """Whether clusters are persons, of whom several images may be, and not images."""
        return bool((self.cases["cluster"] != self.cases["sample_id"]).any())

    @cached_property
    def broken(self) -> pd.DataFrame:
        """Cases that were right and on which the attack succeeded: the adversarials."""
        return self.cases[self.cases["right"] & self.cases["success"]]

    @property
    def clean(self) -> Estimate:
        """Accuracy before the attack."""
        return rate(self.cases["right"], self.cases["cluster"])

    @property
    def robust(self) -> Estimate:
        """The share of all cases that are right and stay so."""
        return rate(self.cases["right"] & ~self.cases["success"], self.cases["cluster"])

    @property
    def success(self) -> Estimate:
        """Successes over the cases that were right."""
        own = self.cases[self.cases["right"]]
        return rate(own["success"], own["cluster"])

    @property
    def l2(self) -> Estimate:
        """Mean L2 of the adversarials."""
        return mean(self.broken["l2"], self.broken["cluster"])

    @property
    def reason(self) -> str | None:
        """Why a number is missing or rests on fewer cases than planned; None where nothing is amiss."""
        coverage = 1.0 if self.coverage is None else self.coverage
        counts = f"{len(self.cases):,} of {self.planned:,} planned cases have one"
        nothing = None
        if self.cases.empty:
            nothing = "no case has an outcome"
        elif not self.cases["right"].any():
            nothing = "no case was right before the attack"
        elif self.broken.empty:
            nothing = "no case that was right was broken"
        elif len(self.broken) == 1:
            nothing = "one adversarial has no interval"
        incomplete = "not all planned cases have an outcome" if coverage < 1 else None
        return reasons(self.problem or incomplete, counts if 0 < coverage < 1 else None, nothing)


def reasons(*told: str | None) -> str | None:
    """Return reasons as one text; None where there is none."""
    return "; ".join(filter(None, told)) or None


@dataclass(frozen=True, eq=False)
class Study:
    """The study holds the cells of a suite that tell two classes apart."""

    results: Results
    attacked: tuple[Attacked, ...]
    """In the order of cells.parquet; transfers are left out."""

    @property
    def datasets(self) -> list[Data]:
        """Data sets by kind, then as the suite names them."""
        found = list(dict.fromkeys(item.data for item in self.attacked))
        kinds = [*KINDS.values()]
        return sorted(
            found, key=lambda data: (kinds.index(data.kind) if data.kind in kinds else 9, data.to_real)
        )

    @property
    def models(self) -> list[Model]:
        """Models in the paper's order."""
        first = {item.model.label: item.model for item in reversed(self.attacked)}
        labels = dict.fromkeys(item.model.label for item in self.attacked)
        return sorted((first[label] for label in labels), key=lambda model: _place(model.kind))

    @cached_property
    def closest(self) -> tuple[Attacked, ...]:
        """One per data set and model: of each case the nearest adversarial of all attacks."""
        groups: dict[tuple[Data, str], list[Attacked]] = {}
        for item in self.attacked:
            groups.setdefault((item.data, item.model.label), []).append(item)
        return tuple(nearest_of(items) for items in groups.values())

    def of(self, attack: str) -> list[Attacked]:
        """Return what an attack did, by its label or its name in the catalogue; "closest" is of all attacks.

        Raises:
            HarnessError: it is not in the results.
        """
        if attack == CLOSEST:
            return list(self.closest)
        names = {name for item in self.attacked for name in (item.attack, item.attack_kind)}
        reading.choose([attack], {CLOSEST, *names}, "attack")
        return [item for item in self.attacked if attack in (item.attack, item.attack_kind)]

    def models_on(self, items: Iterable[Attacked], data: Data) -> list[Attacked]:
        """Return those of a data set, in the paper's order of models."""
        order = [model.label for model in self.models]
        return sorted(
            (item for item in items if item.data == data), key=lambda item: order.index(item.model.label)
        )


def read_study(results: Results) -> Study:
    """Read the cells that tell two classes apart, with their cases.

    Raises:
        HarnessError: there is none.
    """
    models = results.models()
    two = {
        (dataset, model)
        for dataset, model, outputs in zip(models["dataset"], models["model"], models["outputs"], strict=True)
        if len(outputs) == 2
    }
    cells = [
        cell
        for cell in reading.read_cells(results, goal="untargeted")
        if cell.dataset_kind in KINDS or (cell.dataset, cell.model) in two
    ]
    if not cells:
        raise HarnessError(
            f"{results.path}: nothing was run that tells two classes apart; put a data set such as "
            '"mfa-symmetric" or "two-classes", a model and an attack into the suite'
        )
    cases = reading.cases(results, cells, ("l2",))
    return Study(results, tuple(_attacked(cell, cases[cell.id]) for cell in cells))


def _attacked(cell: reading.Cell, cases: pd.DataFrame) -> Attacked:
    told = cell.dataset_parameters
    pair = told.get("pair")
    data = Data(
        label=cell.dataset,
        stand_in_for=cell.stand_in_for,
        kind=KINDS.get(cell.dataset_kind, cell.dataset_kind),
        to_real=told.get("tested_on") == "real",
        attribute=told.get("attribute"),
        pair=(str(pair[0]), str(pair[1])) if pair else None,
        source=cell.dataset_source.get("label"),
        made_of=reading.kind_of(cell.dataset_source.get("use")) or None,
    )
    return Attacked(
        data=data,
        model=Model(cell.model, cell.model_kind, cell.model_parameters),
        attack=cell.attack,
        attack_kind=cell.attack_kind,
        threat=cell.threat,
        unlimited=cell.eps is None,
        planned=cell.planned,
        problem=cell.problem,
        cases=cases.astype({"l2": float}),
    )


def nearest_of(items: Sequence[Attacked]) -> Attacked:
    """Return the nearest adversarial of each case, over several attacks on one model.

    A case has an outcome once an attack succeeded on it, or when all attacks have one. Should attacks
    disagree on whether it was right before, one that says wrong is believed.
    """
    first = items[0]
    if len(items) == 1:
        return replace(first, attack=CLOSEST, attack_kind=CLOSEST)
    together = pd.concat([item.cases for item in items], ignore_index=True)
    far = together["l2"].where(together["success"], np.inf)
    together = together.assign(far=far).sort_values("far", kind="stable")
    groups = together.groupby("sample_id", sort=False)
    together = together.assign(right=groups["right"].transform("all"), seen=groups["right"].transform("size"))
    best = together.drop_duplicates("sample_id")
    best = best[best["success"] | (best["seen"] == len(items))]
    told = list(dict.fromkeys(f"{item.attack}: {item.problem}" for item in items if item.problem))
    threats = list(dict.fromkeys(item.threat for item in items))
    return replace(
        first,
        attack=CLOSEST,
        attack_kind=CLOSEST,
        threat=", ".join(threats),
        unlimited=any(item.unlimited for item in items),
        planned=max(item.planned for item in items),
        problem="; ".join(told) or None,
        cases=best.sort_values("sample_id", kind="stable", ignore_index=True)[list(first.cases.columns)],
    )


def _place(kind: str) -> int:
    return ORDER.index(kind) if kind in ORDER else len(ORDER)
