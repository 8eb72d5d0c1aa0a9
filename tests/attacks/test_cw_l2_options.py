"""What CW-L2's parameters promise, and what it promises whatever they are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import harness
from harness.catalog import catalog
from harness.goals import FlipAttribute, Untargeted
from harness.threat import L2, Minimal, Region
from harness_attacks.costs import passes_of_cw
from harness_attacks.cw_l2 import ABOVE, _at_rest, _warmed
from harness_attacks.oracle import Oracle
from tests.attacks.conftest import Setting

REAL = Minimal("l2", levels=None)
"""Judged as it is, without rounding."""


@pytest.fixture
def few(classes: Setting) -> Setting:
    """Eighty of the cases."""
    return classes.first(80)


def distances(outcome: harness.Outcome) -> Tensor:
    return torch.tensor(outcome.distances["l2"].to_numpy())


def test_an_image_that_is_there_already_stays(classes: Setting) -> None:
    wrong = Untargeted((classes.model.scores(classes.x).argmax(1) + 1) % 4)
    outcome = harness.attack("cw-l2", classes.model, classes.x, goal=wrong, threat=REAL)
    assert torch.equal(outcome.adversarials, classes.x)
    assert (outcome.forwards == 1).all()
    assert (outcome.backwards == 0).all()


@pytest.mark.parametrize("polish", [0, 10])
@pytest.mark.parametrize("kappa", [0.5, 1.0])
def test_confidence_is_a_margin(few: Setting, kappa: float, polish: int) -> None:
    settings: dict[str, Any] = {"goal": few.goal, "threat": REAL, "iterations": 80, "polish": polish}
    sure = harness.attack("cw-l2", few.model, few.x, confidence=kappa, **settings)
    objective = few.goal.objective(few.model, few.model.scores(few.x))
    margins = objective.margin(few.model.scores(sure.adversarials))
    assert sure.success.all()
    assert margins.min() >= kappa - 1e-5
    if polish:  # to where the margin is no larger than it must be
        assert margins[objective.correct].median() < kappa + 0.01
    plain = harness.attack("cw-l2", few.model, few.x, **settings)
    begun = objective.correct
    assert distances(plain)[begun].mean() < distances(sure)[begun].mean()


@pytest.mark.parametrize("compute", ["float32", "bfloat16"])
@pytest.mark.parametrize("network", ["classes", "joint", "softmax"])
def test_polished_images_have_the_confidence_after_rounding(
    network: str, compute: Any, request: pytest.FixtureRequest
) -> None:
    setting = request.getfixturevalue(network).first(40)
    outcome = harness.attack(
        "cw-l2",
        setting.model,
        setting.x,
        goal=setting.goal,
        threat=Minimal("l2"),
        compute=compute,
        iterations=60,
        confidence=0.5,
    )
    objective = setting.goal.objective(setting.model, setting.model.scores(setting.x))
    assert outcome.success.all()
    assert objective.margin(setting.model.scores(outcome.adversarials)).min() >= 0.5


def test_nothing_outside_the_region_changes(few: Setting) -> None:
    mask = torch.zeros(16, 16, dtype=torch.bool)
    mask[2:14, 4:12] = True
    each = torch.zeros(len(few.x), 1, 16, 16, dtype=torch.bool)
    each[::2, :, 1:13, 1:13] = True
    each[1::2, :, 3:15, 2:15] = True
    for region in (mask, each):
        outcome = harness.attack(
            "cw-l2",
            few.model,
            few.x,
            goal=few.goal,
            threat=Region(region, norm="l2"),
            iterations=60,
        )
        assert outcome.valid.all()
        assert outcome.success.float().mean() > 0.95
        changed = (outcome.adversarials != few.x).any(1, keepdim=True)
        assert not (changed & ~region).any()


def test_cases_that_come_to_rest_leave(few: Setting) -> None:
    settings: dict[str, Any] = {"goal": few.goal, "threat": REAL, "iterations": 100, "rescues": 0}
    settings |= {"warm_up": 0, "searches": 3}
    early = harness.attack("cw-l2", few.model, few.x, **settings)
    late = harness.attack("cw-l2", few.model, few.x, abort_early=False, **settings)
    begun = late.backwards > 0
    assert (late.backwards[begun] >= 300).all()
    assert early.backwards[begun].float().mean() < 200
    assert early.backwards[begun].unique().numel() > 5  # each when it is ready
    assert distances(early)[begun].mean() <= 1.01 * distances(late)[begun].mean()


@pytest.mark.parametrize(("chosen", "steps"), [({}, 10), ({"checks": 4}, 50), ("paper", 20)])
def test_progress_is_checked_at_equal_intervals(classes: Setting, chosen: Any, steps: int) -> None:
    """Progress that no case makes ends each search at its second check; the paper preset has ten checks."""
    params = catalog().attacks["cw-l2"].spec.presets["paper"] if chosen == "paper" else chosen
    settings = {"rescues": 0, "polish": 0, "warm_up": 0, **params}
    settings |= {"searches": 1, "iterations": 100, "progress": 1e-9}
    outcome = harness.attack("cw-l2", classes.model, classes.x, goal=classes.goal, threat=REAL, **settings)
    assert outcome.backwards[outcome.backwards > 0].unique().tolist() == [steps]


def test_rescues_reach_what_three_constants_do_not(classes: Setting) -> None:
    settings: dict[str, Any] = {"goal": classes.goal, "threat": REAL, "initial_constant": 1e-6}
    settings |= {"iterations": 60, "searches": 2, "warm_up": 0}
    without = harness.attack("cw-l2", classes.model, classes.x, rescues=0, **settings)
    rescued = harness.attack("cw-l2", classes.model, classes.x, **settings)
    assert without.success.float().mean() < 0.2
    assert rescued.success.all()


def test_the_polish_brings_images_nearer(few: Setting) -> None:
    settings: dict[str, Any] = {"goal": few.goal, "iterations": 40, "warm_up": 0, "searches": 3}
    for threat in (REAL, Minimal("l2")):
        rough = harness.attack("cw-l2", few.model, few.x, threat=threat, polish=0, **settings)
        fine = harness.attack("cw-l2", few.model, few.x, threat=threat, **settings)
        both = rough.success & fine.success & (rough.forwards > 1)
        assert fine.success.all()
        assert both.sum() > 40
        assert (distances(fine)[both] <= distances(rough)[both] + 1e-5).float().mean() > 0.9
        assert distances(fine)[both].mean() < 0.99 * distances(rough)[both].mean()


def test_a_budget_bounds_what_counts(classes: Setting) -> None:
    outcome = harness.attack(
        "cw-l2", classes.model, classes.x, goal=classes.goal, threat=L2(0.2), iterations=60
    )
    assert (distances(outcome)[outcome.success] <= 0.2 + 1e-5).all()
    assert 0 < outcome.success.float().mean() < 1
    assert set(outcome.faults) == {"", "over the budget"}


def test_reduced_precision_costs_no_success(few: Setting) -> None:
    settings: dict[str, Any] = {"goal": few.goal, "threat": Minimal("l2"), "iterations": 60}
    exact = harness.attack("cw-l2", few.model, few.x, **settings)
    coarse = harness.attack("cw-l2", few.model, few.x, compute="bfloat16", **settings)
    assert exact.success.all()
    assert coarse.success.all()
    assert distances(coarse).mean() <= 1.02 * distances(exact).mean()


def test_an_attribute_of_several_alone_is_asked(joint: Setting) -> None:
    """The other scores may be anything: only the flipped one is bounded."""
    outcome = harness.attack(
        "cw-l2",
        joint.model,
        joint.x[:20],
        goal=FlipAttribute(joint.columns[:20]),
        threat=Minimal("l2"),
        iterations=60,
    )
    assert outcome.success.all()


def test_the_forecast_bounds_the_passes_of_every_polish(classes: Setting) -> None:
    settings: dict[str, Any] = {"searches": 1, "iterations": 5, "rescues": 0}
    for polish, warm_up, constant in ((0, 0, 10.0), (1, 4, 10.0), (3, 8, None)):
        settings |= {"warm_up": warm_up, "initial_constant": constant}
        outcome = harness.attack(
            "cw-l2", classes.model, classes.x, goal=classes.goal, threat=REAL, polish=polish, **settings
        )
        forwards, backwards = passes_of_cw({**settings, "polish": polish})
        assert outcome.forwards.max() <= forwards
        assert outcome.backwards.max() <= backwards


def test_a_warm_up_gives_a_nearer_image_in_fewer_passes(few: Setting) -> None:
    """Than the defaults of before, which looked for the constant from .01 on."""
    plain: dict[str, Any] = {"warm_up": 0, "searches": 3, "iterations": 500, "initial_constant": 0.01}
    for threat in (REAL, Minimal("l2")):
        before = harness.attack("cw-l2", few.model, few.x, goal=few.goal, threat=threat, **plain)
        after = harness.attack("cw-l2", few.model, few.x, goal=few.goal, threat=threat)
        assert after.success.all()
        assert distances(after).mean() <= 1.002 * distances(before).mean()
        assert after.backwards.float().mean() < before.backwards.float().mean()


def test_an_image_of_the_warm_up_is_at_rest_at_its_constant() -> None:
    """Of a linear margin, whose constant has a closed form: twice the distance over the slope."""
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 1)).eval()
    model, x = harness.wrap_model(module, "attributes"), 0.4 + 0.2 * torch.rand(4, 3, 4, 4)
    found: list[Tensor] = []

    def attack(model: Any, x: Tensor, objective: Any, threat: Any, *, rng: Any) -> Tensor:
        oracle = Oracle(model.focus(objective), objective)
        near = _warmed(oracle, x, threat, 40)
        found.append(_at_rest(oracle, x, threat, near))
        return near.images

    harness.attack(attack, model, x, goal=FlipAttribute(torch.zeros(4, dtype=torch.long)), threat=REAL)
    slope = module[1].weight.detach().norm()
    far = model.scores(x)[:, 0].abs() / slope
    assert torch.allclose(found[0], ABOVE * 2 * far / slope, rtol=0.02)
