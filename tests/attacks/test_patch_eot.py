"""Patches under transformations: what these do to images, and that the patches hold under others."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import harness
from harness.catalog import catalog
from harness.randomness import CaseRandom
from harness.threat import Region
from harness_attacks.patch import patch
from harness_attacks.patch_eot import eyeglasses_eot, square_eot
from harness_attacks.patch_views import drawn_views
from tests.attacks.conftest import Setting

FRAME = torch.zeros(16, 16, dtype=torch.bool)
FRAME[4:9, 2:14] = True
STRONG: dict[str, Any] = {"shift": 0.12, "degrees": 15.0, "brightness": 0.2}


def streams(cases: int, seed: int = 0) -> CaseRandom:
    return CaseRandom(seed, [str(case) for case in range(cases)])


def test_a_view_of_no_change_is_the_image(joint: Setting) -> None:
    views = drawn_views(streams(5), joint.x[:5], 3, 0, 0, 0)
    assert torch.allclose(views.seen(joint.x[:5], 1), joint.x[:5], atol=1e-5)


def test_shifts_angles_and_light_are_no_larger_than_asked() -> None:
    """A dot on images that are twice as high as wide, 8 pixels below the middle."""
    x = torch.zeros(200, 1, 80, 40)
    x[:, :, 54:58, 18:22] = 0.5
    rows, columns = torch.arange(80.0)[:, None], torch.arange(40.0)

    def centre(images: Tensor) -> Tensor:
        weight = images[:, 0] / images[:, 0].sum((1, 2), keepdim=True)
        return torch.stack([(weight * rows).sum((1, 2)), (weight * columns).sum((1, 2))], 1)

    moved = centre(drawn_views(streams(200), x, 1, 0.05, 0, 0).seen(x, 0)) - centre(x)
    assert 3.5 < moved[:, 0].abs().max() <= 4 + 1e-3, "5 % of 80 rows"
    assert 1.7 < moved[:, 1].abs().max() <= 2 + 1e-3, "5 % of 40 columns"
    turned = centre(drawn_views(streams(200), x, 1, 0, 10, 0).seen(x, 0)) - torch.tensor([39.5, 19.5])
    assert torch.allclose(turned.norm(dim=1), torch.tensor(16.0), atol=0.2), "an angle keeps lengths"
    angle = torch.rad2deg(torch.atan2(turned[:, 1], turned[:, 0]))
    assert 9 < angle.abs().max() <= 10.1
    lit = drawn_views(streams(200), x, 1, 0, 0, 0.2).seen(x, 0).amax((1, 2, 3)) / 0.5
    assert 0.8 <= lit.min() < 0.83 < 1.17 < lit.max() <= 1.2 + 1e-5


def held(setting: Setting, images: Tensor) -> float:
    """The share of other transformations, and cases, in which the goal is reached."""
    objective = setting.goal.objective(setting.model, setting.model.scores(setting.x))
    views = drawn_views(streams(len(images), seed=9), images, 20, **STRONG)
    reached = [objective.reached(setting.model.scores(views.seen(images, view))) for view in range(20)]
    return float(torch.stack(reached).float().mean())


@pytest.mark.parametrize("kind", ["glasses", "square"])
def test_these_patches_hold_under_other_transformations(kind: str, joint: Setting) -> None:
    setting = joint.first(40)
    mask = FRAME if kind == "glasses" else torch.stack([FRAME, FRAME.T])
    function: Any = eyeglasses_eot if kind == "glasses" else square_eot
    given = {"goal": setting.goal, "threat": Region(mask)}
    plain_given = {"goal": setting.goal, "threat": Region(FRAME)}
    plain = harness.attack(patch, setting.model, setting.x, iterations=40, restarts=1, **plain_given)
    found = harness.attack(
        function, setting.model, setting.x, iterations=40, restarts=1, views=6, **STRONG, **given
    )
    assert found.valid.all()
    assert held(setting, found.adversarials) > held(setting, plain.adversarials) + 0.05
    assert found.reached.float().mean() >= plain.reached.float().mean() - 0.1


def test_the_passes_are_those_of_the_forecast(joint: Setting) -> None:
    spec = catalog().attacks["eyeglasses-eot"].spec
    given = {"iterations": 5, "restarts": 2, "views": 3}
    outcome = harness.attack(
        eyeglasses_eot, joint.model, joint.x[:4], goal=joint.first(4).goal, threat=Region(FRAME), **given
    )
    assert spec.passes is not None
    forwards, backwards = spec.passes(given)
    assert (outcome.backwards == 30).all()
    assert backwards == 30
    assert outcome.forwards.max() <= forwards


def test_boards_have_them_apart_from_the_papers() -> None:
    names = {*catalog().attacks}
    assert {"eyeglasses", "eyeglasses-eot", "square", "square-eot"} <= names
    assert "views" not in catalog().attacks["eyeglasses"].parameters()
