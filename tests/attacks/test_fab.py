"""FAB against closed forms, against other searches, and against its steps written out for one image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import harness
from harness.goals import FlipAttribute, Targeted
from harness.testing.attacks.subject import AttackSubject
from harness.testing.problems.linear import FAR, linear_scores
from harness.testing.problems.quadratic import quadratic_scores
from harness.threat import L2, Linf, Minimal, Region, Threat, l2, linf
from harness_attacks.hyperplane import onto
from tests.attacks.conftest import Setting

NORMS = ["linf", "l2"]


def planes(cases: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
    draws = torch.Generator().manual_seed(4)
    x = torch.rand(cases, 1, 1, size, generator=draws, dtype=torch.float64)
    normal = torch.randn(cases, 1, 1, size, generator=draws, dtype=torch.float64)
    normal[:, :, :, ::5] = 0
    return x, normal, 0.6 * torch.randn(cases, generator=draws, dtype=torch.float64)


@pytest.mark.parametrize("norm", NORMS)
def test_the_projection_is_the_nearest_point_of_the_plane(norm: str) -> None:
    """Against a bisection of the amount by which components move, one image at a time, in NumPy."""
    x, normal, height = planes(60, 30)
    found = onto(x, normal, height, norm)
    fits = 0
    for case in range(60):
        start, slope, wanted = (value[case].flatten().numpy() for value in (x, normal, height))
        way = -np.sign(wanted) * np.sign(slope)
        room, pace = np.where(way > 0, 1 - start, start), 1 if norm == "linf" else np.abs(slope)

        def change(amount: float, way: Any = way, room: Any = room, pace: Any = pace) -> Any:
            return way * np.minimum(amount * pace, room)

        low, high = 0.0, 1e6
        for _ in range(200):
            middle = (low + high) / 2
            short = np.sign(wanted) * (wanted + (slope * change(middle)).sum()) > 0
            low, high = (middle, high) if short else (low, middle)
        if abs(wanted + (slope * change(high)).sum()) > 1e-6:
            continue  # no point of the box lies on the plane
        fits += 1
        assert np.abs(found[case].flatten().numpy() - change(high)).max() < 1e-6
    assert fits > 40


@pytest.mark.parametrize("norm", NORMS)
def test_a_plane_outside_the_box_leads_to_a_corner(norm: str) -> None:
    x, normal, _ = planes(10, 30)
    moved = x + onto(x, normal, torch.full((10,), 1e6, dtype=torch.float64), norm)
    there = torch.where(normal > 0, 0.0, torch.where(normal < 0, 1.0, x))
    assert torch.allclose(moved, there)
    assert (onto(x, torch.zeros_like(x), torch.ones(10, dtype=torch.float64), norm) == 0).all()


@pytest.mark.parametrize("norm", NORMS)
def test_within_2_percent_of_the_closed_form(norm: Any) -> None:
    shape = (3, 16, 16)
    for problem in (linear_scores(shape, FAR), linear_scores(shape), quadratic_scores(shape)):
        ran = AttackSubject.of("fab", {"steps": 40}).run(problem, Minimal(norm, levels=None))
        assert ran.trial.verdict.success.all()
        change = ran.change.double()
        size = linf(change) / problem.linf if norm == "linf" else l2(change) / problem.l2
        assert (size - 1).abs().max() < 0.02


@pytest.mark.parametrize("norm", NORMS)
def test_a_region_has_a_closed_form_too(norm: Any) -> None:
    """A linear score of one attribute, where only some pixels may change."""
    torch.manual_seed(0)
    linear = nn.Linear(3 * 64, 1)
    with torch.no_grad():
        linear.bias.copy_(0.4 - linear.weight.sum(1) / 2)
    model = harness.wrap_model(nn.Sequential(nn.Flatten(), linear).eval(), "attributes")
    x = 0.4 + 0.2 * torch.rand(6, 3, 8, 8)
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[1:7, 2:8] = True
    goal = FlipAttribute(torch.zeros(6, dtype=torch.long))
    threat = Region(mask, norm=norm, levels=None)
    outcome = harness.attack("fab", model, x, goal=goal, threat=threat, steps=20)
    inside = linear.weight.detach().view(3, 8, 8) * mask
    size = inside.abs().sum() if norm == "linf" else inside.norm()
    expected = model.scores(x)[:, 0].abs() / size
    assert outcome.success.all()
    assert torch.tensor(outcome.distances[norm]).div(expected).sub(1).abs().max() < 0.02


@pytest.mark.parametrize("norm", NORMS)
def test_it_is_no_farther_than_other_searches(classes: Setting, norm: Any) -> None:
    """In L-infinity than line searches along the sign, in L2 than gradient descent, in the mean."""
    few, threat = classes.first(40), Minimal(norm, levels=None)
    found = harness.attack("fab", classes.model, few.x, goal=few.goal, threat=threat, steps=20)
    other = "fgs" if norm == "linf" else "gradient-descent"
    rival = harness.attack(other, classes.model, few.x, goal=few.goal, threat=threat)
    assert found.reached.all()
    both = rival.reached.numpy()
    assert both.mean() > 0.9
    assert found.distances[norm][both].mean() < rival.distances[norm][both].mean()


def test_on_the_grid_every_image_stays_adversarial(classes: Setting) -> None:
    few = classes.first(40)
    outcome = harness.attack("fab", few.model, few.x, goal=few.goal, threat=Minimal("l2"), steps=20)
    assert outcome.success.all()
    whole = outcome.adversarials * 255
    assert (whole - whole.round()).abs().max() < 1e-4


@pytest.mark.parametrize("threat", [Linf(4 / 255), L2(0.35)], ids=lambda threat: threat.label)
def test_an_eps_bounds_what_counts(classes: Setting, threat: Threat) -> None:
    """Early stopping finds the same cases with fewer passes; it is about as strong as PGD there."""
    few = classes.first(60)
    params = {"goal": few.goal, "threat": threat}
    full = harness.attack("fab", classes.model, few.x, steps=20, **params)
    early = harness.attack("fab", classes.model, few.x, steps=20, early_stop=True, **params)
    pgd = harness.attack("pgd", classes.model, few.x, steps=40, **params)
    assert full.valid.all()
    assert early.valid.all()
    assert (early.reached == full.reached).float().mean() > 0.97
    assert early.reached.float().mean() >= pgd.reached.float().mean() - 0.03
    assert early.forwards.float().mean() < 0.8 * full.forwards.float().mean()


def test_targets_and_restarts_only_bring_images_nearer(classes: Setting) -> None:
    given = {"goal": classes.goal, "threat": Minimal("l2", levels=None), "steps": 10}
    one = harness.attack("fab", classes.model, classes.x, targets=1, **given)
    three = harness.attack("fab", classes.model, classes.x, targets=3, **given)
    again = harness.attack("fab", classes.model, classes.x, targets=3, restarts=2, **given)
    assert all(outcome.success.all() for outcome in (one, three, again))
    means = [outcome.distances["l2"].mean() for outcome in (one, three, again)]
    assert means[0] > means[1] + 1e-5
    assert means[1] > means[2] + 1e-5
    assert three.backwards.max() > one.backwards.max()


def test_a_named_class_is_reached(classes: Setting) -> None:
    """Of nearly every case: the boundary has corners where a third class is as likely as the named one."""
    few = classes.first(40)
    towards = (few.labels + 1) % 4
    outcome = harness.attack("fab", few.model, few.x, goal=Targeted(towards), threat=Minimal("l2"), steps=40)
    assert outcome.reached.float().mean() >= 0.9


class Bowl(nn.Module):
    """A score of one attribute, positive near grey and curved; it notes the images that it is asked about."""

    def __init__(self) -> None:
        super().__init__()
        draws = torch.Generator().manual_seed(3)
        self.slope = nn.Parameter(torch.randn(27, generator=draws) / 2, requires_grad=False)
        self.asked: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.asked.append(x.detach().clone())
        away = x.flatten(1) - 0.5
        return (1 - away @ self.slope - 6 * away.square().sum(1))[:, None]


@pytest.mark.parametrize("norm", NORMS)
def test_its_steps_are_those_of_the_paper(norm: Any) -> None:
    """Equations 6 to 9 and the step back, written out in NumPy for one image that stays far from 0 and 1.

    The walk passes the boundary, so that the step back is in it; the share of the original's projection is
    both below its largest and beyond.
    """
    module, steps = Bowl().eval(), 8
    x = torch.full((1, 3, 3, 3), 0.5)
    x[0, 0] = 0.45
    harness.attack(
        "fab", harness.wrap_model(module, "attributes"), x, steps=steps, tests=0,
        goal=FlipAttribute(torch.zeros(1, dtype=torch.long)), threat=Minimal(norm, levels=None),
    )  # fmt: skip
    asked = [image.double().flatten().numpy() for image in module.asked]
    slope, start = module.slope.double().numpy(), x.double().flatten().numpy()

    def height(image: Any) -> tuple[float, Any]:
        away = image - 0.5
        return -(1 - away @ slope - 6 * away @ away), slope + 12 * away

    def onto_plane(value: float, normal: Any) -> Any:
        if norm == "l2":
            return -value * normal / (normal @ normal)
        return -value * np.sign(normal) / np.abs(normal).sum()

    at, walk, shares, crossed = start, [start], [], 0
    for _ in range(steps):
        value, normal = height(at)
        own = onto_plane(value, normal)
        first = onto_plane(value + normal @ (start - at), normal)
        size = (
            np.abs(own).max() / np.abs(first).max()
            if norm == "linf"
            else (own @ own / (first @ first)) ** 0.5
        )
        share = size / (size + 1)
        shares.append(share)
        share = min(share, 0.1)
        at = (1 - share) * (at + 1.05 * own) + share * (start + 1.05 * first)
        walk.append(at)
        if height(at)[0] > 0:
            at = start + 0.9 * (at - start)
            crossed += 1
            walk.append(at)
    assert crossed >= 2
    assert min(shares) < 0.09 < 0.11 < max(shares[1:]), "at first both projections are the same"
    assert min(image.min() for image in walk) > 0.1
    assert max(image.max() for image in walk) < 0.9
    for image in walk[:-1]:
        assert min(np.abs(image - other).max() for other in asked) < 2e-5


def test_a_constant_model_ends_it_at_once() -> None:
    class Constant(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 0 * x.sum((1, 2, 3))[:, None] - 1

    model = harness.wrap_model(Constant(), "attributes")
    goal = FlipAttribute(torch.zeros(2, dtype=torch.long))
    outcome = harness.attack("fab", model, torch.rand(2, 3, 4, 4), goal=goal, threat=Minimal("l2"))
    assert not outcome.reached.any()
    assert outcome.backwards.max() == 1
