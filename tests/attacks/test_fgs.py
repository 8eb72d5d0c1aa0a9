"""FGS: closed forms on linear models, which way it goes for each goal, and the published oddity."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import harness
from harness.goals import Evade, FlipAttribute, Impersonate, Targeted
from harness.threat import Linf, Minimal, Region
from harness_attacks.fgs import fgs

MINIMAL = Minimal("linf")


class Linear(nn.Module):
    """One score (B, 1), linear in the 8-bit levels above 100."""

    def __init__(self, weights: Tensor, bias: float) -> None:
        super().__init__()
        self.weights, self.bias = weights, bias  # (C, H, W)

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("bchw,chw->b", x * 255 - 100, self.weights)[:, None] + self.bias


class LinearEuclidean(Linear):
    training_loss = staticmethod(nn.MSELoss(reduction="none"))


def grey(cases: int = 1) -> Tensor:
    return torch.full((cases, 3, 4, 4), 100 / 255)


@pytest.fixture
def weights() -> Tensor:
    return torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(3)) / 10


@pytest.mark.parametrize("bias", [-40.0, -3.33, 0.07, 2.0, 15.0, 50.0])
@pytest.mark.parametrize("label", [True, False])
def test_smallest_step_on_a_linear_score(weights: Tensor, bias: float, label: bool) -> None:
    # Whatever the label: a right decision is lost by ascending the loss, a wrong one corrected by descending.
    model = harness.wrap_model(Linear(weights, bias), "attributes")
    goal = FlipAttribute(torch.tensor(0), torch.tensor([label]))
    outcome = harness.attack(fgs, model, grey(), goal=goal, threat=MINIMAL)
    expected = math.ceil(abs(bias) / weights.abs().sum().item())
    assert outcome.success.all()
    assert outcome.distances["linf"].item() * 255 == pytest.approx(expected, abs=1e-3)
    delta = (outcome.adversarials - grey())[0] * 255
    assert torch.allclose(delta, -math.copysign(expected, bias) * weights.sign(), atol=1e-3)


def test_overshooting_a_euclidean_label_leads_away_from_the_boundary(weights: Tensor) -> None:
    model = harness.wrap_model(LinearEuclidean(weights, 1.5), "attributes")  # label +1, f y > 1
    outcome = harness.attack(fgs, model, grey(), goal=FlipAttribute(torch.tensor(0)), threat=MINIMAL)
    assert not outcome.reached.any()
    assert outcome.distances["linf"].item() == 0
    below = harness.wrap_model(LinearEuclidean(weights, 0.9), "attributes")
    outcome = harness.attack(fgs, below, grey(), goal=FlipAttribute(torch.tensor(0)), threat=MINIMAL)
    assert outcome.success.all()


def test_a_search_that_fails_asks_eight_times(weights: Tensor) -> None:
    model = harness.wrap_model(LinearEuclidean(weights, 1.5), "attributes")
    outcome = harness.attack(fgs, model, grey(), goal=FlipAttribute(torch.tensor(0)), threat=MINIMAL)
    assert outcome.forwards.tolist() == [1 + 8]  # the gradient, then 1, 3, …, 127, 255
    assert outcome.backwards.tolist() == [1]


@pytest.mark.parametrize(("size", "bias"), [(0, 1.0), (1, 1e3)])
def test_a_zero_gradient_is_a_failure_and_no_error(weights: Tensor, size: int, bias: float) -> None:
    # A score of 1000 saturates the logistic loss: in float32 it has no slope left, as with any attack on it.
    model = harness.wrap_model(Linear(size * weights, bias), "attributes")
    outcome = harness.attack(fgs, model, grey(), goal=FlipAttribute(torch.tensor(0)), threat=MINIMAL)
    assert not outcome.reached.any()
    assert outcome.valid.all()
    assert outcome.forwards.tolist() == [1]


def test_classes_are_left_and_reached(classes: Any) -> None:
    untargeted = harness.attack("fgs", classes.model, classes.x, goal=classes.goal, threat=MINIMAL)
    assert untargeted.valid.all()
    assert untargeted.success.all()
    targets = (classes.labels + 1) % 4
    goal = Targeted(targets, classes.labels)
    targeted = harness.attack("fgs", classes.model, classes.x, goal=goal, threat=MINIMAL)
    decided = classes.model.decide(classes.model.scores(targeted.adversarials))
    assert (decided[targeted.success] == targets[targeted.success]).all()
    assert targeted.success.float().mean() > 0.8


def test_what_is_wrong_already_stays_as_it_is(classes: Any) -> None:
    wrong = classes.model.decide(classes.model.scores(classes.x)) != classes.labels
    assert wrong.sum() >= 3
    outcome = harness.attack(fgs, classes.model, classes.x, goal=classes.goal, threat=MINIMAL)
    assert outcome.success[wrong].all()
    assert torch.equal(outcome.adversarials[wrong], classes.x[wrong])
    assert (outcome.forwards[wrong] == 1).all()
    assert (outcome.distances["linf"][~wrong.numpy()] > 0).all()


@pytest.mark.parametrize("goal", [Impersonate, Evade])
def test_embeddings(classes: Any, goal: type[Impersonate] | type[Evade]) -> None:
    # Any network embeds: its logits are the embedding, and the anchor is another (or the same) image's.
    embeddings = classes.model.scores(classes.x)
    anchors = embeddings.roll(1, 0) if goal is Impersonate else embeddings
    model = harness.wrap_model(classes.module, "embedding", threshold=4.0)
    outcome = harness.attack(fgs, model, classes.x + 0, goal=goal(anchors), threat=MINIMAL)
    assert outcome.valid.all()
    gap = (model.scores(outcome.adversarials) - anchors).norm(dim=1)
    assert (outcome.success == (gap < 4 if goal is Impersonate else gap >= 4)).all()
    if goal is Impersonate:
        assert outcome.success.float().mean() > 0.5
    else:
        # The distance has no slope at the anchor itself: nothing to follow, and no error.
        assert (outcome.distances["linf"][~outcome.success.numpy()] == 0).all()


def test_the_region_is_all_that_changes(classes: Any) -> None:
    mask = torch.zeros(16, 16, dtype=torch.bool)
    mask[2:14, 2:14] = True
    outcome = harness.attack(fgs, classes.model, classes.x, goal=classes.goal, threat=Region(mask))
    assert outcome.valid.all()
    assert ((outcome.adversarials - classes.x).masked_fill(mask, 0) == 0).all()
    assert outcome.success.float().mean() > 0.8


@pytest.mark.parametrize("cases", [0, 1, 7])
def test_any_batch(classes: Any, cases: int) -> None:
    few = classes.first(cases)
    whole = harness.attack(fgs, classes.model, classes.x, goal=classes.goal, threat=Linf(20 / 255))
    outcome = harness.attack(fgs, few.model, few.x, goal=few.goal, threat=Linf(20 / 255))
    assert torch.equal(outcome.adversarials, whole.adversarials[:cases])
    assert outcome.forwards.tolist() == whole.forwards[:cases].tolist()
