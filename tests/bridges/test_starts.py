"""Attacks that need an image to start from: an impersonation starts from the target's own image."""

from __future__ import annotations

import importlib
import random
from typing import Any

import numpy as np
import pytest
import torch
from art.attacks import evasion
from art.estimators.classification import PyTorchClassifier
from torch import Tensor, nn

import harness
from harness.errors import AttackError
from harness.goals import Evade, Impersonate
from harness.handle import Handle
from harness.model import frozen
from harness.randomness import CaseRandom
from harness.threat import Minimal, Region
from harness_art.problem import enrolled_start
from harness_art.table import ATTACKS as FROM_ART

from .conftest import CASES, Setting, images, model_of
from .quick import few, function

# Used by hand, the Toolbox warns of much that numpy 2 has changed.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning")

NAMES = (
    "art/HopSkipJump",
    "art/BoundaryAttack",
    "art/SignOPTAttack",
    "foolbox/HopSkipJumpAttack",
    "foolbox/BoundaryAttack",
)
NEAR = 0.4
"""The threshold; the targets are farther, and no random image comes so near to one."""


def targets() -> Tensor:
    """(4, 3, 8, 8) other images, one for each of ``images()``."""
    draws = torch.Generator().manual_seed(8)
    colours = torch.rand(CASES, 3, 1, 1, generator=draws)
    return torch.round(255 * colours.expand(-1, -1, 8, 8)) / 255


def setting(kind: Any = Impersonate, references: Tensor | None = None, threshold: float = NEAR) -> Setting:
    model = model_of("embedding")
    anchors = model.scores(targets() if kind is Impersonate else images())
    return Setting(model, images(), kind(anchors, threshold, references))


def reached(made: Setting, found: Tensor) -> Tensor:
    return made.goal.objective(made.model, made.model.scores(made.x)).reached(made.model.scores(found))


def attacked(name: str, made: Setting) -> Tensor:
    """The attack's images; of its passes, all are counted."""
    found, meter = made.call(function(name), Minimal("l2", access="decisions"), **few(name))
    assert meter.forwards.sum() == made.module.asked
    return found


@pytest.mark.parametrize("name", NAMES)
def test_from_the_targets_image_every_case_impersonates(name: str) -> None:
    """None does from random images; what is found is nearer to the original than the target's image."""
    assert not reached(setting(), attacked(name, setting())).any()
    made = setting(references=targets())
    found = attacked(name, made)
    assert reached(made, found).all()
    assert ((found - made.x).flatten(1).norm(dim=1) < (targets() - made.x).flatten(1).norm(dim=1)).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_case_alone_is_the_case_in_a_batch(name: str) -> None:
    together = attacked(name, setting(references=targets()))
    made = setting(references=targets())
    found, _ = made.call(function(name), Minimal("l2", access="decisions"), cases=slice(2, 3), **few(name))
    assert torch.equal(found[0], together[2])


@pytest.mark.parametrize("name", NAMES)
def test_evasions_start_elsewhere(name: str) -> None:
    """The reference of an evasion is of the person, and so no start; random images are."""
    referred, plain = setting(Evade, images(), 0.2), setting(Evade, None, 0.2)
    found = attacked(name, referred)
    assert torch.equal(found, attacked(name, plain))
    assert referred.module.asked == plain.module.asked  # not even once about the reference
    assert reached(plain, found).any()


class Accepted(nn.Module):
    """Logits: rejected, accepted; written out again here."""

    def __init__(self, module: nn.Module, anchor: Tensor) -> None:
        super().__init__()
        self.module, self.anchor = module, anchor

    def forward(self, x: Tensor) -> Tensor:
        near = ((self.module(x) - self.anchor).square().sum(1) + 1e-12).sqrt() < NEAR
        return torch.stack([~near, near], 1).float()


