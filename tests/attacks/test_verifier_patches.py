"""Patches on verifiers: what stays as it is, and how verifiers that see mirror images are attacked."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import harness
from harness.goals import Impersonate, mirrored, twice
from harness.randomness import CaseRandom
from harness.threat import Region
from harness_attacks.patch import patch

from .test_patches import FACE, goals, window


@pytest.mark.parametrize("name", ["eyeglasses", "square", "random-eyeglasses"])
@pytest.mark.parametrize("goal_name", ["impersonate", "evade"])
def test_no_bit_changes_outside_the_region_of_a_verifiers_image(
    classes: Any, name: str, goal_name: str
) -> None:
    model, goal = goals(classes)[goal_name]
    goal, x = goal.part(slice(0, 12)), classes.x[:12]
    few: dict[str, Any] = {"draws": 20} if name == "random-eyeglasses" else {"iterations": 10}
    outcome = harness.attack(name, model, x, goal=goal, face=FACE, **few)
    entry = harness.catalog().attacks[name]
    masks = entry.load(entry.spec.region)(16, 16, face=FACE).view(1, -1, 16, 16)
    levels = torch.round(outcome.adversarials * 255) / 255
    assert torch.equal(levels, outcome.adversarials)
    outside = (outcome.adversarials != x).any(1)[:, None] & ~masks
    assert (outside.flatten(2).sum(2) == 0).any(1).all()
    assert (outcome.distances["l0"] > 0).all()


@pytest.mark.parametrize("mirror", [False, True])
def test_a_model_that_sees_mirror_images_is_attacked_by_the_mean_of_squared_distances(
    classes: Any, mirror: bool
) -> None:
    """As published, also where the verifier averages distances, and no matter what ``mirror`` says."""
    plain = harness.wrap_model(classes.module, "embedding", threshold=0.01)
    both = mirrored(plain)
    x, anchors = classes.x[:4], plain.scores(classes.x[10:14])
    params: dict[str, Any] = {"iterations": 30, "restarts": 1, "early_stop": False, "mirror": mirror}
    threat = Region(window(), levels=None)
    outcome = harness.attack(
        patch, both, x, goal=Impersonate(twice(anchors)), threat=threat, loss="squared-distance", **params
    )
    assert (outcome.backwards == 30).all()  # each of image and mirror image at once
    for case in range(4):
        start = torch.atanh((x[case] - 0.5) * 2 * 0.999999)
        delta = CaseRandom(0, [str(case)]).uniform((3, 16, 16), -0.5, 0.5)[0].requires_grad_()
        adam = torch.optim.Adam([delta], lr=0.1, eps=1e-16)
        best, nearest = x[case], torch.inf
        for step in range(31):
            image = torch.where(window(), torch.tanh(start + delta) / 2 + 0.5, x[case])
            apart = classes.module(torch.stack([image, image.flip(2)])) - anchors[case]
            true = float(apart.detach().norm(dim=1).mean())
            if true < nearest:
                best, nearest = image.detach(), true
            if step < 30:
                adam.zero_grad()
                apart.square().sum(1).mean().backward()
                adam.step()
        assert torch.allclose(outcome.adversarials[case], best, atol=5e-4)
