"""Odd but permitted parameters, budgets, masks and images give valid images, and never a traceback."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import harness
from harness.errors import HarnessError
from harness.goals import Evade, FlipAttribute, Impersonate, Targeted, Untargeted
from harness.model import Model
from harness.threat import L2, Linf, Threat
from tests.attacks.conftest import Setting

VALUES: dict[str, list[Any]] = {
    "steps": [1, 2, 5],
    "restarts": [1, 3],
    "targets": [1, 2, 50],
    "queries": [1, 33],
    "tests": [0, 3],
    "share": [1e-9, 0.5, 1.0],
    "eot": [1, 2],
    "early_stop": [True, False],
    "loss": ["cross-entropy", "dlr", "targeted-dlr", "margin"],
    "radius": [None, 1e-9, 1.0, 1e5],
    "step_size": [1e-9, 1.0, 1e5],
    "gamma": [1e-6, 0.5, 0.999],
    "relative": [True, False],
    "polish": [0, 1, 4],
    "neighbours": [0, 1, 9],
    "warm_up": [0, 1, 5],
    "searches": [1, 3],
    "iterations": [1, 4],
    "learning_rate": [1e-9, 0.01, 99.0],
    "initial_constant": [None, 1e-30, 1.0, 1e9],
    "confidence": [0.0, 0.5, 1e9],
    "abort_early": [True, False],
    "progress": [1e-9, 0.9, 1.0],
    "checks": [1, 20],
    "rescues": [0, 2],
}
NEAREST = {"loss": ["cross-entropy", "training", "margin", "both"]}
"""What the nearest adversarial is looked for along."""
OWN = {
    "apgd": ["steps", "restarts", "targets", "eot", "early_stop", "loss"],
    "fab": ["steps", "restarts", "targets", "tests", "eot", "early_stop"],
    "square-attack": ["queries", "restarts", "share"],
    "ddn": ["steps", "loss", "radius", "step_size", "gamma", "relative", "neighbours", "polish", "eot"],
    "fmn": ["steps", "loss", "step_size", "gamma", "relative", "neighbours", "polish", "eot"],
    "cw-l2": [
        "warm_up",
        "searches",
        "iterations",
        "learning_rate",
        "initial_constant",
        "confidence",
        "abort_early",
        "progress",
        "checks",
        "rescues",
        "polish",
        "eot",
    ],
    "standard": ["steps", "restarts", "targets", "queries", "eot"],
}


def problem(draws: np.random.Generator) -> tuple[Model, Tensor, Any]:
    """A linear model of a random head, images of a random shape, and a goal."""
    shape = (int(draws.choice([1, 3])), int(draws.integers(1, 9)), int(draws.integers(1, 9)))
    x = torch.from_numpy(draws.integers(0, 256, (3, *shape)) / 255).float()
    outputs = int(draws.integers(2, 6))
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(x[0].numel(), outputs)).eval()
    with torch.no_grad():
        module[1].weight.mul_(float(draws.choice([1.0, 1e4, 0.0, 1e-20])))  # type: ignore[operator]
    head = str(draws.choice(["attributes", "classes", "embedding"]))
    numbers = torch.from_numpy(draws.integers(0, outputs, 3))
    if head == "attributes":
        return harness.wrap_model(module, "attributes"), x, FlipAttribute(numbers)
    if head == "classes":
        goal = Untargeted(numbers) if draws.random() < 0.5 else Targeted(numbers)
        return harness.wrap_model(module, "classes"), x, goal
    kind = Impersonate if draws.random() < 0.5 else Evade
    return harness.wrap_model(module, "embedding"), x, kind(torch.randn(1, outputs), threshold=0.5)


@pytest.mark.filterwarnings("ignore::UserWarning")  # flags of models that are odd on purpose
@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("name", OWN)
def test_images_stay_valid(name: str, seed: int) -> None:
    torch.manual_seed(seed)
    draws = np.random.default_rng([seed, len(name)])
    model, x, goal = problem(draws)
    norm = "l2" if name in ("ddn", "cw-l2") else str(draws.choice(["linf", "l2"]))
    mask = None
    if draws.random() < 0.5:
        mask = torch.from_numpy(draws.random((3, 1, *x.shape[2:])) < draws.choice([0.0, 0.4, 1.0]))
    eps = float(draws.choice([0.0, 1e-4, 2 / 255, 0.3, 1.0]))
    threat = Threat(norm, eps, mask, levels=draws.choice([None, 255, 1]))
    values = VALUES | NEAREST if name in ("ddn", "fmn") else VALUES
    given = {key: values[key][int(draws.integers(len(values[key])))] for key in OWN[name]}
    outcome = harness.attack(name, model, x, goal=goal, threat=threat, **given)
    assert outcome.errors == ("",) * 3
    assert outcome.valid.all()


FLAGS = ("early_stop", "abort_early")
ODD = [0, -1, 1.5, 1e400, float("nan"), "1", "8/255", "margins", "", None, True, [1], {}]


@pytest.mark.parametrize("name", OWN)
def test_wrong_parameters_are_told_in_one_line(name: str, joint: Setting) -> None:
    """What is no value of a parameter is refused with its name; what is one is run."""
    few = joint.first(2)
    small = {key: VALUES[key][0] for key in OWN[name] if key not in FLAGS}
    threat = L2(0.3) if name in ("ddn", "cw-l2") else Linf(2 / 255)
    told: list[tuple[str, str]] = []
    for key, value in product([*OWN[name], "bpda", "step"], ODD):
        given = {**small, key: value}
        try:
            outcome = harness.attack(name, few.model, few.x, goal=few.goal, threat=threat, **given)
        except HarnessError as error:
            told.append((key, str(error)))
        else:
            assert outcome.valid.all()
    assert all(key in text and "\n" not in text for key, text in told)
    assert len(told) > 5 * len(OWN[name])
