"""Gradient descent against a plain loop and closed forms; the line search that ends it and CW-L2."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor, nn

import harness
from harness.goals import FlipAttribute, Untargeted
from harness.handle import Handle
from harness.model import Model, frozen
from harness.threat import L2, Linf, Minimal, Region
from harness_attacks.gradient_descent import gradient_descent
from harness_attacks.oracle import Oracle
from harness_attacks.shrink import nearer, shrink
from tests.attacks.conftest import Setting

SHAPE = (3, 8, 8)


class Sphere(nn.Module):
    """Score (B, 1): inside a ball around mid-grey, of radius 1."""

    def forward(self, x: Tensor) -> Tensor:
        return 1 - (x - 0.5).flatten(1).square().sum(1, keepdim=True)


class Plane(nn.Module):
    """Score (B, 1): half a unit from a plane through mid-grey."""

    def __init__(self) -> None:
        super().__init__()
        normal = torch.randn(192, generator=torch.Generator().manual_seed(5))
        self.normal = nn.Parameter(normal / normal.norm())

    def forward(self, x: Tensor) -> Tensor:
        return ((x - 0.5).flatten(1) @ self.normal)[:, None]


def real(norm: Any) -> Any:
    return Minimal(norm, levels=None)


def flipping(x: Tensor) -> FlipAttribute:
    return FlipAttribute(torch.zeros(len(x), dtype=torch.long))


def images(cases: int = 16, spread: float = 0.03) -> Tensor:
    draws = torch.Generator().manual_seed(6)
    return torch.round((0.5 + spread * torch.randn(cases, *SHAPE, generator=draws)).clamp(0, 1) * 255) / 255


def distances(outcome: Any, norm: str) -> Tensor:
    return torch.tensor(outcome.distances[norm].to_numpy())


@pytest.mark.filterwarnings("ignore:probabilities")  # a score of one attribute, above 0 on all images
@pytest.mark.parametrize("step", [0.02, 0.3])
def test_distance_to_a_sphere(step: float) -> None:
    x = images()
    model = harness.wrap_model(Sphere(), "attributes")
    outcome = harness.attack(
        "gradient-descent", model, x, goal=flipping(x), threat=real("l2"), step_size=step
    )
    expected = 1 - (x - 0.5).flatten(1).norm(dim=1)
    assert outcome.success.all()
    assert torch.allclose(distances(outcome, "l2"), expected, rtol=2e-3)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_distance_to_a_plane(norm: str) -> None:
    x, module = images(), Plane()
    model = harness.wrap_model(module, "attributes")
    outcome = harness.attack("gradient-descent", model, x, goal=flipping(x), threat=real(norm))
    scores = model.scores(x)[:, 0].abs()
    expected = scores if norm == "l2" else scores / module.normal.detach().abs().sum()
    assert outcome.success.all()
    assert torch.allclose(distances(outcome, norm), expected, rtol=3e-3, atol=3e-5)


def test_the_walk_is_a_plain_loop(classes: Setting) -> None:
    """One image at a time, autograd and no batch: as many gradients, and an end in the same step.

    Without tests, the image is the one after that step, as published.
    """
    size, cases = 0.05, classes.first(40)
    outcome, untested = (
        harness.attack(
            gradient_descent,
            cases.model,
            cases.x,
            goal=cases.goal,
            threat=real("l2"),
            step_size=size,
            tests=tests,
        )
        for tests in (10, 0)
    )
    compared = 0
    for case in range(40):
        image, label = cases.x[case : case + 1].clone(), int(cases.labels[case])
        steps = 0
        before = image
        while True:
            image = image.detach().requires_grad_()
            logits = cases.module(image)[0]
            others = torch.cat([logits[:label], logits[label + 1 :]]).max()
            if others > logits[label]:
                break
            (slope,) = torch.autograd.grad(others - logits[label], image)
            before = image.detach()
            image = (before + size * slope / slope.norm()).clamp(0, 1)
            steps += 1
        assert int(outcome.backwards[case]) == steps
        if not steps:
            assert torch.equal(outcome.adversarials[case], cases.x[case])
            continue
        compared += 1
        assert torch.allclose(untested.adversarials[case], image[0], atol=1e-5)
        step, part = image.detach() - before, outcome.adversarials[case] - before
        share = float((part * step).sum() / step.square().sum())
        assert 0 < share <= 1 + 1e-4
        assert torch.allclose(part, share * step, atol=1e-4)  # on the last step, and nowhere else
    assert compared >= 30


def test_stops_where_there_is_no_slope() -> None:
    class Flat(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x.flatten(1).sum(1, keepdim=True) * 0).round() - 1

    x = images()
    outcome = harness.attack(
        "gradient-descent", harness.wrap_model(Flat(), "attributes"), x, goal=flipping(x), threat=real("l2")
    )
    assert torch.equal(outcome.adversarials, x)
    assert (outcome.backwards == 1).all()
    assert not outcome.success.any()


def test_keeps_to_a_region_and_a_budget(classes: Setting) -> None:
    mask = torch.zeros(16, 16, dtype=torch.bool)
    mask[3:13, 3:13] = True
    inside = harness.attack(
        "gradient-descent",
        classes.model,
        classes.x,
        goal=classes.goal,
        threat=Region(mask, norm="l2"),
        iterations=100,
    )
    assert inside.valid.all()
    assert inside.success.float().mean() > 0.9
    for threat in (L2(0.2), Linf(3 / 255)):
        bounded = harness.attack(
            "gradient-descent", classes.model, classes.x, goal=classes.goal, threat=threat
        )
        assert bounded.valid.all()
        assert 0 < bounded.success.float().mean() < 1
        # Straight on: .2 in steps of .05, three levels in halves. A walk does not go along the budget's edge.
        assert bounded.backwards.max() <= 10


@pytest.mark.parametrize("compute", ["float32", "bfloat16"])
def test_succeeds_on_the_grid_in_any_precision(classes: Setting, compute: Any) -> None:
    outcome = harness.attack(
        "gradient-descent",
        classes.model,
        classes.x,
        goal=classes.goal,
        threat=Minimal("l2"),
        compute=compute,
    )
    assert outcome.success.all()
    assert torch.equal(torch.round(outcome.adversarials * 255) / 255, outcome.adversarials)


# --- lines and boundaries ---------------------------------------------------------------------------------


def oracle_of(model: Model, x: Tensor) -> Oracle:
    objective = flipping(x).objective(model, model.scores(x))
    return Oracle(Handle(model, len(x)).focus(objective), objective)


def test_shrinks_to_the_boundary_and_stretches_to_it() -> None:
    x = images(12)
    model = harness.wrap_model(Sphere(), "attributes")
    oracle, every = oracle_of(model, x), torch.arange(12)
    away = torch.randn(12, *SHAPE, generator=torch.Generator().manual_seed(1))
    away = away / away.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    for length in (1.6, 0.7, 0.2):  # beyond the sphere, and not far enough in two steps
        with frozen(model.module):
            found, there, _ = shrink(oracle, every, x, x + length * away, real("l2"), 12)
        assert there.all()
        radius = (found - 0.5).flatten(1).norm(dim=1)
        assert (radius > 1).all()
        assert (radius < 1.003).all()


def test_points_are_not_rounded_and_images_are_their_roundings() -> None:
    x = images(6)
    model = harness.wrap_model(Sphere(), "attributes")
    away = torch.randn(6, *SHAPE, generator=torch.Generator().manual_seed(1))
    beyond = x + 1.3 * away / away.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    threat = Minimal("l2")
    with frozen(model.module):
        found = shrink(oracle_of(model, x), torch.arange(6), x, beyond, threat, 5)
    assert found.reached.all()
    assert torch.equal(threat.round(found.points), found.images)
    assert (found.points != found.images).flatten(1).float().mean() > 0.9


def test_says_where_no_stretch_is_enough() -> None:
    x = images(4)
    model = harness.wrap_model(Sphere(), "attributes")
    beyond = x + 1e-4
    with frozen(model.module):
        found, there, _ = shrink(oracle_of(model, x), torch.arange(4), x, beyond, real("l2"), 5)
    assert not there.any()
    assert torch.equal(found, beyond)


def test_moves_along_the_boundary_to_its_nearest_point() -> None:
    x = images(12)
    model = harness.wrap_model(Sphere(), "attributes")
    oracle, every = oracle_of(model, x), torch.arange(12)
    aside = (x - 0.5) + 0.6 * torch.randn(x.shape, generator=torch.Generator().manual_seed(2)) / 8
    outside = 0.5 + 1.02 * aside / aside.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    best = 1 - (x - 0.5).flatten(1).norm(dim=1)
    before = (outside - x).flatten(1).norm(dim=1)
    with frozen(model.module):
        margin = oracle.margin(every, x)
        after = nearer(oracle, every, x, outside, real("l2"), margin, rounds=8, tests=10)
    reached = (after - x).flatten(1).norm(dim=1)
    assert (before > 1.4 * best).all()
    assert (reached < 1.003 * best).all()
    assert (model.scores(after) < 0).all()


def test_untargeted_on_wrong_images_costs_one_pass(classes: Setting) -> None:
    wrong = (classes.model.scores(classes.x).argmax(1) + 1) % 4
    outcome = harness.attack(
        "gradient-descent", classes.model, classes.x, goal=Untargeted(wrong), threat=Minimal("l2")
    )
    assert (outcome.forwards == 1).all()
    assert torch.equal(outcome.adversarials, classes.x)


def test_goes_part_of_the_way_where_the_boundary_bends() -> None:
    """From outside a ball the normal of a far point misses the ball: only a part of the way leads on."""
    draws = torch.Generator().manual_seed(8)
    axes = torch.linalg.qr(torch.randn(192, 24, generator=draws))[0].T.view(24, *SHAPE)
    x = 0.5 + 1.6 * axes[:12]
    angle = torch.tensor(1.2)  # nearly 70 degrees aside
    aside = 0.5 + 0.99 * (angle.cos() * axes[:12] + angle.sin() * axes[12:])
    assert min(float(x.min()), float(aside.min())) > 0
    assert max(float(x.max()), float(aside.max())) < 1
    model = harness.wrap_model(Sphere(), "attributes")
    oracle, every = oracle_of(model, x), torch.arange(12)
    with frozen(model.module):
        margin = oracle.margin(every, x)
        once = nearer(oracle, every, x, aside, real("l2"), margin, rounds=1, tests=4)
        after = nearer(oracle, every, x, aside, real("l2"), margin, rounds=20, tests=4)
    assert torch.equal(once, aside)
    assert (model.scores(after) > 0).all()
    assert ((after - x).flatten(1).norm(dim=1) < 1.02 * 0.6).all()


class Bent(nn.Module):
    """Logits (B, 2): the gradient leads along one pixel, and the boundary is nearer along another."""

    def forward(self, x: Tensor) -> Tensor:
        first, second = (x - 0.5).flatten(1)[:, :2].T
        score = 4 - 12 * first - (8 * second).exp()
        return torch.stack([-score, score], 1)


def nearest_bend(x: Tensor) -> float:
    start = (x - 0.5).flatten()[:2].double().numpy()
    found = minimize(
        lambda point: np.square(point - start).sum(),
        start + np.array([0.05, 0.2]),
        constraints=[{"type": "eq", "fun": lambda point: 4 - 12 * point[0] - np.exp(8 * point[1])}],
        options={"ftol": 1e-12},
    )
    assert found.success
    return float(np.sqrt(found.fun))


@pytest.mark.parametrize("name", ["gradient-descent", "component-gradient"])
def test_polish_finds_the_nearest_point_where_the_walk_bends(name: str) -> None:
    draws = torch.Generator().manual_seed(2)
    x = 0.5 + 0.02 * torch.randn(12, 1, 4, 4, generator=draws)
    model = harness.wrap_model(Bent(), "classes")
    goal = Untargeted(torch.ones(12, dtype=torch.long))
    plain = harness.attack(name, model, x, goal=goal, threat=real("l2"))
    polished = harness.attack(name, model, x, goal=goal, threat=real("l2"), polish=40)
    expected = torch.tensor([nearest_bend(image) for image in x])
    excess = distances(polished, "l2") / expected - 1
    assert polished.success.all()
    assert (distances(plain, "l2") / expected - 1).mean() > 0.05
    assert excess.min() > -1e-4
    assert excess.mean() < 0.02
    assert (distances(polished, "l2") <= distances(plain, "l2") + 1e-6).all()


def test_polish_is_refused_where_it_would_look_for_something_else() -> None:
    x = images(2)
    model = harness.wrap_model(Sphere(), "attributes")
    with pytest.raises(harness.HarnessError, match="nearest image in L2"):
        harness.attack("gradient-descent", model, x, goal=flipping(x), threat=real("linf"), polish=3)


def test_polish_keeps_what_is_there_already(classes: Setting) -> None:
    cases = classes.first(10)
    wrong = (cases.labels + 1) % 3
    outcome = harness.attack(
        "gradient-descent", cases.model, cases.x, goal=Untargeted(wrong), threat=Minimal("l2"), polish=3
    )
    right = cases.model.scores(cases.x).argmax(1) != wrong
    assert torch.equal(outcome.adversarials[right], cases.x[right])
