"""The iterative searches: closed forms on linear models, when cases leave, and what bounds them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import harness
from harness.catalog import catalog
from harness.errors import AttackError
from harness.goals import FlipAttribute
from harness.threat import Linf, Minimal, Region, Threat
from harness_attacks.ffa import ffa
from harness_attacks.fgs import fgs

MINIMAL = Minimal("linf")
ATTACKS = [ffa, fgs]


class Linear(nn.Module):
    """One score (B, 1), linear in the 8-bit levels above 100; counts the rows that it was asked about."""

    def __init__(self, weights: Tensor, bias: float) -> None:
        super().__init__()
        self.weights, self.bias, self.asked = weights, bias, []

    def forward(self, x: Tensor) -> Tensor:
        self.asked.append(len(x))
        return torch.einsum("bchw,chw->b", x * 255 - 100, self.weights)[:, None] + self.bias


class LinearEuclidean(Linear):
    training_loss = staticmethod(nn.MSELoss(reduction="none"))


WEIGHTS = torch.tensor([1.0, 0.3, -0.2, 0.0]).view(1, 2, 2)
GREY = torch.full((1, 1, 2, 2), 100 / 255)


def search(attack: Any, module: nn.Module, x: Tensor = GREY, **params: Any) -> harness.Outcome:
    model = harness.wrap_model(module, "attributes")
    goal = FlipAttribute(torch.tensor(0), params.pop("labels", None))
    threat = params.pop("threat", MINIMAL)
    return harness.attack(attack, model, x, goal=goal, threat=threat, search="iterative", **params)


def moved(outcome: harness.Outcome, x: Tensor = GREY) -> list[int]:
    return ((outcome.adversarials - x) * 255).round().flatten().int().tolist()


@pytest.mark.parametrize("sign", [1, -1])
def test_ffa_keeps_fractions_of_a_level(sign: int) -> None:
    # Rounded after every step, 0.3 and 0.2 would never become a level. 8 + 2 * 0.3 + 2 * 0.2 = 9 > 8.9
    outcome = search(ffa, Linear(WEIGHTS, sign * 8.9))
    assert moved(outcome) == [-sign * 8, -sign * 2, sign * 2, 0]
    assert outcome.success.all()
    assert (outcome.forwards.item(), outcome.backwards.item()) == (16, 8)


@pytest.mark.parametrize("label", [True, False])
@pytest.mark.parametrize("bias", [4.6, -4.6])
def test_fgs_moves_by_whole_levels_and_pays_for_no_test(bias: float, label: bool) -> None:
    outcome = search(fgs, Linear(WEIGHTS, bias), labels=torch.tensor([label]))
    steps = math.ceil(4.6 / 1.5)
    assert moved(outcome) == [int(-math.copysign(steps, bias) * w) for w in WEIGHTS.sign().flatten()]
    # a forward pass where it began, and one after each step
    assert outcome.forwards.tolist() == [1 + steps]


def test_fgs_in_reduced_precision_tests_in_float32() -> None:
    outcome = search(fgs, Linear(WEIGHTS, 4.6), compute="bfloat16")
    assert outcome.success.all()
    assert (outcome.forwards.item(), outcome.backwards.item()) == (5 + 4, 4)


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_case_that_never_flips_comes_back_as_it_was(attack: Any) -> None:
    outcome = search(attack, Linear(WEIGHTS, 50.0), max_iterations=7)
    assert not outcome.reached.any()
    assert moved(outcome) == [0, 0, 0, 0]
    assert outcome.backwards.tolist() == [7]


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_zero_gradient_is_a_failure_and_no_error(attack: Any) -> None:
    outcome = search(attack, Linear(0 * WEIGHTS, 1.0))
    assert not outcome.reached.any()
    assert outcome.valid.all()
    assert outcome.errors == ("",)
    assert outcome.forwards.tolist() == outcome.backwards.tolist() == [1]


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("bound", ["box", "budget", "region"])
def test_a_standstill_ends_the_search(attack: Any, bound: str) -> None:
    threat, x, bias = MINIMAL, GREY, 20.0
    if bound == "box":
        x, bias = torch.zeros(1, 1, 2, 2), 110.0
        x[0, 0, 0, 0] = 2 / 255
    elif bound == "budget":
        threat = Linf(2 / 255)
    else:
        threat = Region(torch.tensor([[False, False], [False, True]]))  # whose weight is 0
    weights = torch.tensor([1.0, 0, 0, 0]).view(1, 2, 2)
    outcome = search(attack, Linear(weights, bias), x, threat=threat)
    assert moved(outcome, x) == [0, 0, 0, 0]
    assert outcome.backwards.item() == (1 if bound == "region" else 3)


def test_the_published_oddities_are_met_at_each_step() -> None:
    # f y > 1: the Euclidean loss leads away from the boundary, and further at each step.
    assert not search(fgs, LinearEuclidean(WEIGHTS, 1.5), max_iterations=20).reached.any()
    assert search(fgs, LinearEuclidean(WEIGHTS, 0.9), max_iterations=20).success.all()

    class Logits(Linear):
        """Two logits: that of absence as above, and a constant one of presence."""

        def __init__(self, bias: float, present: float) -> None:
            super().__init__(WEIGHTS, bias)
            self.present = present

        def logits(self, x: Tensor, columns: Tensor) -> Tensor:
            absent = Linear.forward(self, x)
            return torch.cat([absent, torch.full_like(absent, self.present)], 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.logits(x, torch.zeros(len(x))).diff(dim=1)

    # The larger logit is lowered while it is positive: 8 levels to get below 1, and never below -1.
    assert search(ffa, Logits(9.1, 1.0)).success.all()
    for larger in (9.1, -0.5):
        assert not search(ffa, Logits(larger, -10.0), max_iterations=30).reached.any()


def test_finished_cases_leave_the_batch() -> None:
    x = GREY.repeat(3, 1, 1, 1)
    x[1, 0, 0, 0] += 3 / 255  # three steps more
    x[2, 0, 0, 0] += 30 / 255  # more than there are
    weights = torch.tensor([1.0, 0, 0, 0]).view(1, 2, 2)
    module = Linear(weights, 1.5)
    outcome = search(ffa, module, x, max_iterations=6)
    assert outcome.reached.tolist() == [True, True, False]
    assert outcome.backwards.tolist() == [2, 5, 6]
    assert module.asked == [3, *[3] * 4, *[2] * 6, *[1] * 2, 3]  # clean, gradients and tests, judge


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("eps", [4, 6.8])
def test_a_budget_is_never_left(single: Any, attack: Any, eps: float) -> None:
    params = {"search": "iterative", "max_iterations": 25}
    free, bounded = (
        harness.attack(attack, single.model, single.x, goal=single.goal, threat=threat, **params)
        for threat in (MINIMAL, Linf(eps / 255))
    )
    assert bounded.valid.all()
    assert (bounded.distances["linf"] * 255 < math.floor(eps) + 1e-3).all()
    within = torch.tensor((free.distances["linf"] <= eps / 255).to_numpy()) & free.success
    assert within.sum() > 5
    assert bounded.success[within].all()
    # What needs more than the budget may still find a way inside it, and is otherwise left as it was.
    assert (bounded.distances["linf"][~bounded.success.numpy()] == 0).all()


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_region_is_all_that_changes(single: Any, attack: Any) -> None:
    mask = torch.zeros(len(single.x), 1, 16, 16, dtype=torch.bool)
    mask[:60, :, 4:12, 4:12] = True
    mask[60:, :, :8] = True
    outcome = harness.attack(
        attack,
        single.model,
        single.x,
        goal=single.goal,
        threat=Region(mask),
        search="iterative",
        max_iterations=40,
    )
    assert outcome.valid.all()
    assert ((outcome.adversarials - single.x).masked_fill(mask, 0) == 0).all()
    assert outcome.success.sum() > 30


@pytest.mark.parametrize("network", ["single", "joint", "softmax"])
@pytest.mark.parametrize("compute", ["float32", "bfloat16"])
def test_trained_networks(network: str, compute: Any, request: pytest.FixtureRequest) -> None:
    setting = request.getfixturevalue(network).first(60)
    kept = setting.x.clone()
    line, steps = (
        harness.attack(
            ffa,
            setting.model,
            setting.x,
            goal=setting.goal,
            threat=MINIMAL,
            search=search,
            compute=compute,
            max_iterations=80,
        )
        for search in ("line", "iterative")
    )
    assert torch.equal(setting.x, kept)
    assert steps.valid.all()
    # What comes back changed has flipped, by the judge's own float32.
    assert torch.equal(steps.success, torch.tensor((steps.distances["linf"] > 0).to_numpy()))
    # A logit that is brought to 0 stays there: the published target cannot pass another logit below 0.
    assert steps.success.float().mean() > (0.5 if network == "softmax" else 0.9)
    both = (line.success & steps.success).numpy()
    assert steps.distances["l2"][both].mean() < 1.02 * line.distances["l2"][both].mean()


def test_natural_adversarials_are_corrected(joint: Any) -> None:
    wrong = joint.model.decide(joint.model.scores(joint.x)).gather(1, joint.columns[:, None])[:, 0]
    cases = torch.nonzero(wrong != joint.labels).flatten()
    goal = FlipAttribute(joint.columns[cases], joint.labels[cases])
    for attack in ATTACKS:
        outcome = harness.attack(
            attack, joint.model, joint.x[cases], goal=goal, threat=MINIMAL, search="iterative"
        )
        scores = joint.model.scores(outcome.adversarials).gather(1, joint.columns[cases, None])[:, 0]
        assert (((scores > 0) == joint.labels[cases]) == outcome.success).all()
        assert outcome.success.sum() >= len(cases) - 1  # one of FFA's swings about the boundary to the end


def test_what_is_wrong_already_stays_as_it_is(classes: Any) -> None:
    wrong = classes.model.decide(classes.model.scores(classes.x)) != classes.labels
    for compute in ("float32", "bfloat16"):
        outcome = harness.attack(
            fgs,
            classes.model,
            classes.x,
            goal=classes.goal,
            threat=MINIMAL,
            search="iterative",
            compute=compute,  # type: ignore[arg-type]
        )
        assert outcome.success.all()
        assert torch.equal(outcome.adversarials[wrong], classes.x[wrong])
        assert (outcome.forwards[wrong] == 1).all()


@pytest.mark.parametrize("threat", [MINIMAL, Linf(5 / 255), Minimal("linf", levels=15)])
@pytest.mark.parametrize("compute", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["ffa", "fgs"])
@pytest.mark.parametrize("search", ["line", "iterative"])
@pytest.mark.parametrize("root", ["bisect", "interpolate"])
def test_passes_are_no_more_than_foretold(
    single: Any, name: str, search: str, root: str, compute: Any, threat: Threat
) -> None:
    few = single.first(40)
    params: dict[str, Any] = {"search": search, "max_iterations": 12}
    if name == "ffa":
        params["root"] = root
    elif root == "interpolate":
        pytest.skip("FGS bisects whole levels")
    outcome = harness.attack(name, few.model, few.x, goal=few.goal, threat=threat, compute=compute, **params)
    spec = catalog().attacks[name].spec
    assert spec.passes is not None
    forwards, backwards = spec.passes(
        {"max_steps": 20, "max_bisections": 24, "target": "recomputed", **params}
    )
    assert outcome.forwards.max() <= forwards
    assert outcome.backwards.max() <= backwards
    assert outcome.valid.all()


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("cases", [0, 1])
def test_hardly_any_cases(single: Any, attack: Any, cases: int) -> None:
    few = single.first(cases)
    outcome = harness.attack(attack, few.model, few.x, goal=few.goal, threat=MINIMAL, search="iterative")
    assert outcome.adversarials.shape == (cases, 3, 16, 16)


@pytest.mark.parametrize("attack", ATTACKS)
def test_impossible_requests_are_refused(single: Any, attack: Any) -> None:
    with pytest.raises(AttackError, match="max_iterations=0"):
        harness.attack(
            attack,
            single.model,
            single.x,
            goal=single.goal,
            threat=MINIMAL,
            search="iterative",
            max_iterations=0,
        )


# --- beyond the boundary ----------------------------------------------------------------------------------


def test_going_on_beyond_the_boundary_flips_what_turning_back_does_not(joint: Any) -> None:
    """On the way to the boundary both are one; of the cases whose rounding lags behind, "back" loses some."""
    found = {
        crossed: harness.attack(
            "ffa",
            joint.model,
            joint.x,
            goal=joint.goal,
            threat=Minimal("linf"),
            search="iterative",
            max_iterations=60,
            crossed=crossed,
        )
        for crossed in ("back", "onward")
    }
    back, onward = found["back"], found["onward"]
    assert onward.success.all()
    assert onward.backwards.float().mean() <= back.backwards.float().mean()
    same = (back.backwards == onward.backwards) & back.success
    assert same.float().mean() > 0.5
    levels = ((back.adversarials - onward.adversarials)[same] * 255).abs().flatten(1).amax(1)
    assert (levels <= 1.01).all()


def test_going_on_is_refused_where_there_are_two_logits(softmax: Any) -> None:
    few = softmax.first(2)
    with pytest.raises(AttackError, match="this network has two logits"):
        harness.attack(
            "ffa",
            few.model,
            few.x,
            goal=few.goal,
            threat=Minimal("linf"),
            search="iterative",
            crossed="onward",
        )
