"""One change for many images: an attack that learned one must not have made a change for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import harness
from harness import wrap_model
from harness.goals import FlipAttribute, Targeted
from harness.judge.one_change import OWN_CHANGE
from harness.model import Model
from harness.threat import L2, Linf, Region, Threat

SIZE = (3, 8, 8)
EPS = 20 / 255


class Mean(nn.Module):
    """Two scores of the mean: with and against."""

    def forward(self, x: Tensor) -> Tensor:
        mean = x.flatten(1).mean(1, keepdim=True) - 0.5
        return torch.cat([mean, -mean], 1)


def mean() -> Model:
    return wrap_model(Mean(), "attributes")


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def pictures(count: int = 8) -> Tensor:
    """Images with dark and light pixels, so that changes are clipped, whose mean is just below half grey."""
    x = noise(count, *SIZE)
    x[:, :, 0, 0], x[:, :, 7, 7] = 0, 1
    return torch.round((x - x.flatten(1).mean(1).view(-1, 1, 1, 1) + 0.48).clamp(0, 1) * 255) / 255


def judged(made: Callable[[Tensor], Tensor], threat: Threat = Linf(EPS), goal: Any = None) -> harness.Outcome:  # noqa: B008
    def attack(model: Any, x: Tensor, objective: Any, threat: Any, *, rng: Any, fit: Tensor) -> Tensor:
        assert fit.sum() == 4
        return made(x)

    return harness.attack(
        attack, mean(), pictures(), goal=goal or FlipAttribute(torch.tensor(0)), threat=threat
    )


CHANGE = EPS * (noise(1, *SIZE, seed=1) * 2 - 0.3).clamp(-1, 1)

SAME: dict[str, tuple[Callable[[Tensor], Tensor], Threat]] = {
    "a sum": (lambda x: x + EPS, Linf(EPS)),
    "a sum that is clipped": (lambda x: (x + CHANGE).clamp(0, 1), Linf(EPS)),
    "a sum that is rounded": (lambda x: ((x + CHANGE).clamp(0, 1) * 255).round() / 255, Linf(EPS)),
    "a sum that is cut off": (lambda x: ((x + CHANGE).clamp(0, 1) * 255).byte() / 255, Linf(EPS)),
    "a sum of half levels": (lambda x: ((x + 2.5 / 255).clamp(0, 1) * 255).round() / 255, Linf(EPS)),
    "a sum that is projected": (lambda x: Linf(EPS).project(x + 9 * CHANGE, x), Linf(EPS)),
    "a sum within L2": (lambda x: L2(1.0).project(x + 0.9 * CHANGE / CHANGE.norm(), x), L2(1.0)),
    "nothing": (lambda x: x.clone(), Linf(EPS)),
    "some images left as they were": (
        lambda x: torch.where((torch.arange(len(x)) > 4).view(-1, 1, 1, 1), x + EPS, x),
        Linf(EPS),
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_one_change_is_valid(name: str) -> None:
    made, threat = SAME[name]
    outcome = judged(lambda x: made(x).clamp(0, 1), threat)
    assert OWN_CHANGE not in outcome.faults
    assert outcome.valid.all()


OWN: dict[str, Callable[[Tensor], Tensor]] = {
    "noise for each": lambda x: (x + EPS * noise(*x.shape, seed=2)).clamp(0, 1),
    "more for each": lambda x: x + torch.linspace(10, 20, len(x)).view(-1, 1, 1, 1) / 255,
    "one pixel for each": lambda x: pixel_for_each(x + CHANGE),
    "a sign for each": lambda x: x + EPS * (torch.arange(len(x)) % 4 - 1.5).sign().view(-1, 1, 1, 1),
    "rounded, with noise for each": lambda x: (
        ((x + EPS * noise(*x.shape, seed=2)).clamp(0, 1) * 255).round() / 255
    ),
}


def pixel_for_each(x: Tensor) -> Tensor:
    x = x.clamp(0, 1).clone()
    for case in range(len(x)):
        x[case, :, case, 3] = 0.5
    return x


@pytest.mark.parametrize("name", OWN)
def test_a_change_for_each_image_is_not_valid(name: str) -> None:
    outcome = judged(lambda x: OWN[name](x).clamp(0, 1), Linf(0.5))
    assert outcome.faults == (OWN_CHANGE,) * 4
    assert not outcome.success.any()


def test_another_fault_comes_first() -> None:
    outcome = judged(lambda x: OWN["more for each"](x) + 0.5, Linf(EPS))
    assert not outcome.valid.any()
    assert "outside the box" in outcome.faults or "over the budget" in outcome.faults


def test_each_goal_may_have_a_change_of_its_own() -> None:
    indices = torch.tensor([0, 0, 1, 1, 0, 0, 1, 1])
    signs = (0.5 - indices).sign().view(-1, 1, 1, 1)
    outcome = judged(lambda x: (x + signs * EPS).clamp(0, 1), goal=FlipAttribute(indices))
    assert outcome.valid.all()

    def attack(model: Any, x: Tensor, objective: Any, threat: Any, *, rng: Any, fit: Tensor) -> Tensor:
        return (x + signs * EPS).clamp(0, 1)

    same_class = Targeted(torch.ones(8, dtype=torch.long))
    classes = wrap_model(Mean())
    assert not harness.attack(attack, classes, pictures(), goal=same_class, threat=Linf(EPS)).valid.any()


def corner(height: int, width: int) -> Tensor:
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[:height, :width] = True
    return mask


PATCH = noise(3, 3, 3, seed=3)


def test_one_patch_is_valid_and_one_for_each_is_not() -> None:
    def patched(x: Tensor, of_each: bool) -> Tensor:
        x = x.clone()
        x[:, :, :3, :3] = noise(len(x), 3, 3, 3, seed=4) if of_each else PATCH
        return x

    region = Region(corner(3, 3))
    assert judged(lambda x: patched(x, False), region).valid.all()
    assert judged(lambda x: patched(x, True), region).faults == (OWN_CHANGE,) * 4


@pytest.mark.parametrize("many", [False, True])
def test_a_patch_may_have_a_place_for_each(many: bool) -> None:
    masks = torch.stack([corner(3, 3).roll((case, case % 3), (0, 1)) for case in range(5)])
    mask = masks if many else masks[torch.arange(8) % 5][:, None]  # places, or one mask per case

    def patched(x: Tensor, of_each: bool) -> Tensor:
        x = x.clone()
        for case in range(len(x)):
            own = noise(3, 3, 3, seed=case) if of_each else PATCH
            x[case][:, masks[case % 5]] = own.flatten(1)
        return x

    assert judged(lambda x: patched(x, False), Region(mask)).valid.all()
    assert judged(lambda x: patched(x, True), Region(mask)).faults == (OWN_CHANGE,) * 4


def test_images_that_are_not_finite_are_no_change() -> None:
    def made(x: Tensor) -> Tensor:
        x = x + EPS
        x[-1] = torch.nan
        return x.clamp(0, 1)

    outcome = judged(made)
    assert outcome.success.tolist() == [True, True, True, False]
    assert OWN_CHANGE not in outcome.faults
