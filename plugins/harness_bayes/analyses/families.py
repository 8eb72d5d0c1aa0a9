"""Claims are judged on families: all data sets made of the same images and classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.analysis.drawing import percent
from harness_bayes.analyses.study import CLOSEST, Attacked, Data, Study
from harness_bayes.analyses.variants import plain

WITHSTOOD = 0.95
"""A mean L2 over fewer of the right cases says so: those that withstood are in no mean."""


@dataclass(frozen=True, eq=False)
class Family:
    """A family holds all data sets that are made of the same images and classes."""

    study: Study
    attack: str
    """What claims are judged by: a label or name, or "closest"."""
    items: tuple[Attacked, ...]
    """Of this attack, on these data sets."""
    data: tuple[Data, ...]

    @property
    def identity(self) -> dict[str, Any]:
        """The columns that tell it from others in the table of claims."""
        return {
            "task": self.data[0].task,
            "datasets": ", ".join(data.label for data in self.data),
            "stand_in_for": self.data[0].stand_in_for,
            "attack": self.attack,
        }

    def of(self, group: str, kind: str) -> list[Attacked]:
        """Return a kind of model on data sets of a group; of CNNs and RBF SVMs no variants."""
        found = []
        for data in self.data:
            own = [item for item in self.items if item.data == data and item.model.kind == kind]
            kept = {model.label for model in plain([item.model for item in own], kind)}
            found += [item for item in own if data.group == group and item.model.label in kept]
        return found

    def pairs(self, group: str, one: str, other: str) -> list[tuple[Attacked, Attacked]]:
        """Return two kinds of models on the same data set of a group, under the same attack."""
        return [
            (first, second)
            for first in self.of(group, one)
            for second in self.of(group, other)
            if (first.data, first.attack, first.threat) == (second.data, second.attack, second.threat)
            or (first.data == second.data and first.attack == second.attack == CLOSEST)
        ]


def families(study: Study, attack: str) -> list[Family]:
    """Return data sets by what they are made of, in the order of the suite.

    Raises:
        HarnessError: there is no such attack.
    """
    items = study.of(attack)
    groups: dict[Any, list[Data]] = {}
    for data in study.datasets:
        groups.setdefault(data.family, []).append(data)
    return [
        Family(study, attack, tuple(item for item in items if item.data in own), tuple(own))
        for own in groups.values()
    ]


def reservations(used: Sequence[Attacked]) -> list[str]:
    """Return what numbers do not cover: cases without outcome, and cases that withstood."""
    told = [
        f"{item.name}: incomplete, {len(item.cases):,} of {item.planned:,} planned cases have an outcome"
        for item in used
        if item.coverage is None or item.coverage < 1
    ]
    for item in used:
        found = item.success
        if item.unlimited and found.value is not None and found.value < WITHSTOOD:
            told.append(
                f"{item.name}: {percent(found.value)} of the right cases were broken, those that "
                "withstood are in no mean"
            )
    return told
