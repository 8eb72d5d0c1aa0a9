"""The study reads attacked triplets: which models were trained how, and what became of each triplet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.reading import Cell, read_cells
from harness.errors import HarnessError
from harness.metrics import Estimate
from harness.metrics.paired import difference
from harness.results import Results
from harness_facenet.triplet_metrics import COLUMNS, Which, accuracy, right

KEY = ["sample_id", "target", "reference", "negative"]
"""What tells a triplet from others, whatever the model."""
RECIPES = {
    "standard": "standard training",
    "adversarial": "triplet adversarial training",
    "contrastive": "contrastive pre-training + triplet adversarial fine-tuning",
    "scratch": "triplet adversarial training from scratch",
    "given": "given weights",
}
SEMI = "semi-supervised pre-training + triplet adversarial fine-tuning"


@dataclass(frozen=True, eq=False)
class Tried:
    """Tried is a model on triplets under one attack and threat."""

    cell: Cell
    records: pd.DataFrame

    @property
    def name(self) -> str:
        """Return what details call it."""
        return f"{self.cell.model} under {self.attack}"

    @property
    def attack(self) -> str:
        """Return the attack with its threat."""
        return f"{self.cell.attack}, {self.cell.threat}"

    @property
    def coverage(self) -> float | None:
        """Return the share of its planned triplets that have an outcome."""
        return len(self.records) / self.cell.planned if self.cell.planned else None

    @property
    def reason(self) -> str | None:
        """Return why a number of it is missing; None where none is."""
        return self.cell.problem

    @property
    def trained_on(self) -> bool:
        """Say whether the model's training saw this attack: PGD inside the same or a larger ball."""
        trained = recipe_of(self.cell.model_parameters) not in ("", "standard", "given")
        eps = self.cell.model_parameters.get("eps")
        inside = eps is not None and self.cell.eps is not None and self.cell.eps <= eps + 1e-6
        return trained and inside and self.cell.attack_kind == "pgd" and self.cell.threat.startswith("linf")

    @property
    def stops_early(self) -> bool:
        """Say whether the attack leaves a triplet once it is wrong at the margin, so that it does no more."""
        return bool(self.cell.attack_parameters.get("early_stop", False))

    def accuracy(self, which: Which, *, at_margin: bool = False) -> Estimate:
        """Return SA, RA or S&R with its interval over persons."""
        return accuracy(self.records, which=which, at_margin=at_margin)

    def above(self, other: Tried, which: Which, *, at_margin: bool = False) -> Estimate:
        """Return by how much the accuracy is larger than another's, on the triplets that both have."""
        both = self._flags(at_margin).merge(other._flags(at_margin), on=[*KEY, "cluster"])
        column = {"standard": "clean", "robust": "robust"}[which]
        return difference(both[f"{column}_x"], both[f"{column}_y"], both["cluster"])

    def robust_above_clean(self, *, at_margin: bool = False) -> Estimate:
        """Return RA - SA on the same triplets."""
        own = self._flags(at_margin)
        return difference(own["robust"], own["clean"], own["cluster"])

    def _flags(self, at_margin: bool) -> pd.DataFrame:
        clean, robust, own = right(self.records, at_margin=at_margin)
        return own[[*KEY, "cluster"]].assign(clean=clean, robust=robust)


@dataclass(frozen=True, eq=False)
class Subject:
    """A Subject is a data set with all that was tried on its triplets."""

    dataset: str
    stand_in_for: str | None
    tried: tuple[Tried, ...]
    notes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What training measured, by model."""

    @property
    def identity(self) -> dict[str, Any]:
        """Return what tells it from that of other data sets."""
        return {"dataset": self.dataset, "stand_in_for": self.stand_in_for}

    @cached_property
    def attacks(self) -> list[str]:
        """Return the attacks that any model was under."""
        return list(dict.fromkeys(one.attack for one in self.tried))

    def of(self, recipe: str, attack: str | None = None) -> list[Tried]:
        """Return what was tried on models of a recipe; None: under all attacks."""
        return [
            one
            for one in self.tried
            if kind_of(one.cell.model_parameters) == recipe and attack in (None, one.attack)
        ]

    def same(self, first: str, second: str) -> Iterator[tuple[Tried, Tried]]:
        """Yield models of two recipes under the same attack."""
        for attack in self.attacks:
            for one in self.of(first, attack):
                for other in self.of(second, attack):
                    yield one, other


def recipe_of(parameters: Mapping[str, Any]) -> str:
    """Return the recipe of a FaceNet; empty for other models."""
    return str(parameters.get("recipe", "")) if "second_view" in parameters else ""


def kind_of(parameters: Mapping[str, Any]) -> str:
    """Return the recipe, or "semi-supervised" where the pre-training knew labels."""
    recipe = recipe_of(parameters)
    return "semi-supervised" if recipe == "contrastive" and parameters.get("labels") else recipe


def epochs_of(parameters: Mapping[str, Any]) -> dict[str, int | None]:
    """Return how long a FaceNet learned in each stage."""
    kind = recipe_of(parameters)
    stages = {
        "standard": kind in ("standard", "adversarial"),
        "pretraining": kind == "contrastive",
        "tuning": kind in ("adversarial", "contrastive", "scratch"),
    }
    return {
        f"{name}_epochs": int(parameters[f"{name}_epochs"]) if used else None for name, used in stages.items()
    }


def read_study(results: Results) -> list[Subject]:
    """Return the data sets with attacked triplets.

    Raises:
        HarnessError: there are none.
    """
    cells = [cell for cell in read_cells(results, goal="triplet") if cell.id]
    if not cells:
        raise HarnessError(
            f"{results.path}: no triplets were attacked; write triplets = 8 in [dataset.comparisons], and "
            'goals = ["triplet"] in an [[attack]]'
        )
    columns = ["cell", *KEY, "cluster", *COLUMNS]
    frame = results.samples(columns=columns, where={"cell": [cell.id for cell in cells]})
    groups = {str(name): own.reset_index(drop=True) for name, own in frame.groupby("cell", sort=False)}
    subjects = []
    for dataset in dict.fromkeys((cell.dataset, cell.stand_in_for) for cell in cells):
        own = [cell for cell in cells if (cell.dataset, cell.stand_in_for) == dataset and cell.id in groups]
        tried = tuple(Tried(cell, _known(groups[cell.id])) for cell in own)
        subjects.append(Subject(*dataset, tried, notes_of(results, dataset[0])))
    return subjects


def notes_of(results: Results, dataset: str) -> dict[str, Mapping[str, Any]]:
    """Return what training measured of each FaceNet on a data set, in the order of the models."""
    found = {}
    for row in results.models().to_dict("records"):
        card = row["card"] if isinstance(row["card"], Mapping) else {}
        notes = card.get("training")
        if row["dataset"] == dataset and isinstance(notes, Mapping) and "judging" in notes:
            found[str(row["model"])] = notes
    return found


def _known(records: pd.DataFrame) -> pd.DataFrame:
    known = records["error"].isna() & records["margin_adv"].notna()
    kept: pd.DataFrame = records[known & np.isfinite(records["margin_clean"])]
    return kept.reset_index(drop=True)
