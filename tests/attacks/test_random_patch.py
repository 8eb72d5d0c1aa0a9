"""Random patches: noise inside the region alone, and of many patterns the nearest to the goal."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import harness
from harness.errors import AttackError
from harness.goals import Evade, Impersonate
from harness.judge.trial import attempt
from harness.randomness import CaseRandom
from harness.threat import Region
from harness_attacks import costs
from harness_attacks.random_patch import random_patch


def window() -> Tensor:
    mask = torch.zeros(16, 16, dtype=torch.bool)
    mask[5:9, 5:10] = True
    return mask


def verifier(classes: Any) -> harness.Model:
    return harness.wrap_model(classes.module, "embedding", threshold=0.01)


@pytest.mark.parametrize("kind", [Impersonate, Evade])
@pytest.mark.parametrize("cases", [3, 40])
def test_the_best_of_all_patterns_is_kept(classes: Any, kind: Any, cases: int) -> None:
    """Against a loop that tries one pattern of one case after the other."""
    model, x, draws = verifier(classes), classes.x[:cases], 70
    anchors = model.scores(x.roll(1, 0))
    outcome = harness.attack(
        random_patch, model, x, goal=kind(anchors), threat=Region(window()), seed=4, draws=draws
    )
    assert ((outcome.adversarials != x).any(1) & ~window()).sum() == 0
    assert (outcome.forwards == draws).all()
    assert (outcome.backwards == 0).all()
    sign = 1 if kind is Impersonate else -1
    for case in range(min(cases, 3)):
        noise = CaseRandom(4, [str(case)]).uniform((draws, 3, 16, 16))[0]
        tried = torch.round(torch.where(window(), noise, x[case]) * 255) / 255
        distances = sign * (model.scores(tried) - anchors[case]).norm(dim=1)
        assert torch.equal(outcome.adversarials[case], tried[distances.argmin()])


def test_more_patterns_come_nearer_and_the_first_are_the_same(classes: Any) -> None:
    model, x = verifier(classes), classes.x[:20]
    anchors = model.scores(x.roll(1, 0))

    def distances(draws: int) -> Tensor:
        outcome = harness.attack(
            random_patch, model, x, goal=Impersonate(anchors), threat=Region(window()), draws=draws
        )
        return (model.scores(outcome.adversarials) - anchors).norm(dim=1)

    few, many = distances(5), distances(100)
    assert (many <= few).all()
    assert (many < few).float().mean() > 0.8


def test_it_stops_where_it_may(joint: Any) -> None:
    x, goal = joint.x, joint.goal
    outcome = harness.attack(
        random_patch, joint.model, x, goal=goal, threat=Region(window()), draws=50, early_stop=True
    )
    assert outcome.success.any()
    assert (outcome.forwards[outcome.success] < 50).any()
    assert (outcome.forwards[~outcome.reached] == 50).all()


def test_it_sees_scores_alone_and_a_case_does_not_depend_on_others(classes: Any) -> None:
    model, x = verifier(classes), classes.x[:6]
    anchors = model.scores(x.roll(1, 0))
    threat = Region(window(), access="scores")
    params = {"draws": 20, "early_stop": False}

    def trial(rows: slice) -> Tensor:
        goal, keys = Impersonate(anchors[rows]), [str(case) for case in range(6)][rows]
        found = attempt(model, random_patch, x[rows], goal, threat, seed=0, keys=keys, parameters=params)
        return found.verdict.adversarials

    together = trial(slice(0, 6))
    for case in range(6):
        assert torch.equal(trial(slice(case, case + 1))[0], together[case])


def test_hardly_any_cases_and_no_region(classes: Any) -> None:
    model = verifier(classes)
    for cases in (0, 1):
        x = classes.x[:cases]
        goal = Impersonate(torch.zeros(cases, 4))
        outcome = harness.attack(random_patch, model, x, goal=goal, threat=Region(window()), draws=2)
        assert outcome.adversarials.shape == x.shape
    goal = Impersonate(torch.zeros(2, 4))
    for threat in (harness.threats.Minimal("l2"), Region(window().expand(3, -1, -1))):
        with pytest.raises(AttackError, match="needs a"):
            harness.attack(random_patch, model, classes.x[:2], goal=goal, threat=threat)


def test_masks_of_different_sizes_hold_one_pattern_each(classes: Any) -> None:
    model, x = verifier(classes), classes.x[:4]
    masks = torch.zeros(4, 1, 16, 16, dtype=torch.bool)
    for case in range(4):
        masks[case, :, 4 : 5 + case, 4:9] = True
    goal = Impersonate(model.scores(x.roll(1, 0)))
    outcome = harness.attack(random_patch, model, x, goal=goal, threat=Region(masks), draws=3)
    assert outcome.valid.all()
    assert ((outcome.adversarials != x).any(1, keepdim=True) & ~masks).sum() == 0


def test_the_attack_of_the_catalogue_is_on_the_glasses() -> None:
    entry = harness.catalog().attacks["random-eyeglasses"]
    assert entry.spec.traits == {"random"}
    assert entry.parameters()["draws"].default == 1000
    assert costs.passes_of_random_patch({"draws": 7}) == (7.0, 0.0)
    x = torch.full((1, 3, 64, 64), 128 / 255)
    model = harness.wrap_model(torch.nn.Flatten(), "embedding", threshold=1.0)
    goal = Impersonate(torch.zeros(1, 3 * 64 * 64))
    outcome = harness.attack("random-eyeglasses", model, x, goal=goal, draws=2)
    changed = (outcome.adversarials != x).any(1)[0]
    assert 100 <= changed.sum() <= 107
    assert not (changed & ~entry.load(entry.spec.region)(64, 64)).any()
