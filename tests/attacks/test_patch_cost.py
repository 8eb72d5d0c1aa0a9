"""What patches per image cost: early stopping, the forecast, tests of stored images, cost curves."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import harness
from harness.goals import FlipAttribute
from harness.judge.trial import attempt
from harness.threat import Region
from harness_attacks.attack_specs import PATCH_ATTACKS
from harness_attacks.patch import patch
from harness_attacks.square import square

FACE = (-0.25, -0.25, 1.25, 1.25)
"""Where the crop lies, so that masks on images of 16x16 are large enough to matter."""
SPECS = {spec.name: spec for spec in PATCH_ATTACKS}


def window() -> Tensor:
    mask = torch.zeros(16, 16, dtype=torch.bool)
    mask[5:9, 5:10] = True
    return mask


def grid() -> Tensor:
    """bool (9, 16, 16), places of 4x4."""
    places = torch.zeros(9, 16, 16, dtype=torch.bool)
    for place in range(9):
        row, column = 2 + 4 * (place // 3), 2 + 4 * (place % 3)
        places[place, row : row + 4, column : column + 4] = True
    return places


@pytest.mark.parametrize("name", ["eyeglasses", "square"])
def test_early_stopping_saves_passes_and_loses_nothing(joint: Any, name: str) -> None:
    run, threat = (patch, Region(window())) if name == "eyeglasses" else (square, Region(grid()))

    def outcome(early_stop: bool) -> harness.Outcome:
        params = {"iterations": 30, "early_stop": early_stop}
        return harness.attack(run, joint.model, joint.x, goal=joint.goal, threat=threat, **params)

    stopped, full = outcome(True), outcome(False)
    assert (stopped.success == full.success).float().mean() >= 0.98
    assert stopped.success.float().mean() > 0.5
    assert stopped.forwards[stopped.success].float().mean() < full.forwards.float().mean() / 3
    steps = 60 if name == "eyeglasses" else 60 + 9 * 10
    assert set(full.backwards.tolist()) == {steps}
    assert (stopped.backwards[~stopped.success] == steps).all()
    early = stopped.backwards < steps
    assert stopped.success[early].all()


@pytest.mark.parametrize("name", ["eyeglasses", "square"])
@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("iterations", [1, 3, 12])
def test_the_forecast_bounds_the_passes(joint: Any, name: str, mirror: bool, iterations: int) -> None:
    spec, few = SPECS[name], joint.first(20)
    entry = harness.catalog().attacks[name]
    params: dict[str, Any] = {"iterations": iterations, "mirror": mirror, "face": FACE}
    resolved = {key: value.default for key, value in entry.parameters().items()} | params
    assert spec.passes is not None
    forwards, backwards = spec.passes(resolved)
    for early_stop in (True, False):
        outcome = harness.attack(name, few.model, few.x, goal=few.goal, early_stop=early_stop, **params)
        assert outcome.forwards.max() <= forwards
        assert outcome.backwards.max() <= backwards
    assert outcome.backwards.min() == backwards


def test_an_image_that_rounding_spoils_is_not_tested_at_every_step() -> None:
    class OffGrid(nn.Module):
        """Only images off the 8-bit grid look adversarial."""

        def forward(self, x: Tensor) -> Tensor:
            levels = x.flatten(1) * 255
            stored = (levels - levels.round()).abs().amax(1) < 1e-3
            return torch.where(stored, 1.0, -1.0)[:, None] + 0 * x.sum((1, 2, 3))[:, None]

    model = harness.wrap_model(OffGrid(), "attributes")
    x = torch.full((3, 1, 16, 16), 128 / 255)
    goal, params = FlipAttribute(torch.tensor(0)), {"iterations": 100, "restarts": 1}
    outcome = harness.attack(patch, model, x, goal=goal, threat=Region(window()), **params)
    assert not outcome.success.any()
    assert (outcome.backwards == 100).all()
    assert (outcome.forwards > 103).all()
    assert (outcome.forwards <= 109).all()


def test_cost_curves_learn_when_the_image_was_found(joint: Any) -> None:
    few = joint.first(40)
    for run, mask in ((patch, window()), (square, grid())):
        names = [str(case) for case in range(40)]
        trial = attempt(few.model, run, few.x, few.goal, Region(mask), seed=0, keys=names, parameters={})
        found = trial.meter.found
        assert (found > 0).all()
        assert (found <= trial.forwards).all()
        success = trial.verdict.success
        assert success.float().mean() > 0.5
        if run is patch:  # a case has one row, and ends when it succeeds
            assert torch.equal(found[success], trial.forwards[success])


class Watched(nn.Module):
    """One score (B, 1), the mean brightness above a bound, that remembers the sizes of its batches."""

    def __init__(self, bound: float) -> None:
        super().__init__()
        self.bound, self.sizes = bound, list[int]()

    def forward(self, x: Tensor) -> Tensor:
        self.sizes.append(len(x))
        return x.mean((1, 2, 3))[:, None] - self.bound


@pytest.mark.parametrize("cases", [3, 20])
def test_no_more_candidates_at_once_than_cases_or_places(cases: int) -> None:
    module = Watched(-1.0)  # out of reach
    x = torch.full((cases, 3, 16, 16), 128 / 255)
    model, goal = harness.wrap_model(module, "attributes"), FlipAttribute(torch.tensor(0))
    outcome = harness.attack(square, model, x, goal=goal, threat=Region(grid()), iterations=2)
    assert max(module.sizes) == max(cases, len(grid()))
    assert (outcome.backwards == 9 * 10 + 2 * 2).all()


@pytest.mark.filterwarnings("ignore:probabilities")  # a score of one attribute, above 0 on all images
def test_a_case_that_succeeds_at_the_first_place_is_asked_no_further() -> None:
    x = torch.full((20, 3, 16, 16), 128 / 255)
    x[10:] = 250 / 255
    model = harness.wrap_model(Watched(0.5005), "attributes")
    goal, threat = FlipAttribute(torch.tensor(0)), Region(grid())
    outcome = harness.attack(square, model, x, goal=goal, threat=threat, iterations=2)
    assert outcome.success[:10].all()
    assert outcome.forwards[:10].max() < 10  # within the first of nine places
    assert not outcome.success[10:].any()
