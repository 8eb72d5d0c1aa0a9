"""A forecast says what a plan will cost: cases, passes, operations and, where measured, seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from harness.cases import GOALS
from harness.cases.datasets import OpenedDataset, open_datasets
from harness.dataset import Dataset
from harness.errors import HarnessError
from harness.options import Options
from harness.parameters import jsonable
from harness.plan.cells import Cell, Plan
from harness.plan.datasets import DatasetChoice
from harness.plan.models import ModelChoice
from harness.session.device import device_of
from harness.shards.preparation import made_ready
from harness.training import StateDict
from harness.zoo import obtain
from harness.zoo.build import build
from harness.zoo.cards import read_card
from harness.zoo.fits import known_fit
from harness.zoo.weights import one_line

TERA = 1e12
SPEED = 10 * TERA
"""Floating-point operations a second with which times of unmeasured models are illustrated."""
EXAMINED = 16
"""So many images show what a model is like; a run asks more."""
BACKWARD = 1.0
"""Operations of a backward pass to the pixels, in forward passes; training needs twice as many."""


@dataclass(frozen=True)
class Forecast:
    """A forecast lists the cells of a plan with their cost, and what is to be trained first."""

    name: str
    cells: tuple[dict[str, Any], ...]
    skipped: tuple[dict[str, Any], ...]
    models: tuple[dict[str, Any], ...]
    unfitted: tuple[str, ...] = ()
    """Data sets that must be fitted to others before there are images."""
    shortage: tuple[str, ...] = ()
    """Lines on data sets that have fewer persons than a preset asks for."""

    @property
    def seconds(self) -> float | None:
        """Return the time of all attacks; None where a model was not measured yet."""
        return _total(self.cells, "seconds")

    @property
    def flops(self) -> float | None:
        """Return the most operations of attacks and judging; None where a model cannot be counted."""
        return _total(self.cells, "flops")

    @property
    def training_flops(self) -> float | None:
        """Return the most operations of the trainings to come; None where one cannot be counted."""
        return _total([model for model in self.models if not model["trained"]], "training_flops")

    @property
    def summary(self) -> str:
        """Return the whole cost in one line."""
        cases = sum(cell["cases"] for cell in self.cells)
        untrained = list(dict.fromkeys(model["model"] for model in self.models if not model["trained"]))
        parts = [f"{len(self.cells)} cells, {cases} cases, {len(self.skipped)} skipped"]
        if self.seconds is not None:
            parts.append(f"about {_duration(self.seconds)} of attacks at most")
        elif self.flops is not None:
            parts.append(f"attacks: {_operations(self.flops)}")
        else:
            parts.append("seconds are known once the models are trained and measured")
        if self.unfitted:
            parts.append(f"to be fitted first: {', '.join(self.unfitted)}")
        if untrained:
            training = self.training_flops
            cost = f" ({_operations(training)})" if training is not None else ""
            parts.append(f"to be trained first{cost}: {', '.join(untrained)}")
        return f"{self.name}: {'; '.join(parts)}"

    def as_dict(self) -> dict[str, Any]:
        """Return the forecast as --json prints it."""
        return {
            "suite": self.name,
            "cells": list(self.cells),
            "skipped": list(self.skipped),
            "models": list(self.models),
            "unfitted": list(self.unfitted),
            "shortage": list(self.shortage),
            "seconds": self.seconds,
            "flops": self.flops,
            "training_flops": self.training_flops,
        }


def forecast(planned: Plan, options: Options) -> Forecast:
    """Return the expected cost of a plan; this opens the data sets, but trains nothing.

    Models whose weights are there are examined on a few images.

    Operations are counted on the models as they are planned (one forward pass on no device); a backward pass
    to the pixels counts as one forward pass, one of training as two. They are upper bounds where attacks or
    trainings may end early.
    """
    unfitted: list[str] = []

    def known(choice: DatasetChoice, source: Dataset | None) -> StateDict | None:
        found = known_fit(choice, source, planned.suite.seed)
        if found is None:
            unfitted.append(choice.label)
        return found

    loaded = open_datasets(planned, options.limit, known)
    models = []
    rows: dict[tuple[Any, Any], dict[str, Any]] = {}
    for dataset, model in planned.trainings:
        row = _model(model, loaded[dataset], planned.suite.seed)
        if row["trained"] and not unfitted:
            row |= _examined(
                model, loaded[dataset], planned, device_of(options.device or planned.suite.device)
            )
        rows[dataset, model] = row
        models.append({"dataset": dataset.label, **row})
    cells = tuple(_cell(cell, loaded[cell.dataset], rows[cell.dataset, cell.model]) for cell in planned.cells)
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
    shortage = tuple(line for data in loaded.values() for line in data.shortage)
    return Forecast(planned.suite.name, cells, skipped, tuple(models), tuple(unfitted), shortage)


def _model(choice: ModelChoice, data: OpenedDataset, seed: int) -> dict[str, Any]:
    spec = choice.entry.spec
    card = read_card(choice, data.dataset, seed)
    trained = card is not None or choice.weights is not None or spec.train is None
    flops = _forward_flops(choice, data.dataset, seed)
    training = None
    if not trained and flops is not None:
        training = _training_flops(choice, len(data.dataset.rows("train")), flops)
    return {
        "model": choice.label,
        "trained": trained,
        "card": card,
        "forward_flops": flops,
        "training_flops": training,
        "flags": [],
        "error": None,
    }


def _training_flops(choice: ModelChoice, images: int, flops: float) -> float | None:
    """Return the most operations of a training on so many images; None where its spec does not say."""
    spec = choice.entry.spec
    if spec.training_flops is not None:
        return spec.training_flops(choice.parameters, images, flops)
    if spec.training_passes is not None:
        return spec.training_passes(choice.parameters) * images * flops * (1 + 2 * BACKWARD)
    return None


def _examined(
    choice: ModelChoice, data: OpenedDataset, planned: Plan, device: torch.device
) -> dict[str, Any]:
    """Return the flags of a model by its answers on a few images, or why it cannot be run."""
    try:
        trained = obtain(choice, data.dataset, planned.suite.seed, device)
        ready = made_ready(choice, trained, data, planned.suite.batch_size)
        return {"flags": sorted(ready.signs_on(EXAMINED) or ()), "error": None}
    except HarnessError as error:
        return {"flags": [], "error": str(error)}
    except (Exception, SystemExit) as error:  # whatever a plugin raises: the plan is shown all the same
        return {"flags": [], "error": f"{choice.place}: {one_line(error)}"}


def _forward_flops(choice: ModelChoice, dataset: Dataset, seed: int) -> float | None:
    """Return the operations of a forward pass of one image, or None where they cannot be counted."""
    try:
        with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
            module = build(choice, dataset, seed).eval()
            module(torch.zeros((1, *dataset.shape)))
    except Exception:  # a model that needs its device, or its weights, to be run
        return None
    return float(counter.get_total_flops())


def _cell(cell: Cell, data: OpenedDataset, model: Mapping[str, Any]) -> dict[str, Any]:
    cases = GOALS[cell.goal].count(cell, data.dataset, len(data.rows), data.comparisons)
    forwards, backwards = _passes(cell)
    if cell.attack.fit is not None:
        # Those that it learns on have no records, and their passes are booked on the others.
        judged = 1 - cell.attack.fit
        cases, forwards, backwards = round(cases * judged), forwards / judged, backwards / judged
    known = forwards < inf
    card, flops = model["card"], model["forward_flops"]
    # Many equal networks are asked one at a time by attacks, and all by the judge.
    networks = 1
    if cell.model.entry.spec.counted_per == "attribute":
        networks = len(cell.model.attributes or data.dataset.attribute_names)

    compared = data.comparisons if cell.model.entry.spec.head == "embedding" else None
    looks = (
        2 if compared is not None and compared.settings.mirror else 1
    )  # at the image, and at its mirror image

    def cost(forward: float, backward: float) -> float:
        return looks * cases * ((forwards * forward + backwards * backward) / networks + forward)

    measured = known and card is not None and "forward_seconds" in card
    seconds = cost(card["forward_seconds"], card["backward_seconds"]) if measured else None
    return {
        "dataset": cell.dataset.label,
        "stand_in_for": cell.dataset.stand_in_for,
        "model": cell.model.label,
        "attack": cell.attack_label,
        "threat": cell.attack.threat.label,
        "goal": cell.goal,
        "parameters": jsonable(cell.attack.parameters),
        "cases": cases,
        "forwards": cases * forwards if known else None,
        "backwards": cases * backwards if known else None,
        "seconds": seconds,
        "flops": cost(flops, BACKWARD * flops) if known and flops is not None else None,
    }


def _passes(cell: Cell) -> tuple[float, float]:
    """Return the most forward and backward passes per case; infinite where the attack's spec has none."""
    if cell.source:  # booked on the surrogate
        return 0.0, 0.0
    return cell.attack.entry.spec.forecast(cell.attack.parameters) or (inf, inf)


def _total(rows: Any, name: str) -> float | None:
    known = [row[name] for row in rows]
    return None if None in known else sum(known)


def _operations(flops: float) -> str:
    return f"{flops:.1e} floating-point operations, {_duration(flops / SPEED)} at {SPEED / TERA:g} TFLOP/s"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