@pytest.mark.parametrize("name", ["HopSkipJump", "BoundaryAttack"])
def test_it_is_the_toolboxs_attack_from_that_image(name: str) -> None:
    """Case by case, with ``x_adv_init`` given by hand."""
    made = setting(references=targets())
    bridged = attacked(f"art/{name}", made)
    shared = few(f"art/{name}")
    for case in range(CASES):
        seed = int(CaseRandom(0, [str(case)]).integers(2**31 - 1))
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        estimator = PyTorchClassifier(
            model=Accepted(made.module, made.model.scores(targets())[case]).eval(),
            loss=nn.CrossEntropyLoss(),
            input_shape=(3, 8, 8),
            nb_classes=2,
            clip_values=(0.0, 1.0),
            device_type="cpu",
        )
        x, start = (values[case : case + 1].numpy().copy() for values in (made.x, targets()))
        with frozen(made.module):
            by_hand = getattr(evasion, name)(estimator, targeted=False, verbose=False, **shared).generate(
                x, y=np.array([[1.0, 0.0]], np.float32), x_adv_init=start
            )
        assert torch.equal(bridged[case], torch.tensor(by_hand[0]))


@pytest.mark.parametrize("name", ["art/HopSkipJump", "foolbox/HopSkipJumpAttack"])
def test_hopskipjump_succeeds_as_it_is_judged(name: str) -> None:
    """Some images keep what they reached when they are rounded."""
    made = setting(references=targets())
    outcome = harness.attack(name, made.model, made.x, goal=made.goal, **few(name))
    assert outcome.success.any()
    assert outcome.valid.all()


class Brightness(nn.Module):
    """(B, 3, 8, 8) to (B, 1): an embedding by which all noise is alike."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((1, 2, 3))[:, None]


@pytest.mark.parametrize(
    "name", ["art/HopSkipJump", "art/BoundaryAttack", "foolbox/HopSkipJumpAttack", "foolbox/BoundaryAttack"]
)
def test_an_evasion_that_no_noise_begins_starts_from_the_negative(name: str) -> None:
    x = torch.round(255 * torch.full((2, 3, 8, 8), 0.3)) / 255
    model = harness.wrap_model(Brightness(), "embedding", threshold=0.25)
    outcome = harness.attack(
        name, model, x, goal=Evade(model.scores(x)), threat=Minimal("l2", levels=None), **few(name)
    )
    assert outcome.reached.all()


def test_a_region_holds_the_targets_image() -> None:
    """Outside of it the original stays; the target's pixels inside may not be enough."""
    made = setting(references=targets())
    for columns, expected in ((8, True), (1, False)):
        mask = torch.zeros(8, 8, dtype=torch.bool)
        mask[:, :columns] = True
        outcome = harness.attack(
            "art/HopSkipJump",
            made.model,
            made.x,
            goal=made.goal,
            threat=Region(mask, norm="l2", levels=None),
            **few("art/HopSkipJump"),
        )
        assert outcome.valid.all()
        assert outcome.reached.all() == expected


def test_a_start_keeps_what_lies_outside_the_region() -> None:
    made = setting(references=targets())
    case = torch.tensor([1])
    objective: Any = made.goal.objective(made.model, made.model.scores(made.x)).take(case)
    mask = torch.ones(8, 8, dtype=torch.bool)
    mask[0, 0] = False
    start = enrolled_start(Handle(made.model, CASES).take(case), objective, made.x[case], Region(mask))
    assert start is not None
    assert torch.equal(start, torch.where(mask, targets()[case], made.x[case]))


def test_references_of_another_size_are_refused() -> None:
    made = setting(references=torch.rand(CASES, 3, 9, 9))
    for name in ("art/HopSkipJump", "foolbox/HopSkipJumpAttack"):
        with pytest.raises(AttackError, match=r"references are \(3, 9, 9\) images"):
            harness.attack(name, made.model, made.x, goal=made.goal, **few(name))


def test_nothing_of_a_start_stays_behind() -> None:
    attacked("art/SignOPTAttack", setting(references=targets()))
    module: Any = importlib.import_module("art.attacks.evasion.sign_opt")
    assert module.np.random.first == []
    assert module.np.random.normal is np.random.normal


def test_the_documents_say_where_each_attack_starts() -> None:
    noted = {f"art/{row.name}" for row in FROM_ART if "the target's own image" in row.note}
    assert noted == {name for name in NAMES if name.startswith("art/")}
