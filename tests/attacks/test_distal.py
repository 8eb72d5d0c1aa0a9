"""Distal adversarials: from noise to a person, on a random network; and the original counts for nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import harness
from harness.errors import AttackError
from harness.goals import Impersonate
from harness.randomness import CaseRandom, seed_torch
from harness.threat import Linf, Region
from harness_attacks.distal import distal
from harness_attacks.patch import patch

from .conftest import Cnn

UNBOUNDED = harness.threats.Threat()


def untrained() -> harness.Model:
    """A random network from images of 16x16 to eight numbers."""
    seed_torch(5)
    return harness.wrap_model(Cnn(8).eval().requires_grad_(False), "embedding", threshold=0.02)


def faces(cases: int = 8) -> Tensor:
    draws = torch.Generator().manual_seed(6)
    coarse = torch.rand(2 * cases, 3, 4, 4, generator=draws)
    return torch.round(torch.nn.functional.interpolate(coarse, (16, 16)) * 255) / 255


def distances(model: harness.Model, x: Tensor, anchors: Tensor) -> Tensor:
    return (model.scores(x) - anchors).norm(dim=1)


def test_whole_images_come_to_the_target_on_a_random_network_and_noise_does_not() -> None:
    model, x = untrained(), faces()[:8]
    anchors = model.scores(faces()[8:])
    goal, whole = Impersonate(anchors), Region(torch.ones(16, 16, dtype=torch.bool))
    clean = distances(model, x, anchors)
    noise = distances(
        model, harness.attack("noise", model, x, goal=goal, threat=Linf(1.0), draws=100).adversarials, anchors
    )
    random = distances(
        model,
        harness.attack("random-eyeglasses", model, x, goal=goal, threat=whole, draws=100).adversarials,
        anchors,
    )
    found = {
        "distal": harness.attack("distal", model, x, goal=goal, early_stop=False),
        "patch": harness.attack(
            patch, model, x, goal=goal, threat=whole, restarts=1, iterations=200, early_stop=False
        ),
    }
    for name, outcome in found.items():
        near = distances(model, outcome.adversarials, anchors)
        assert outcome.success.all(), name
        for other in (clean, noise, random):
            assert (near < 0.1 * other).all(), name  # rounding to 8 bits leaves a rest
    assert not harness.attack("noise", model, x, goal=goal, threat=Linf(1.0)).success.any()


def test_a_plain_loop_with_torchs_adam_finds_the_same() -> None:
    model, x = untrained(), faces()[:3]
    anchors = model.scores(faces()[8:11])
    params: dict[str, Any] = {
        "iterations": 30,
        "early_stop": False,
        "loss": "squared-distance",
        "mirror": True,
    }
    threat = harness.threats.Threat(levels=None)
    outcome = harness.attack(distal, model, x, goal=Impersonate(anchors), threat=threat, seed=3, **params)
    for case in range(3):
        start = CaseRandom(3, [str(case)]).uniform((3, 16, 16))[0]
        position = torch.atanh((start - 0.5) * 2 * 0.999999).requires_grad_()
        adam = torch.optim.Adam([position], lr=0.1, eps=1e-16)
        best, nearest = start, torch.inf
        for step in range(31):
            image = torch.tanh(position) / 2 + 0.5
            both = model.module(torch.stack([image, image.flip(2)])) - anchors[case]
            if both[0].norm() < nearest:
                best, nearest = image.detach(), float(both[0].detach().norm())
            if step < 30:
                adam.zero_grad()
                both.square().sum(1).mean().backward()
                adam.step()
        assert torch.allclose(outcome.adversarials[case], best, atol=2e-4)


def test_nothing_of_the_original_is_left() -> None:
    model, x = untrained(), faces()[:4]
    goal = Impersonate(model.scores(faces()[8:12]))
    first = harness.attack("distal", model, x, goal=goal, iterations=3).adversarials
    other = harness.attack("distal", model, 1 - x, goal=goal, iterations=3).adversarials
    assert torch.equal(first, other)
    apart = (first[:, None] - first).abs().flatten(2).mean(2)
    assert (apart + torch.eye(4) > 0.2).all()  # every case starts from noise of its own


def test_an_original_that_is_accepted_stays_unless_all_steps_are_made() -> None:
    model, x = untrained(), faces()[:4]
    anchors = model.scores(torch.cat([x[:2], faces()[8:10]]))
    stays, leaves = (
        harness.attack("distal", model, x, goal=Impersonate(anchors), iterations=5, early_stop=early_stop)
        for early_stop in (True, False)
    )
    assert (stays.distances["l0"] > 0).tolist() == [False, False, True, True]
    assert (leaves.distances["l0"] > 200).all()


def test_what_cannot_be_kept_to_is_refused() -> None:
    model, x = untrained(), faces()[:2]
    goal = Impersonate(model.scores(x))
    for threat in (Region(torch.ones(16, 16, dtype=torch.bool)), Linf(0.1)):
        with pytest.raises(AttackError, match="no region and no eps"):
            harness.attack(distal, model, x, goal=goal, threat=threat)
    entry = harness.catalog().attacks["distal"]
    assert entry.spec.heads == {"embedding"}
    assert entry.spec.presets["paper"]["iterations"] == 2000
