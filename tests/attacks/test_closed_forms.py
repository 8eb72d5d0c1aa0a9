"""Attacks against closed forms: linear and quadratic models of every head, both norms and a region."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import harness
from harness.goals import ClassObjective, Evade, Goal, Impersonate
from harness.model import Model
from harness.testing.problems.linear import linear_classes, linear_scores
from harness.testing.problems.problem import Problem
from harness.testing.problems.quadratic import Balls, quadratic_classes, quadratic_scores
from harness.threat import Threat

SHAPE = (3, 12, 12)
FAR = (2.0, 2.5, 3.0, 3.5)
"""Distances of the cases in units of 8/255; without a grid they are exact."""
NEAR = (0.8, 1.0, 1.2, 1.5)
"""Those of balls, which a region must leave within reach."""
REGION = torch.zeros(12, 12, dtype=torch.bool)
REGION[0:11, 1:12] = True
FREE = torch.ones(12, 12, dtype=torch.bool)


@dataclass(frozen=True, eq=False)
class Given:
    """Images, a goal, and how far (B,) the goal is away where only some components (N,) may change."""

    model: Model
    x: Tensor
    goal: Goal
    far: Callable[[Tensor, str], Tensor]


def behind_planes(heights: Tensor, normals: Tensor, free: Tensor, norm: str) -> Tensor:
    """The distance (B,) of the nearest of K hyperplanes, with heights (B, K) and normals (B, K, N)."""
    inside = normals * free
    return (heights.abs() / (inside.abs().sum(2) if norm == "linf" else inside.norm(dim=2))).amin(1)


def to_spheres(offset: Tensor, radius: float, free: Tensor, norm: str) -> Tensor:
    """The distance (B,) from offsets (B, N) to a sphere around 0, where the other components stay."""
    far = torch.empty(len(offset), dtype=torch.float64)
    for case, own in enumerate(offset.double()):
        fixed, size = own[~free].square().sum(), own[free].abs()
        left = (radius**2 - fixed).sqrt()  # of the sphere, in the components that are free
        assert left.isfinite(), "the goal can be reached"
        if norm == "l2":
            far[case] = (size.norm() - left).abs()
            continue
        enter = bool(size.norm() > left)
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            moved = (size - middle).clamp_min(0) if enter else size + middle
            low, high = (low, middle) if (moved.norm() < left) == enter else (middle, high)
        far[case] = high
    return far


def scores() -> Given:
    problem = linear_scores(SHAPE, FAR)
    weight, columns = problem.model.module.weight.double(), problem.goal.indices  # type: ignore[attr-defined,operator]
    heights = problem.model.scores(problem.x).gather(1, columns[:, None]).double()
    return given(problem, lambda free, norm: behind_planes(heights, weight[columns][:, None], free, norm))


def classes() -> Given:
    problem = linear_classes(SHAPE, FAR)
    objective = problem.goal.objective(problem.model, problem.model.scores(problem.x))
    assert isinstance(objective, ClassObjective)
    weight, logits, own = (
        problem.model.module.weight.double(),
        problem.model.scores(problem.x).double(),
        objective.classes,
    )  # type: ignore[operator]
    others = torch.tensor([[other for other in range(4) if other != label] for label in own.tolist()])
    normals = weight[own][:, None] - weight[others]
    heights = logits.gather(1, own[:, None]) - logits.gather(1, others)
    return given(problem, lambda free, norm: behind_planes(heights, normals, free, norm))


def balls() -> Given:
    problem = quadratic_scores(SHAPE, NEAR)
    module = problem.model.module
    assert isinstance(module, Balls)
    offset = problem.x.flatten(1) - module.centres[problem.goal.indices]  # type: ignore[attr-defined]
    return given(problem, lambda free, norm: to_spheres(offset, module.radius, free, norm))


def ball_classes() -> Given:
    problem = quadratic_classes(SHAPE, NEAR)
    module = problem.model.module
    assert isinstance(module, Balls)
    offset = problem.x.flatten(1) - module.centres
    return given(problem, lambda free, norm: to_spheres(offset, module.radius, free, norm))


def person(kind: type[Impersonate] | type[Evade]) -> Given:
    """An embedding that is the image: persons are balls."""
    draws = torch.Generator().manual_seed(8)
    x = 0.4 + 0.2 * torch.rand(4, *SHAPE, generator=draws)
    offset = torch.randn(4, x[0].numel(), generator=draws)
    radius, gap = 2.0, 0.5
    offset *= (radius + (gap if kind is Impersonate else -gap)) / offset.norm(dim=1, keepdim=True)
    model = harness.wrap_model(nn.Flatten(), "embedding")
    goal = kind(x.flatten(1) - offset, threshold=radius)
    return Given(model, x, goal, lambda free, norm: to_spheres(offset, radius, free, norm))


def given(problem: Problem, far: Any) -> Given:
    return Given(problem.model, problem.x, problem.goal, far)


PROBLEMS: dict[str, Callable[[], Given]] = {
    "linear scores": scores,
    "linear classes": classes,
    "balls": balls,
    "ball classes": ball_classes,
    "impersonation": lambda: person(Impersonate),
    "evasion": lambda: person(Evade),
}
EVERYWHERE = pytest.mark.parametrize("region", [FREE, REGION], ids=["everywhere", "region"])
NORMS = pytest.mark.parametrize("norm", ["linf", "l2"])


NEAREST = [("fab", "linf"), ("fab", "l2"), ("fmn", "linf"), ("fmn", "l2"), ("ddn", "l2"), ("cw-l2", "l2")]
"""Those that look for the smallest change."""


@pytest.mark.parametrize("name", PROBLEMS)
@EVERYWHERE
@pytest.mark.parametrize(("attack", "norm"), NEAREST)
def test_the_nearest_is_within_2_percent(attack: str, norm: Any, name: str, region: Tensor) -> None:
    setting = PROBLEMS[name]()
    threat = Threat(norm, mask=None if region is FREE else region, levels=None)
    steps = {"steps": 40} if attack == "fab" else {}
    outcome = harness.attack(attack, setting.model, setting.x, goal=setting.goal, threat=threat, **steps)
    far = setting.far(region.expand(3, 12, 12).flatten(), norm)
    assert outcome.success.all()
    assert torch.tensor(outcome.distances[norm].to_numpy()).div(far).sub(1).abs().max() < 0.02


@pytest.mark.parametrize("name", ["linear scores", "linear classes", "impersonation"])
@EVERYWHERE
@NORMS
def test_apgd_succeeds_2_percent_beyond_and_not_before(name: str, norm: Any, region: Tensor) -> None:
    """Where the goal is convex. Where it is not, a corner beside its random start may hold it."""
    loss = "targeted-dlr" if name == "linear classes" else "margin"
    succeeds_only_beyond("apgd", name, norm, region, loss=loss, targets=3)


@pytest.mark.parametrize("name", PROBLEMS)
@EVERYWHERE
@NORMS
def test_the_ensemble_does_so_whatever_the_goal(name: str, norm: Any, region: Tensor) -> None:
    succeeds_only_beyond("standard", name, norm, region, queries=1, targets=3, steps=40)


def succeeds_only_beyond(attack: str, name: str, norm: Any, region: Tensor, **given: Any) -> None:
    setting = PROBLEMS[name]()
    far = setting.far(region.expand(3, 12, 12).flatten(), norm)
    for case, distance in enumerate(far.tolist()):
        rows = slice(case, case + 1)
        for share in (0.98, 1.02):
            threat = Threat(norm, share * distance, None if region is FREE else region, levels=None)
            goal = setting.goal.part(rows)
            outcome = harness.attack(
                attack, setting.model, setting.x[rows], goal=goal, threat=threat, **given
            )
            assert outcome.valid.all()
            assert bool(outcome.success) == (share > 1), (case, share)
