"""Forecast: what a plan will cost, in cases, passes and, for models that were measured, seconds."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import Any

from harness.loading import Loaded, open_datasets
from harness.options import Options
from harness.parameters import jsonable
from harness.plan import Cell, Plan
from harness.zoo import read_card


@dataclass(frozen=True)
class Forecast:
    """The cells of a plan with their expected cost, and what is skipped."""

    name: str
    cells: tuple[dict[str, Any], ...]
    skipped: tuple[dict[str, Any], ...]
    models: tuple[dict[str, Any], ...]

    @property
    def seconds(self) -> float | None:
        """Of all cells; None where a model was not measured yet."""
        known = [cell["seconds"] for cell in self.cells]
        return None if None in known else sum(known)

    @property
    def summary(self) -> str:
        """One line: how much it is in all."""
        cases = sum(cell["cases"] for cell in self.cells)
        untrained = [model["model"] for model in self.models if not model["trained"]]
        cost = (
            f"about {_duration(self.seconds)} of attacks at most"
            if self.seconds is not None
            else "seconds are known once the models are trained and measured"
        )
        training = f"; to be trained first: {', '.join(untrained)}" if untrained else ""
        extent = f"{len(self.cells)} cells, {cases} cases, {len(self.skipped)} skipped"
        return f"{self.name}: {extent}; {cost}{training}"

    def as_dict(self) -> dict[str, Any]:
        """As --json prints it."""
        return {
            "suite": self.name,
            "cells": list(self.cells),
            "skipped": list(self.skipped),
            "models": list(self.models),
            "seconds": self.seconds,
        }


def forecast(planned: Plan, options: Options) -> Forecast:
    """Expected cost of a plan: opens the data sets, reads no image and trains nothing."""
    loaded = open_datasets(planned, options.limit)
    models = []
    cards: dict[tuple[int, int], dict[str, Any] | None] = {}
    for dataset in planned.datasets:
        for model in planned.models:
            card = read_card(model, loaded[dataset].dataset, planned.suite.seed)
            cards[id(dataset), id(model)] = card
            trained = card is not None or model.weights is not None or model.entry.spec.train is None
            models.append({"dataset": dataset.label, "model": model.label, "trained": trained, "card": card})
    cells = tuple(
        _cell(cell, loaded[cell.dataset], cards[id(cell.dataset), id(cell.model)]) for cell in planned.cells
    )
    skipped = tuple(
        {
            "dataset": item.dataset.label,
            "model": item.model.label,
            "attack": item.attack_label,
            "threat": item.attack.threat.label,
            "reason": item.reason,
        }
        for item in planned.skipped
    )
    return Forecast(planned.suite.name, cells, skipped, tuple(models))


def _cell(cell: Cell, data: Loaded, card: dict[str, Any] | None) -> dict[str, Any]:
    cases = len(data.rows)
    if cell.goal == "flip":
        answered = cell.model.attributes or data.dataset.attribute_names
        flipped = cell.source.model.attributes if cell.source else None
        allowed = (cell.attack.attributes, flipped)
        cases *= sum(all(names is None or name in names for names in allowed) for name in answered)
    if cell.source:
        # What the attack costs is booked on the surrogate; the victim answers each image once.
        forwards = backwards = 0.0
        passes: Any = True
    else:
        passes = cell.attack.entry.spec.passes
        forwards, backwards = passes(cell.attack.parameters) if passes else (nan, nan)
    seconds = None
    if passes and card and "forward_seconds" in card:
        # One pass more than the attack's own: the judge's.
        seconds = cases * ((forwards + 1) * card["forward_seconds"] + backwards * card["backward_seconds"])
    return {
        "dataset": cell.dataset.label,
        "stand_in_for": cell.dataset.stand_in_for,
        "model": cell.model.label,
        "attack": cell.attack_label,
        "threat": cell.attack.threat.label,
        "goal": cell.goal,
        "parameters": jsonable(cell.attack.parameters),
        "cases": cases,
        "forwards": cases * forwards if passes else None,
        "backwards": cases * backwards if passes else None,
        "seconds": seconds,
    }


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
