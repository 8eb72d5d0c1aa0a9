"""The universal patch that is reported: one per person, and chosen on the images that it was learned on."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import harness
from harness.goals import Impersonate
from harness.threat import Region

from .test_universal_patch import halves, window, worn


@pytest.mark.parametrize("report", ["last", "best"])
def test_the_patch_of_each_person_is_one_when_it_is_judged(classes: Any, report: str) -> None:
    """Two targets, two patches; outside of them, and whoever is attacked, every bit stays."""
    verifier = harness.wrap_model(classes.module, "embedding", threshold=7.0)
    x, fit = classes.x[:24], torch.arange(24) % 4 < 2
    anchors = verifier.scores(classes.x[50:52])[torch.arange(24) % 2]
    params: dict[str, Any] = {"iterations": 10, "report": report, "loss": "squared-distance"}
    outcome = harness.attack(
        "universal-patch",
        verifier,
        x,
        goal=Impersonate(anchors),
        threat=Region(window()),
        fit=fit,
        **params,
    )
    assert outcome.valid.all()
    inside, rows = outcome.adversarials[:, :, window()], outcome.rows
    assert torch.equal(outcome.adversarials[:, :, ~window()], x[rows][:, :, ~window()])
    for person in range(2):
        own = inside[rows % 2 == person]
        assert (own == own[0]).all()
    assert not torch.equal(inside[rows % 2 == 0][0], inside[rows % 2 == 1][0])


def iterates(classes: Any, x: Tensor, anchor: Tensor, mirror: bool, steps: int, rate: float) -> list[Tensor]:
    """The patches (3, 16, 16) of a plain loop with torch's Adam, the first and the last included."""
    position = torch.zeros(3, 16, 16, requires_grad=True)
    adam = torch.optim.Adam([position], lr=rate, eps=1e-16)
    found = []
    for _ in range(steps):
        found.append(torch.tanh(position.detach()) / 2 + 0.5)
        adam.zero_grad()
        far(classes, x, anchor, torch.tanh(position) / 2 + 0.5, mirror).mean().backward()
        adam.step()
    return [*found, torch.tanh(position.detach()) / 2 + 0.5]


def far(classes: Any, x: Tensor, anchor: Tensor, patch: Tensor, mirror: bool) -> Tensor:
    """(B,) the mean squared distances of images with a patch, and of their mirror images, to the anchor."""
    images = torch.where(window(), patch, x)
    both = [images, images.flip(3)] if mirror else [images]
    return torch.stack([(classes.module(part) - anchor).square().sum(1) for part in both]).mean(0)


@pytest.mark.parametrize(("mirror", "target"), [(False, 51), (True, 66)])
def test_the_best_patch_is_chosen_on_the_images_it_was_learned_on(
    classes: Any, mirror: bool, target: int
) -> None:
    """Steps that are too large swing about: the last patch is not the best; nor is the best on the others."""
    verifier = harness.wrap_model(classes.module, "embedding", threshold=4.0)
    x, fit = classes.x[:20], halves(20)
    anchor = verifier.scores(classes.x[target : target + 1])
    params = {"loss": "squared-distance", "iterations": 25, "mirror": mirror, "learning_rate": 0.7}
    last, best = (
        worn(verifier, x, Impersonate(anchor), fit, report=report, **params)[0] for report in ("last", "best")
    )
    patches = iterates(classes, x[fit], anchor, mirror, 25, 0.7)
    learned_on = torch.stack([far(classes, x[fit], anchor, patch, mirror).mean() for patch in patches])
    held_out = torch.stack([far(classes, x[~fit], anchor, patch, mirror).mean() for patch in patches])
    assert learned_on.argmin() != held_out.argmin() != len(patches) - 1 != learned_on.argmin()
    for mine, number in ((last, len(patches) - 1), (best, int(learned_on.argmin()))):
        apart = torch.stack([(mine - patch)[:, window()].abs().mean() for patch in patches])
        assert apart.argmin() == number
        # After 25 such steps, rounding errors have grown; other iterates are ten times as far away.
        assert apart[number] < 0.1 * apart.topk(2, largest=False).values[1]


@pytest.mark.parametrize("loss", ["success", "margin", "squared-distance"])
@pytest.mark.parametrize("mini_batch", [3, 10])
def test_the_best_is_no_worse_than_the_last_on_what_it_was_learned_on(
    classes: Any, loss: str, mini_batch: int
) -> None:
    verifier = harness.wrap_model(classes.module, "embedding", threshold=5.0)
    x, fit = classes.x[:20], halves(20)
    anchor = verifier.scores(classes.x[50:51])
    goal = Impersonate(anchor)
    params = {"loss": loss, "iterations": 40, "learning_rate": 3.0, "mini_batch": mini_batch}

    def height(report: str) -> float:
        x_adv = worn(verifier, x, goal, fit, report=report, **params)
        distances = (verifier.scores(x_adv[fit]) - anchor).norm(dim=1)
        kinds = {"success": (distances < 5.0).float(), "margin": -distances}
        return float(kinds.get(loss, -distances.square()).mean())

    assert height("best") >= height("last") - 1e-5
