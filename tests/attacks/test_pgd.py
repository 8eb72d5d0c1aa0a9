"""PGD: closed forms on linear models, budgets, early stopping, and independence of the batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import harness
from harness.errors import AttackError
from harness.goals import Evade, FlipAttribute, Impersonate, Targeted
from harness.threat import L2, Linf, Minimal, Region, Threat
from harness_attacks.pgd import pgd, shares


class Linear(nn.Module):
    """One score (B, 1), linear."""

    def __init__(self, weights: Tensor, bias: float) -> None:
        super().__init__()
        self.weights, self.bias = weights, bias  # (C, H, W)

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("bchw,chw->b", x - 0.5, self.weights)[:, None] + self.bias


@pytest.fixture
def weights() -> Tensor:
    return torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(3))


def perturbation(module: nn.Module, threat: Threat, **params: Any) -> tuple[Tensor, harness.Outcome]:
    x = torch.full((1, 3, 4, 4), 128 / 255)
    model = harness.wrap_model(module, "attributes")
    outcome = harness.attack(pgd, model, x, goal=FlipAttribute(torch.tensor(0)), threat=threat, **params)
    return outcome.adversarials - x, outcome


@pytest.mark.parametrize("loss", ["margin", "training"])
@pytest.mark.parametrize("random_start", [True, False])
def test_linf_reaches_the_corner_of_the_ball(weights: Tensor, loss: str, random_start: bool) -> None:
    delta, outcome = perturbation(
        Linear(weights, 30.0), Linf(8 / 255), loss=loss, random_start=random_start, steps=10
    )
    assert torch.allclose(delta[0], -8 / 255 * weights.sign(), atol=1e-6)
    assert not outcome.reached.any()
    assert outcome.forwards.tolist() == [11]
    assert outcome.backwards.tolist() == [10]


@pytest.mark.parametrize("loss", ["margin", "training"])
def test_l2_reaches_the_ball_along_the_gradient(weights: Tensor, loss: str) -> None:
    threat = L2(0.5, levels=None)
    delta, outcome = perturbation(Linear(weights, 30.0), threat, loss=loss, steps=10, random_start=False)
    assert torch.allclose(delta[0], -0.5 * weights / weights.norm(), atol=1e-5)
    assert outcome.valid.all()


def test_an_l2_step_has_its_length(weights: Tensor) -> None:
    threat = L2(0.5, levels=None)
    delta, _ = perturbation(Linear(weights, 30.0), threat, steps=2, step_size=0.1, random_start=False)
    assert delta.norm().item() == pytest.approx(0.2, rel=1e-4)


def test_a_wrong_decision_descends_its_training_loss(weights: Tensor) -> None:
    x = torch.full((1, 3, 4, 4), 128 / 255)
    model = harness.wrap_model(Linear(weights, 3.0), "attributes")
    goal = FlipAttribute(torch.tensor(0), torch.tensor([False]))
    outcome = harness.attack(pgd, model, x, goal=goal, threat=Linf(40 / 255), loss="training")
    assert outcome.success.all()


@pytest.mark.parametrize("threat", [Linf(8 / 255), L2(0.5)])
def test_a_zero_gradient_moves_nothing(threat: Threat) -> None:
    delta, outcome = perturbation(Linear(torch.zeros(3, 4, 4), 1.0), threat, random_start=False)
    assert (delta == 0).all()
    assert outcome.valid.all()
    assert not outcome.reached.any()


@pytest.mark.parametrize("threat", [Linf(8 / 255), L2(0.5)])
def test_a_gradient_that_is_zero_is_no_error(threat: Threat) -> None:
    class Flat(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 1 + 0 * x.sum((1, 2, 3))[:, None]

    _, outcome = perturbation(Flat(), threat)
    assert outcome.valid.all()
    assert not outcome.reached.any()


def test_a_constant_slope_is_stored_once_and_still_followed() -> None:
    class Sum(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.sum((1, 2, 3))[:, None]

    delta, _ = perturbation(Sum(), Linf(8 / 255))
    assert torch.allclose(delta, torch.tensor(-8 / 255), atol=1e-6)


def test_tiny_gradients_are_followed_in_l2(weights: Tensor) -> None:
    # Their squares vanish in float32.
    delta, _ = perturbation(Linear(1e-25 * weights, 1e-20), L2(0.5, levels=None), random_start=False)
    assert torch.allclose(delta[0], -0.5 * weights / weights.norm(), atol=1e-5)


def test_an_answer_that_is_not_a_number_keeps_the_original(weights: Tensor) -> None:
    class Broken(Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * torch.where(x[:, :1, 0, 0] == x[:, 1:2, 0, 0], 1.0, torch.nan)

    delta, outcome = perturbation(Broken(weights, 30.0), Linf(8 / 255))
    assert (delta == 0).all()
    assert outcome.valid.all()


@pytest.mark.parametrize("threat", [Linf(4 / 255), Linf(8 / 255), L2(0.3), L2(0.6)])
@pytest.mark.parametrize("early_stop", [True, False])
def test_the_judge_finds_every_image_valid(joint: Any, threat: Threat, early_stop: bool) -> None:
    kept = joint.x.clone()
    params = {"steps": 10, "early_stop": early_stop, "restarts": 2}
    outcome = harness.attack("pgd", joint.model, joint.x, goal=joint.goal, threat=threat, **params)
    assert torch.equal(joint.x, kept)
    assert outcome.valid.all()
    assert outcome.success.any()
    if not early_stop:
        assert set(outcome.forwards.tolist()) == {22}
        assert set(outcome.backwards.tolist()) == {20}


@pytest.mark.parametrize("threat", [Linf(5 / 255), L2(0.35)])
def test_early_stopping_saves_passes_and_loses_nothing(joint: Any, threat: Threat) -> None:
    def run(**params: Any) -> harness.Outcome:
        return harness.attack(pgd, joint.model, joint.x, goal=joint.goal, threat=threat, steps=20, **params)

    stopped, full = run(early_stop=True), run(early_stop=False)
    assert (stopped.success == full.success).float().mean() >= 0.99
    assert stopped.forwards[stopped.success].float().mean() < 15
    assert (
        stopped.forwards <= full.forwards + 3
    ).all()  # a test of the rounded image may fail near the boundary
    assert (stopped.backwards[~stopped.success] == 20).all()


def test_a_budget_that_rounding_breaks_is_tested_as_it_is_judged(single: Any) -> None:
    # What early stopping calls reached, the judge must as well, who pulls back what rounding pushed out.
    for threat in (L2(0.25), L2(0.4), Linf(4.5 / 255)):
        outcome = harness.attack(pgd, single.model, single.x, goal=single.goal, threat=threat, steps=20)
        early = outcome.backwards < 20
        assert early.any()
        assert outcome.success[early].all()


def test_restarts_go_on_only_where_the_goal_is_not_reached(joint: Any) -> None:
    def run(restarts: int) -> harness.Outcome:
        threat = Linf(4 / 255)
        params = {"steps": 4, "restarts": restarts}
        return harness.attack(pgd, joint.model, joint.x, goal=joint.goal, threat=threat, **params)

    once, often = run(1), run(5)
    assert (often.success | ~once.success).all()
    assert (often.forwards[once.success] == once.forwards[once.success]).all()
    assert (often.backwards[~often.success] == 20).all()


@pytest.mark.filterwarnings("ignore:probabilities")  # a score of one attribute, above 0 on all images
def test_what_is_known_to_succeed_is_not_given_up_for_a_better_margin() -> None:
    class OffGrid(nn.Module):
        """Only images off the 8-bit grid look adversarial; stored ones are if their first pixel rose."""

        def forward(self, x: Tensor) -> Tensor:
            levels = x.flatten(1) * 255
            stored = (levels - levels.round()).abs().amax(1) < 1e-3
            rose = torch.where(levels[:, 0] > 128.5, 0.1, -1.0)
            return -torch.where(stored, rose, 1.0)[:, None] + 0 * levels[:, :1]

    x = torch.full((60, 1, 4, 4), 128 / 255)
    model = harness.wrap_model(OffGrid(), "attributes")

    def success(restarts: int) -> Tensor:
        params = {"steps": 1, "early_stop": False, "restarts": restarts}
        goal = FlipAttribute(torch.tensor(0))
        return harness.attack(pgd, model, x, goal=goal, threat=Linf(8 / 255), **params).success

    once, twice = success(1), success(2)
    assert 15 < once.sum() < 45
    assert (twice | ~once).all()
    assert twice.sum() > once.sum()


@pytest.mark.parametrize("name", ["ffa", "fgs", "pgd", "noise"])
def test_only_the_attribute_in_question_is_computed(joint: Any, name: str) -> None:
    class Selecting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.all, self.one = joint.module, 0, 0

        def forward(self, x: Tensor) -> Tensor:
            self.all += len(x)
            return self.inner(x)

        def select(self, x: Tensor, columns: Tensor) -> Tensor:
            self.one += len(x)
            return self.inner(x).gather(1, columns[:, None])[:, 0]

    module = Selecting()
    few = joint.first(6)
    model = harness.wrap_model(module, "attributes")
    threat = Linf(4 / 255)
    outcome = harness.attack(name, model, few.x, goal=few.goal, threat=threat)
    assert module.one == outcome.forwards.sum()
    assert module.all == 2 * 6  # the clean answers, and the judge's


def test_classes_targets_and_what_is_reached_already(classes: Any) -> None:
    wrong = classes.model.decide(classes.model.scores(classes.x)) != classes.labels
    params = {"steps": 10, "random_start": False}
    outcome = harness.attack(pgd, classes.model, classes.x, goal=classes.goal, threat=Linf(8 / 255), **params)
    assert outcome.success.float().mean() > 0.9
    assert torch.equal(outcome.adversarials[wrong], classes.x[wrong])
    assert (outcome.forwards[wrong] == 2).all()
    targets = (classes.labels + 1) % 4
    for loss in ("margin", "training"):
        outcome = harness.attack(
            pgd, classes.model, classes.x, goal=Targeted(targets), threat=Linf(16 / 255), loss=loss, **params
        )
        assert outcome.success.float().mean() > 0.9


@pytest.mark.parametrize("goal", [Impersonate, Evade])
def test_embeddings(classes: Any, goal: type[Impersonate] | type[Evade]) -> None:
    embeddings = classes.model.scores(classes.x)
    anchors = embeddings.roll(1, 0) if goal is Impersonate else embeddings
    model = harness.wrap_model(classes.module, "embedding", threshold=4.0)
    for loss in ("margin", "training"):
        outcome = harness.attack(
            pgd, model, classes.x, goal=goal(anchors), threat=Linf(16 / 255), loss=loss, steps=20
        )
        assert outcome.valid.all()
        assert outcome.success.float().mean() > 0.9


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_region_is_all_that_changes(joint: Any, norm: str) -> None:
    mask = torch.zeros(len(joint.x), 1, 16, 16, dtype=torch.bool)
    mask[:60, :, 4:12, 4:12] = True
    mask[60:, :, :8] = True
    threat = Region(mask, norm=norm, eps=16 / 255 if norm == "linf" else 0.6)
    outcome = harness.attack(pgd, joint.model, joint.x, goal=joint.goal, threat=threat, steps=10)
    assert outcome.valid.all()
    assert ((outcome.adversarials - joint.x).masked_fill(mask, 0) == 0).all()
    assert outcome.success.float().mean() > 0.4


@pytest.mark.parametrize("threat", [Linf(4 / 255, levels=None), L2(0.3, levels=None)])
def test_a_case_is_attacked_alike_in_any_batch(joint: Any, threat: Threat) -> None:
    few = joint.first(14)

    def run(batch: int) -> Tensor:
        parts = []
        for begin in range(0, 14, batch):
            rows = slice(begin, begin + batch)
            parts.append(attack_with_keys(few, rows, threat, steps=3, step_size=0.01))
        return torch.cat(parts)

    assert torch.allclose(run(1), run(7), atol=1e-6)


def attack_with_keys(setting: Any, rows: slice, threat: Threat, **params: Any) -> Tensor:
    from harness.judge.trial import attempt

    names = [str(case) for case in range(len(setting.x))]
    goal = FlipAttribute(setting.columns[rows], setting.labels[rows])
    trial = attempt(
        setting.model, pgd, setting.x[rows], goal, threat, seed=5, keys=names[rows], parameters=params
    )
    return trial.verdict.adversarials


def test_random_starts_fill_the_l2_ball_uniformly() -> None:
    from harness.randomness import CaseRandom
    from harness_attacks.pgd import Run

    cases = 2000
    x = torch.full((cases, 1, 1, 2), 0.5)
    rng = CaseRandom(0, [str(case) for case in range(cases)])
    run = Run(None, x, None, L2(0.3))  # type: ignore[arg-type]
    radius = (run.random(rng) - x).flatten(1).norm(dim=1) / 0.3
    assert radius.max() <= 1 + 1e-5
    # In two dimensions the squared radius is uniform.
    assert abs(radius.square().mean() - 0.5) < 0.03
    masked = Run(None, x, None, Region(torch.tensor([[True, False]]), norm="l2", eps=0.3))  # type: ignore[arg-type]
    radius = (masked.random(rng) - x).flatten(1).norm(dim=1) / 0.3
    assert abs(radius.mean() - 0.5) < 0.03  # in one dimension the radius is


@pytest.mark.parametrize("cases", [0, 1])
@pytest.mark.parametrize("threat", [Linf(4 / 255), L2(0.3)])
def test_hardly_any_cases(joint: Any, cases: int, threat: Threat) -> None:
    few = joint.first(cases)
    outcome = harness.attack(pgd, few.model, few.x, goal=few.goal, threat=threat, restarts=2)
    assert outcome.adversarials.shape == (cases, 3, 16, 16)
    assert outcome.valid.all()


def test_eps_zero_changes_nothing(joint: Any) -> None:
    for threat in (Linf(0), L2(0)):
        outcome = harness.attack(pgd, joint.model, joint.x, goal=joint.goal, threat=threat, steps=2)
        assert torch.equal(outcome.adversarials, joint.x)


@pytest.mark.parametrize("compute", ["float32", "bfloat16"])
def test_reduced_precision_is_never_trusted_with_a_decision(joint: Any, compute: Any) -> None:
    threat = Linf(6 / 255)
    outcome = harness.attack(
        pgd, joint.model, joint.x, goal=joint.goal, threat=threat, compute=compute, steps=20
    )
    early = outcome.backwards < 20
    assert early.any()
    assert outcome.success[early].all()


@pytest.mark.parametrize(
    ("threat", "params", "fault"),
    [
        (Minimal("linf"), {}, "needs a budget"),
        (Linf(0.1), {"steps": 0}, "of at least 1"),
        (Linf(0.1), {"restarts": 2, "random_start": False}, "restarts = 1"),
    ],
)
def test_impossible_requests_are_refused(
    joint: Any, threat: Threat, params: dict[str, Any], fault: str
) -> None:
    with pytest.raises(AttackError, match=fault):
        harness.attack(pgd, joint.model, joint.x, goal=joint.goal, threat=threat, **params)


# --- schedules, and verification --------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_schedules_go_as_far_in_all(schedule: Any) -> None:
    sizes = shares(schedule, 25)
    assert sum(sizes) == pytest.approx(25)
    assert all(size > 0 for size in sizes)
    assert (sizes[0] > 1.9 and sizes[-1] < 0.1) == (schedule != "constant")
    assert sizes == sorted(sizes, reverse=True)


def test_a_schedule_decides_the_steps(classes: Any) -> None:
    """One step of a shrinking schedule is twice the half of its way: the sizes are what moves."""
    moved = {}
    for schedule in ("constant", "linear"):
        outcome = harness.attack(
            "pgd",
            classes.model,
            classes.x,
            goal=classes.goal,
            threat=L2(50.0, levels=None),
            steps=2,
            step_size=0.01,
            schedule=schedule,
            random_start=False,
            early_stop=False,
        )
        moved[schedule] = torch.tensor(outcome.distances["l2"].to_numpy())
    # .01 + .01 and .015 + .005: nearly straight, since the steps are small.
    assert torch.allclose(moved["linear"], moved["constant"], rtol=0.05)
    assert not torch.equal(moved["linear"], moved["constant"])


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("towards", [True, False])
def test_verification_on_a_linear_embedding(norm: str, towards: bool) -> None:
    """The distance to the anchor is convex; what PGD reaches in the ball is what projected descent must."""
    draws = torch.Generator().manual_seed(9)

    class Embedding(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1)

    x = torch.round((0.4 + 0.2 * torch.rand(10, 3, 4, 4, generator=draws)) * 255) / 255
    away = torch.randn(10, 48, generator=draws)
    anchors = x.flatten(1) + 0.3 * away / away.norm(dim=1, keepdim=True)
    model = harness.wrap_model(Embedding(), "embedding")
    for eps, threshold, expected in ((0.11, 0.2, True), (0.09, 0.2, False)):
        # Towards: .3 - eps below the threshold; away: .3 + eps at or above the mirrored one.
        bound = threshold if towards else 0.6 - threshold
        threat = L2(eps, levels=None) if norm == "l2" else Linf(eps / 48**0.5, levels=None)
        goal = (Impersonate if towards else Evade)(anchors, bound)
        outcome = harness.attack("pgd", model, x, goal=goal, threat=threat, steps=40)
        assert outcome.valid.all()
        if norm == "l2":
            assert bool(outcome.success.all()) == expected
            assert bool(outcome.success.any()) == expected
        elif not expected:  # the ball of L-infinity lies inside that of L2
            assert not outcome.success.any()
