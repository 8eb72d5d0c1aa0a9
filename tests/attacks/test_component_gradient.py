"""Component gradient on mixtures of spheres, where the way from part to part has a closed form."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import harness
from harness.goals import Targeted, Untargeted
from harness.handle import Handle
from harness.threat import Minimal
from harness_attacks.component_gradient import _gradient, _targets

SHAPE = (3, 8, 8)
SIZE = 3 * 8 * 8
DEVIATION = 0.05


class Spheres(nn.Module):
    """Two or three classes (B, K): mixtures of equal spherical Gaussians."""

    def __init__(self, means: Tensor, classes: Tensor) -> None:
        super().__init__()
        self.register_buffer("means", means)  # (P, D)
        self.register_buffer("component_classes", classes)  # (P,)

    def components(self, x: Tensor) -> Tensor:
        gaps = x.flatten(1)[:, None] - self.means  # (B, P, D)
        return -gaps.square().sum(2) / (2 * DEVIATION**2)

    def forward(self, x: Tensor) -> Tensor:
        scores = self.components(x)
        count = int(self.component_classes.max()) + 1
        return torch.stack(
            [scores[:, self.component_classes == label].logsumexp(1) for label in range(count)], 1
        )


class Linear(nn.Module):
    """Logits (B, 2) of a plane through mid-grey, without components."""

    def __init__(self) -> None:
        super().__init__()
        normal = torch.randn(SIZE, generator=torch.Generator().manual_seed(1))
        self.normal = nn.Parameter(normal / normal.norm())

    def forward(self, x: Tensor) -> Tensor:
        score = (x - 0.5).flatten(1) @ self.normal
        return torch.stack([-score, score], 1)


@pytest.fixture
def means() -> Tensor:
    """(6, D) within the box."""
    draws = torch.Generator().manual_seed(3)
    return 0.5 + 0.15 * torch.randn(6, SIZE, generator=draws).clamp(-2, 2)


@pytest.fixture
def x(means: Tensor) -> Tensor:
    draws = torch.Generator().manual_seed(4)
    near = means[torch.arange(12) % 3] + 0.01 * torch.randn(12, SIZE, generator=draws)
    return near.view(-1, *SHAPE).clamp(0, 1)


def attack(module: nn.Module, x: Tensor, goal: Any, **params: Any) -> Any:
    return harness.attack(
        "component-gradient",
        harness.wrap_model(module.eval(), head="classes"),
        x,
        goal=goal,
        threat=Minimal("l2", levels=None),
        **params,
    )


def bisectors(x: Tensor, own: Tensor, others: Tensor) -> Tensor:
    """(B, Q) how far each image is from the planes halfway between its own mean (B, D) and others (Q, D)."""
    flat = x.flatten(1)
    far = (flat[:, None] - others).square().sum(2) - (flat - own).square().sum(1)[:, None]
    return far / (2 * (others[None] - own[:, None]).norm(dim=2))


def test_one_walk_ends_on_the_plane_between_the_two_components(means: Tensor, x: Tensor) -> None:
    module = Spheres(means, torch.tensor([0, 0, 0, 1, 1, 1]))
    outcome = attack(module, x, Untargeted(torch.zeros(12, dtype=torch.long)))
    assert outcome.success.all()
    planes = bisectors(x, means[torch.arange(12) % 3], means[3:])
    likeliest = (x.flatten(1)[:, None] - means[3:]).norm(dim=2).argmin(1)
    expected = planes[torch.arange(12), likeliest]
    torch.testing.assert_close(
        torch.tensor(outcome.distances["l2"].to_numpy()), expected, rtol=5e-3, atol=0, check_dtype=False
    )


def test_more_walks_find_the_nearest_plane_of_all(means: Tensor, x: Tensor) -> None:
    # Pulled towards another mean of the class, its nearest plane is not that of the likeliest component.
    means = means.clone()
    means[3:] = 0.5 + (means[3:] - 0.5) * torch.tensor([0.2, 1.0, 2.5])[:, None]
    module = Spheres(means, torch.tensor([0, 0, 0, 1, 1, 1]))
    goal = Untargeted(torch.zeros(12, dtype=torch.long))
    one, three = attack(module, x, goal), attack(module, x, goal, candidates=3)
    assert (three.distances["l2"] <= one.distances["l2"] + 1e-6).all()
    expected = bisectors(x, means[torch.arange(12) % 3], means[3:]).amin(1)
    torch.testing.assert_close(
        torch.tensor(three.distances["l2"].to_numpy()), expected, rtol=5e-3, atol=0, check_dtype=False
    )


def test_candidates_beyond_the_components_cost_nothing(means: Tensor, x: Tensor) -> None:
    module = Spheres(means, torch.tensor([0, 0, 0, 1, 1, 1]))
    goal = Untargeted(torch.zeros(12, dtype=torch.long))
    three, many = attack(module, x, goal, candidates=3), attack(module, x, goal, candidates=50)
    assert (three.forwards == many.forwards).all()


def test_the_targeted_walk_goes_to_the_class_that_is_asked_for(means: Tensor, x: Tensor) -> None:
    module = Spheres(means, torch.tensor([0, 0, 0, 1, 2, 2]))
    wanted = torch.tensor([1, 2] * 6)
    outcome = attack(module, x, Targeted(wanted))
    assert outcome.success.all()
    with torch.no_grad():
        assert (module(outcome.adversarials).argmax(1) == wanted).all()


def test_a_model_without_components_is_one_of_two(x: Tensor) -> None:
    module = Linear()
    with torch.no_grad():
        score = (x - 0.5).flatten(1) @ module.normal
    outcome = attack(module, x, Untargeted((score > 0).long()))
    torch.testing.assert_close(
        torch.tensor(outcome.distances["l2"].to_numpy()), score.abs(), rtol=5e-3, atol=1e-4, check_dtype=False
    )


def test_it_agrees_with_gradient_descent_where_one_component_decides(means: Tensor, x: Tensor) -> None:
    module = Spheres(means, torch.tensor([0, 0, 0, 1, 1, 1]))
    goal = Untargeted(torch.zeros(12, dtype=torch.long))
    other = harness.attack(
        "gradient-descent",
        harness.wrap_model(module.eval(), head="classes"),
        x,
        goal=goal,
        threat=Minimal("l2", levels=None),
    )
    ratio = attack(module, x, goal).distances["l2"] / other.distances["l2"]
    assert ratio.between(0.97, 1.03).all()


def test_a_class_without_a_component_is_refused(means: Tensor, x: Tensor) -> None:
    module = Spheres(means, torch.tensor([0, 0, 0, 1, 1, 1]))
    module.component_classes[:] = 1
    with pytest.raises(harness.HarnessError, match="a class has no component"):
        attack(module, x, Untargeted(torch.zeros(12, dtype=torch.long)))


def test_components_need_scores(means: Tensor, x: Tensor) -> None:
    module = Spheres(means, torch.tensor([0, 0, 0, 1, 1, 1]))
    with pytest.raises(harness.HarnessError, match="needs gradients"):
        harness.attack(
            "component-gradient",
            harness.wrap_model(module.eval(), head="classes", access="decisions"),
            x,
            goal=Untargeted(torch.zeros(12, dtype=torch.long)),
            threat=Minimal("l2", levels=None),
        )


def test_each_case_walks_to_a_component_of_its_own(means: Tensor, x: Tensor) -> None:
    module = Spheres(means, torch.tensor([0, 0, 0, 1, 1, 1]))
    handle = Handle(harness.wrap_model(module.eval(), "classes"), 12)
    wanted = (module.component_classes == 1).expand(12, -1)
    scores = module.components(x)
    first, second, third = _targets(scores, wanted, 3)
    assert first is None  # whatever is the likeliest on the way
    ranked = 3 + scores[:, 3:].argsort(1, descending=True)
    assert second is not None
    assert third is not None
    assert torch.equal(torch.stack([second, third], 1), ranked[:, 1:])
    target, active = torch.tensor([3, 4, 5] * 4), torch.tensor([1, 2, 6, 11])
    slope = _gradient(handle, wanted, target, active, x[active])
    away = scores[active, :3].argmax(1)
    expected = (means[target[active]] - means[away]) / DEVIATION**2
    torch.testing.assert_close(slope.flatten(1), expected, rtol=1e-3, atol=1e-2)
