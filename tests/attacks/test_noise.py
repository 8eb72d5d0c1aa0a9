"""Noise: its size and law, that it reads decisions only, and independence of the batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import harness
from harness.errors import AttackError
from harness.goals import FlipAttribute
from harness.judge.trial import attempt
from harness.randomness import CaseRandom
from harness.threat import L2, Linf, Minimal, Region, Threat
from harness_attacks.noise import noise, sample


def streams(cases: int) -> CaseRandom:
    return CaseRandom(0, [str(case) for case in range(cases)])


def test_linf_noise_lies_in_the_corners_of_its_box() -> None:
    drawn = sample(streams(50), torch.zeros(50, 3, 16, 16), Linf(8 / 255))
    assert torch.allclose(drawn.abs(), torch.tensor(8 / 255))
    assert abs((drawn > 0).float().mean() - 0.5) < 0.01


def test_l2_noise_has_its_length_and_no_preferred_direction() -> None:
    drawn = sample(streams(50), torch.zeros(50, 3, 16, 16), L2(0.5)).flatten(1)
    assert torch.allclose(drawn.norm(dim=1), torch.tensor(0.5))
    assert (drawn @ drawn.T).fill_diagonal_(0).abs().max() < 0.05


def test_l2_noise_inside_a_region_has_its_length_too() -> None:
    mask = torch.zeros(16, 16, dtype=torch.bool)
    mask[:2] = True
    drawn = sample(streams(5), torch.zeros(5, 3, 16, 16), Region(mask, norm="l2", eps=0.5))
    assert torch.allclose(drawn.flatten(1).norm(dim=1), torch.tensor(0.5))
    assert (drawn[:, :, 2:] == 0).all()


class Fickle(nn.Module):
    """A score (B, 1) that a fair share of noise flips; keeps how often it was asked about each case."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.bound = torch.distributions.Normal(0, 1).icdf(torch.tensor(share)).item()
        self.asked: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.asked.extend((x[:, 0, 0, 0] * 255).round().long().tolist())  # a pixel outside the region
        level = (x[:, 0, 1:] - 0.5).flatten(1).sum(1) / (8 / 255 * 240**0.5)
        return (self.bound - level)[:, None]


@pytest.mark.parametrize("access", ["gradients", "decisions"])
def test_a_case_draws_until_it_is_reached(access: Any) -> None:
    cases = 200
    module = Fickle(0.7)  # a draw flips "present" with 30 %
    x = torch.full((cases, 1, 16, 16), 128 / 255)
    x[:, 0, 0, 0] = torch.arange(cases) / 255
    mask = torch.ones(16, 16, dtype=torch.bool)
    mask[0] = False
    model = harness.wrap_model(module, "attributes", names=["a"])
    threat = Region(mask, norm="linf", eps=8 / 255, access=access)
    outcome = harness.attack(noise, model, x, goal=FlipAttribute(torch.tensor(0)), threat=threat, draws=4)
    assert outcome.valid.all()
    assert abs(outcome.success.float().mean() - (1 - 0.7**4)) < 0.1
    assert abs((outcome.forwards == 1).float().mean() - 0.3) < 0.1
    assert (outcome.forwards[~outcome.success] == 4).all()
    assert (outcome.backwards == 0).all()
    counted = [module.asked.count(case) - 2 for case in range(cases)]  # less the clean answer and the judge's
    assert counted == outcome.forwards.tolist()


@pytest.mark.parametrize("threat", [Linf(8 / 255), L2(0.5), L2(3.0)])
def test_the_judge_finds_every_image_valid(joint: Any, threat: Threat) -> None:
    kept = joint.x.clone()
    outcome = harness.attack("noise", joint.model, joint.x, goal=joint.goal, threat=threat)
    assert torch.equal(joint.x, kept)
    assert outcome.valid.all()
    assert (outcome.distances["linf"] > 0).all()
    assert outcome.success[outcome.forwards < 10].all()


def test_what_is_tried_is_what_would_be_judged() -> None:
    class Watching(Fickle):
        def forward(self, x: Tensor) -> Tensor:
            levels = x.flatten(1) * 255
            assert torch.allclose(levels, levels.round(), atol=1e-3)
            assert ((x - 128 / 255).flatten(1).norm(dim=1) <= 0.02 + 1e-5).all()
            return super().forward(x)

    x = torch.full((20, 1, 16, 16), 128 / 255)
    model = harness.wrap_model(Watching(0.7), "attributes", names=["a"])
    outcome = harness.attack(noise, model, x, goal=FlipAttribute(torch.tensor(0)), threat=L2(0.02))
    assert outcome.valid.all()


def test_classes(classes: Any) -> None:
    wrong = classes.model.decide(classes.model.scores(classes.x)) != classes.labels
    threat = Linf(4 / 255, access="decisions")
    outcome = harness.attack("noise", classes.model, classes.x, goal=classes.goal, threat=threat)
    assert outcome.success[wrong].float().mean() > 0.5
    assert outcome.success.float().mean() < 0.3


@pytest.mark.parametrize("threat", [Linf(8 / 255), L2(1.0)])
def test_a_case_gets_the_same_noise_in_any_batch(joint: Any, threat: Threat) -> None:
    names = [str(case) for case in range(14)]

    def run(batch: int) -> Tensor:
        parts = []
        for begin in range(0, 14, batch):
            rows = slice(begin, begin + batch)
            goal = FlipAttribute(joint.columns[rows])
            trial = attempt(
                joint.model, noise, joint.x[rows], goal, threat, seed=5, keys=names[rows], parameters={}
            )
            parts.append(trial.verdict.adversarials)
        return torch.cat(parts)

    assert torch.equal(run(1), run(7))


@pytest.mark.parametrize("cases", [0, 1])
def test_hardly_any_cases(joint: Any, cases: int) -> None:
    few = joint.first(cases)
    outcome = harness.attack(noise, few.model, few.x, goal=few.goal, threat=Linf(8 / 255))
    assert outcome.adversarials.shape == (cases, 3, 16, 16)


def test_impossible_requests_are_refused(joint: Any) -> None:
    with pytest.raises(AttackError, match="draws = 0"):
        harness.attack(noise, joint.model, joint.x, goal=joint.goal, threat=Linf(0.1), draws=0)
    with pytest.raises(AttackError, match="needs a budget"):
        harness.attack(noise, joint.model, joint.x, goal=joint.goal, threat=Minimal("l2"))


def test_uniform_noise_is_anywhere_in_its_box() -> None:
    drawn = sample(streams(50), torch.zeros(50, 3, 16, 16), Linf(10 / 255), "uniform") * 255
    assert drawn.abs().max() <= 10
    shares = torch.histc(drawn, 10, -10, 10) / drawn.numel()
    assert torch.allclose(shares, torch.full((10,), 0.1), atol=0.01)


def test_uniform_noise_is_none_in_l2() -> None:
    with pytest.raises(AttackError, match="in L-infinity; leave it out in L2"):
        sample(streams(2), torch.zeros(2, 3, 4, 4), L2(0.5), "uniform")


def test_the_papers_noise_is_drawn_once(joint: Any) -> None:
    preset = harness.catalog().attacks["noise"].spec.presets["paper"]
    threat = Linf(10 / 255)
    outcome = harness.attack("noise", joint.model, joint.x, goal=joint.goal, threat=threat, **preset)
    changes = ((outcome.adversarials - joint.x) * 255).round()
    assert changes.abs().max() == 10
    assert len(changes.unique()) == 21
    assert (outcome.forwards == 1).all()
