"""Errors are the shares of test images that a model classifies wrongly, by attribute, as its card tells."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.analysis.reading import kind_of
from harness.metrics import Estimate
from harness.results import Results
from harness_attributes.analyses.study import CONVERGED, EUCLIDEAN


@dataclass(frozen=True, eq=False)
class Scored:
    """A Scored is a model whose card tells its errors by attribute."""

    name: str
    kind: str
    """Its name in the catalogue."""
    loss: str
    checkpoint: str
    family: str
    """The same for models that differ only in their checkpoint."""
    errors: Mapping[str, float]
    below_trivial: Mapping[str, Estimate]
    """By how much it errs less than the commoner value does, paired by image; intervals where known."""
    coverage: float = 1.0
    reason: str | None = None

    @property
    def early(self) -> bool:
        """Whether it had not finished training."""
        return self.checkpoint != CONVERGED

    @property
    def trivial(self) -> dict[str, float]:
        """The errors of always answering the commoner value."""
        return {
            name: self.errors[name] + float(gain.value or 0.0) for name, gain in self.below_trivial.items()
        }


def errors_of(card: Mapping[str, Any], kind: str = "accuracy_by_attribute") -> dict[str, float]:
    """Return the classification errors by attribute that a card tells; none where it does not."""
    return {name: 1 - value for name, value in (card.get(kind) or {}).items()}


def scored(results: Results, dataset: str) -> list[Scored]:
    """Return the networks of a data set that tell their errors; the trivial classifier is none."""
    models = results.models()
    own = models[models["dataset"] == dataset]
    found = []
    for row in own.to_dict("records"):
        kind = kind_of(row["use"], row["model"])
        parameters, errors = dict(row["parameters"]), errors_of(row["card"])
        if errors and kind != "majority":
            rest = {name: value for name, value in parameters.items() if name != "checkpoint"}
            found.append(
                Scored(
                    name=row["model"],
                    kind=kind,
                    loss=str(parameters.get("loss") or EUCLIDEAN),
                    checkpoint=str(parameters.get("checkpoint") or CONVERGED),
                    family=json.dumps([kind, rest], sort_keys=True),
                    errors=errors,
                    below_trivial=_below_trivial(row["card"], errors),
                )
            )
    return found


def _below_trivial(card: Mapping[str, Any], errors: Mapping[str, float]) -> dict[str, Estimate]:
    trivial = errors_of(card, "majority_by_attribute")
    ends = card.get("above_majority_interval") or {}
    n = int(card.get("scored_images") or 0)
    found = {}
    for name, error in errors.items():
        if name in trivial:
            low, high = ends.get(name) or (None, None)
            found[name] = Estimate(trivial[name] - error, low, high, n)
    return found
