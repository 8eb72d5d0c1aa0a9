"""Averages are means over symmetric data sets of what a model needs on each of them (figure 8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.metrics import Estimate
from harness.metrics.paired import mean_of
from harness_bayes.analyses.study import Attacked, Data, Model, reasons


@dataclass(frozen=True, eq=False)
class Averaged:
    """An Averaged model was attacked on several data sets; each counts alike."""

    items: tuple[Attacked, ...]
    """Of one model and attack, one per data set."""

    @property
    def model(self) -> Model:
        """Return the model."""
        return self.items[0].model

    @property
    def identity(self) -> dict[str, Any]:
        """Return what a table tells of it."""
        first = self.items[0].identity
        stands = dict.fromkeys(item.data.stand_in_for for item in self.items if item.data.stand_in_for)
        return first | {
            "dataset": mean_text([item.data for item in self.items]),
            "stand_in_for": ", ".join(stands) or None,
            "task": ", ".join(item.data.task for item in self.items),
        }

    @property
    def l2(self) -> Estimate:
        """Return the mean over data sets of the mean L2 of the adversarials."""
        return mean_of([item.l2 for item in self.items])

    @property
    def clean(self) -> Estimate:
        """Return the mean accuracy before the attack."""
        return mean_of([item.clean for item in self.items])

    @property
    def success(self) -> Estimate:
        """Return the mean share of right cases that were broken."""
        return mean_of([item.success for item in self.items])

    @property
    def coverage(self) -> float | None:
        """Return the least share of planned cases that have an outcome; None where a plan is not known."""
        known = [item.coverage for item in self.items]
        return None if None in known else min(part for part in known if part is not None)

    @property
    def reason(self) -> str | None:
        """Return why a number is missing or rests on fewer cases than planned."""
        return reasons(*(f"{item.data.label}: {item.reason}" for item in self.items if item.reason))


def mean_text(datasets: Sequence[Data]) -> str:
    """Return what means over data sets are called."""
    return f"mean of {', '.join(data.label for data in datasets)}"


def averaged(items: Sequence[Attacked], datasets: Sequence[Data]) -> list[Averaged]:
    """Return a mean for each model that was attacked on all of these data sets, in the order of ``items``."""
    labels = dict.fromkeys(item.model.label for item in items)
    own = {label: [item for item in items if item.model.label == label] for label in labels}
    groups = [[item for item in group if item.data in datasets] for group in own.values()]
    return [
        Averaged(tuple(group))
        for group in groups
        if len(group) == len(datasets) and {item.data for item in group} == set(datasets)
    ]
