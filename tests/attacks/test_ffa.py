"""FFA: closed forms on linear models, each kind of network, and what the judge says."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

import harness
from harness.catalog import catalog
from harness.errors import AttackError
from harness.goals import FlipAttribute
from harness.handle import Handle
from harness.threat import L2, Linf, Minimal, Region
from harness_attacks.ffa import ffa
from tests.attacks.conftest import Setting

MINIMAL = Minimal("linf")


class Linear(nn.Module):
    """Scores (B, M), linear in the grey levels above 100."""

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
    # The step is bounded, not what rounding makes of it: 8.4 grey levels round to 8, and are not tried.
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


# --- eq. 8's target, held at the original image ------------------------------------------------------------

HELD: dict[str, Any] = {"search": "iterative", "target": "held", "max_iterations": 40}
Image = npt.NDArray[np.float64]  # (C, H, W)


class OneScoreAlone(nn.Module):
    """A joint network behind ``select``, as if each attribute had a network of its own."""

    def __init__(self, joint: nn.Module) -> None:
        super().__init__()
        self.joint = joint

    def forward(self, x: Tensor) -> Tensor:
        return self.joint(x)

    def select(self, x: Tensor, columns: Tensor) -> Tensor:
        return self.joint(x).gather(1, columns[:, None])[:, 0]


def in_double(setting: Setting) -> Setting:
    """24 cases in float64. Logits are raised: if the smaller one is below 0, a held target flips nothing."""
    module = deepcopy(setting.module).double()
    if hasattr(module, "pairs"):
        module.both.body[-1].bias.data += 8  # type: ignore[union-attr, operator, index]
    few = setting.first(24)
    x = torch.round(few.x.double() * 255) / 255
    return replace(few, model=harness.wrap_model(module, "attributes"), x=x)


def plain_held(setting: Setting, case: int, steps: int) -> Image | None:
    """One image, one float64 step at a time: t is f(x), but for 0 for the attribute or the larger logit."""
    module, column = setting.module, int(setting.columns[case])

    def outputs(image: Image) -> tuple[Tensor, Tensor]:
        x = torch.from_numpy(image).requires_grad_()
        pairs = getattr(module, "pairs", None)
        return x, pairs(x[None])[0, column] if pairs else module(x[None])[0]

    def score(image: Image) -> float:
        values = outputs(image)[1].tolist()
        return values[1] - values[0] if hasattr(module, "pairs") else values[column]

    image = original = setting.x[case].numpy()
    first = outputs(original)[1].tolist()
    target = list(first)
    target[first.index(max(first)) if hasattr(module, "pairs") else column] = 0.0
    for _ in range(steps):
        x, values = outputs(image)
        loss = sum((wanted - value) ** 2 / 2 for wanted, value in zip(target, values, strict=True))
        (slope,) = torch.autograd.grad(loss, x)
        step = -slope.numpy()
        image = np.clip(image + step / np.abs(step).max() / 255, 0, 1)
        stored: Image = np.round(image * 255) / 255
        if (score(stored) > 1e-5) if score(original) < 0 else (score(stored) < -1e-5):
            return stored
    return None


@pytest.mark.parametrize("network", ["single", "joint", "softmax"])
def test_a_held_target_is_that_of_a_plain_loop_in_double(
    network: str, request: pytest.FixtureRequest
) -> None:
    setting = in_double(request.getfixturevalue(network))
    x = setting.x
    objective = setting.goal.objective(setting.model, setting.model.scores(x))
    handle = Handle(setting.model, len(x))
    found = ffa(handle, x, objective, MINIMAL, rng=None, **HELD)  # type: ignore[arg-type]
    expected = [plain_held(setting, case, 40) for case in range(len(x))]
    flipped = [image is not None for image in expected]
    assert sum(flipped) >= 6
    assert (found != x).flatten(1).any(1).tolist() == flipped
    for image, plain in zip(found, expected, strict=True):
        assert plain is None or np.abs(image.numpy() - plain).max() < 1e-9


def test_a_held_target_leaves_the_other_attributes_where_they_are(joint: Setting) -> None:
    few = joint.first(60)
    clean = few.model.scores(few.x)
    apart, flips = {}, {}
    for target in ("recomputed", "held"):
        params: dict[str, Any] = {**HELD, "target": target}
        outcome = harness.attack("ffa", few.model, few.x, goal=few.goal, threat=MINIMAL, **params)
        moved = (few.model.scores(outcome.adversarials) - clean).abs()
        moved.scatter_(1, few.columns[:, None], 0)
        apart[target], flips[target] = moved[outcome.success].mean(), outcome.success.float().mean()
    assert apart["held"] < 0.8 * apart["recomputed"]
    assert 0.3 < flips["held"] <= flips["recomputed"]


def test_a_held_target_changes_nothing_where_a_network_has_one_output(
    single: Setting, joint: Setting
) -> None:
    """Networks with ``select`` count as networks of one output each."""
    alone = harness.wrap_model(OneScoreAlone(joint.module), "attributes")
    for setting, model in ((single, single.model), (joint, alone)):
        held, recomputed = (
            harness.attack("ffa", model, setting.x, goal=setting.goal, threat=MINIMAL, **params)
            for params in (HELD, {**HELD, "target": "recomputed"})
        )
        assert held.success.any()
        assert torch.equal(held.adversarials, recomputed.adversarials)


@pytest.mark.parametrize("network", ["joint", "softmax"])
@pytest.mark.parametrize("compute", ["float32", "bfloat16"])
def test_a_held_target_takes_one_pass_more(
    network: str, compute: Any, request: pytest.FixtureRequest
) -> None:
    setting = request.getfixturevalue(network)
    params = {**HELD, "max_iterations": 12}
    outcome = harness.attack(
        "ffa", setting.model, setting.x, goal=setting.goal, threat=MINIMAL, compute=compute, **params
    )
    passes = catalog().attacks["ffa"].spec.passes
    assert passes is not None
    assert passes(params) == (outcome.forwards.max(), outcome.backwards.max()) == (25, 12)
    assert outcome.valid.all()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"search": "line"}, 'target = "held" needs search = "iterative"'),
        ({"crossed": "onward"}, 'crossed = "onward" follows no target'),
    ],
)
def test_a_held_target_is_refused_where_it_has_no_meaning(joint: Setting, params: Any, message: str) -> None:
    few = joint.first(2)
    with pytest.raises(AttackError, match=message):
        harness.attack("ffa", few.model, few.x, goal=few.goal, threat=MINIMAL, **{**HELD, **params})


def test_a_held_target_needs_attributes(classes: Setting) -> None:
    few = classes.first(2)
    with pytest.raises(AttackError, match="needs a goal of attributes"):
        harness.attack(ffa, few.model, few.x, goal=few.goal, threat=MINIMAL, **HELD)
