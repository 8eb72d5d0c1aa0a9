"""FFA: closed forms on linear models, each kind of network, and what the judge says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import harness
from harness.goals import FlipAttribute
from harness.threat import L2, Linf, Minimal, Region
from harness_attacks.ffa import ffa

MINIMAL = Minimal("linf")


class Linear(nn.Module):
    """Scores (B, M), linear in the 8-bit levels above 100."""

    def __init__(self, weights: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weights, self.bias = weights, bias  # (M, C, H, W), (M,)

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("bchw,mchw->bm", x * 255 - 100, self.weights) + self.bias


class LinearLogits(Linear):
    """Two logits (absent, present) of one attribute."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).diff(dim=1)

    def logits(self, x: Tensor, columns: Tensor) -> Tensor:
        return super().forward(x)


GREY = torch.full((1, 1, 2, 2), 100 / 255)


def flip(module: nn.Module, x: Tensor, column: int = 0, **params: Any) -> harness.Outcome:
    model = harness.wrap_model(module, "attributes")
    threat = params.pop("threat", MINIMAL)
    return harness.attack(ffa, model, x, goal=FlipAttribute(torch.tensor(column)), threat=threat, **params)


@pytest.mark.parametrize("sign", [1, -1])
def test_smallest_step_on_a_linear_score(sign: int) -> None:
    # Direction (1, 1/2, -1/4, 0): the score falls by 1 + 1/4 + 1/16 per level, if nothing were rounded.
    weights = torch.tensor([1.0, 0.5, -0.25, 0.0]).view(1, 1, 2, 2)
    outcome = flip(Linear(weights, torch.tensor([sign * 10.2])), GREY)
    delta = (outcome.adversarials - GREY).flatten() * 255
    # eps in [7.5, 8.5) and [7, 9) and [6, 10): 8 + 4 / 2 + 2 / 4 = 10.5, and (8, 3, -2), at 10, does not do
    assert delta.tolist() == pytest.approx([-sign * 8, -sign * 4, sign * 2, 0], abs=1e-3)
    assert outcome.success.all()


def test_only_the_chosen_score_of_a_joint_network_counts() -> None:
    weights = torch.zeros(2, 1, 2, 2)
    weights[0, 0, 0, 0], weights[1, 0, 1, 1] = 1.0, 100.0
    outcome = flip(Linear(weights, torch.tensor([4.5, 1000.0])), GREY)
    assert ((outcome.adversarials - GREY).flatten() * 255).tolist() == pytest.approx([-5, 0, 0, 0], abs=1e-3)


def test_the_larger_logit_alone_is_lowered() -> None:
    weights = torch.zeros(2, 1, 2, 2)
    weights[0, 0, 0, 0], weights[1, 0, 1, 1] = 1.0, 1.0
    outcome = flip(LinearLogits(weights, torch.tensor([2.0, 8.5])), GREY)  # present by 6.5
    assert ((outcome.adversarials - GREY).flatten() * 255).tolist() == pytest.approx([0, 0, 0, -7], abs=1e-3)
    assert outcome.success.all()


def test_a_negative_larger_logit_is_raised_and_cannot_flip() -> None:
    weights = torch.zeros(2, 1, 2, 2)
    weights[0, 0, 0, 0], weights[1, 0, 1, 1] = 1.0, 1.0
    outcome = flip(LinearLogits(weights, torch.tensor([-500.0, -400.5])), GREY)
    assert not outcome.reached.any()
    assert outcome.distances["linf"].item() == 0


@pytest.mark.parametrize("bias", [3.0, 0.0, -3.0])
def test_a_zero_gradient_is_a_failure_and_no_error(bias: float) -> None:
    outcome = flip(Linear(torch.zeros(1, 1, 2, 2), torch.tensor([bias])), GREY)
    assert not outcome.reached.any()
    assert outcome.valid.all()
    assert outcome.distances["linf"].item() == 0
    assert outcome.forwards.tolist() == outcome.backwards.tolist() == [1]


def test_one_case_without_a_gradient_leaves_the_others_alone() -> None:
    class Dead(Linear):
        def forward(self, x: Tensor) -> Tensor:
            live = (x[:, 0, 1, 1] > 0)[:, None]
            return torch.where(live, super().forward(x), 1.0)

    x = GREY.repeat(2, 1, 1, 1)
    x[0, 0, 1, 1] = 0
    outcome = flip(Dead(torch.tensor([1.0, 0, 0, 0]).view(1, 1, 2, 2), torch.tensor([3.5])), x)
    assert outcome.reached.tolist() == [False, True]


def test_the_region_is_all_that_changes(joint: Any) -> None:
    mask = torch.zeros(len(joint.x), 1, 16, 16, dtype=torch.bool)
    mask[:60, :, 4:12, 4:12] = True
    mask[60:, :, :8] = True
    outcome = harness.attack(ffa, joint.model, joint.x, goal=joint.goal, threat=Region(mask))
    delta = outcome.adversarials - joint.x
    assert outcome.valid.all()
    assert (delta.masked_fill(mask, 0) == 0).all()
    assert outcome.success.sum() > 60


@pytest.mark.parametrize("network", ["single", "joint", "softmax"])
def test_trained_networks(network: str, request: pytest.FixtureRequest) -> None:
    setting = request.getfixturevalue(network)
    kept = setting.x.clone()
    outcome = harness.attack("ffa", setting.model, setting.x, goal=setting.goal, threat=MINIMAL)
    assert torch.equal(setting.x, kept)
    assert outcome.valid.all()
    assert outcome.success.float().mean() > 0.95
    assert (outcome.backwards == 1).all()
    # The image one step before was tried, or equals the original: no adversarial is at distance 0.
    assert (outcome.distances["linf"] > 0).all()


def test_natural_adversarials_are_corrected(joint: Any) -> None:
    wrong = joint.model.decide(joint.model.scores(joint.x)).gather(1, joint.columns[:, None])[:, 0]
    cases = torch.nonzero(wrong != joint.labels).flatten()
    assert len(cases) >= 3
    goal = FlipAttribute(joint.columns[cases], joint.labels[cases])
    outcome = harness.attack(ffa, joint.model, joint.x[cases], goal=goal, threat=MINIMAL)
    scores = joint.model.scores(outcome.adversarials).gather(1, joint.columns[cases, None])[:, 0]
    assert ((scores > 0) == joint.labels[cases]).all()


def test_the_budget_bounds_the_search(joint: Any) -> None:
    outcome = harness.attack(ffa, joint.model, joint.x, goal=joint.goal, threat=Linf(8 / 255))
    free = harness.attack(ffa, joint.model, joint.x, goal=joint.goal, threat=MINIMAL)
    assert outcome.valid.all()
    within = torch.tensor((free.distances["linf"] <= 8 / 255 + 1e-6).to_numpy())
    assert 10 < within.sum() < len(joint.x)
    # The step is bounded, not what rounding makes of it: 8.4 levels round to 8, and are not tried.
    assert (outcome.success & within).sum() >= 0.9 * within.sum()


def test_any_other_norm_leaves_the_search_as_it_is(joint: Any) -> None:
    few = joint.first(8)
    found = [
        harness.attack(ffa, few.model, few.x, goal=few.goal, threat=threat).adversarials
        for threat in (MINIMAL, L2(1e3))
    ]
    assert torch.equal(*found)


@pytest.mark.parametrize("name", ["ffa", "fgs"])
def test_reduced_precision_changes_nothing(single: Any, name: str) -> None:
    found = [
        harness.attack(name, single.model, single.x, goal=single.goal, threat=MINIMAL, compute=compute)
        for compute in ("float32", "bfloat16")
    ]
    assert torch.equal(found[0].adversarials, found[1].adversarials)


@pytest.mark.parametrize("cases", [0, 1, 7])
def test_any_batch(joint: Any, cases: int) -> None:
    few = joint.first(cases)
    whole = harness.attack(ffa, joint.model, joint.x, goal=joint.goal, threat=MINIMAL)
    outcome = harness.attack(ffa, few.model, few.x, goal=few.goal, threat=MINIMAL)
    assert outcome.adversarials.shape == (cases, 3, 16, 16)
    # A pixel may round the other way where another batch's last bits decide the direction.
    levels = ((outcome.adversarials - whole.adversarials[:cases]) * 255).abs().flatten(1).sum(1)
    assert (levels <= 3).all()
