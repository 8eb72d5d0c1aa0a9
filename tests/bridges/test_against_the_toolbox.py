"""The bridge against the Toolbox by hand: the same network, seed and parameters give the same images."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from art.attacks import evasion
from art.estimators.classification import PyTorchClassifier
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import harness
from harness.goals import FlipAttribute, Targeted, Untargeted
from harness.model import frozen
from harness.randomness import CaseRandom
from harness.threat import L2, Linf, Minimal, Threat
from harness_art.special_cases import drawn_start

from .conftest import CASES, CLASSES, Setting, images, model_of, setting_of
from .quick import few, function

SEED = 0

# Used by hand, the Toolbox warns of much that numpy 2 has changed.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning")


def classifier(module: nn.Module, classes: int = CLASSES) -> Any:
    """The Toolbox's own, around the bare network."""
    return PyTorchClassifier(
        model=module,
        loss=nn.CrossEntropyLoss(),
        input_shape=(3, 8, 8),
        nb_classes=classes,
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )


def seeded(cases: slice = slice(None)) -> CaseRandom:
    """Global generators as the bridge seeds them for a call on these cases, and their streams thereafter."""
    streams = CaseRandom(SEED, [str(case) for case in range(CASES)][cases])
    seed = int(streams.take(torch.tensor([0])).integers(2**31 - 1))
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)
    return streams


class TwoLogits(nn.Module):
    """Of the attribute that an image is to lose: it is there (0), it is gone (1); written out again here."""

    def __init__(self, module: nn.Module, column: int, present: bool) -> None:
        super().__init__()
        self.module, self.column, self.sign = module, column, -1.0 if present else 1.0

    def forward(self, x: Tensor) -> Tensor:
        margin = self.sign * self.module(x)[:, self.column]
        return torch.stack([-margin / 2, margin / 2], 1)


CALLS: list[tuple[str, Threat, dict[str, Any], dict[str, Any]]] = [
    (
        "ProjectedGradientDescent",
        Linf(0.1),
        {"max_iter": 10, "num_random_init": 2},
        {"eps": 0.1, "eps_step": 0.1 / 3},
    ),
    (
        "ProjectedGradientDescent",
        L2(0.5),
        {"max_iter": 10, "eps_step": 0.1},
        {"norm": 2, "eps": 0.5, "eps_step": 0.1},
    ),
    ("CarliniL2Method", Minimal("l2"), {"max_iter": 10, "binary_search_steps": 5}, {}),
    ("DeepFool", Minimal("l2"), {}, {}),
    ("ElasticNet", Minimal("l2"), {"max_iter": 30, "binary_search_steps": 3, "initial_const": 1.0}, {}),
    ("FastGradientMethod", Linf(0.1), {}, {"eps": 0.1}),
    ("AutoProjectedGradientDescent", Linf(0.05), {"max_iter": 10}, {"eps": 0.05, "eps_step": 0.05 / 3}),
    ("SquareAttack", Linf(0.1), {"max_iter": 50}, {"eps": 0.1}),
    ("BasicIterativeMethod", Linf(0.1), {"max_iter": 10}, {"eps": 0.1, "eps_step": 0.1 / 3}),
]


def direct(name: str, estimator: Any, x: Tensor, labels: Any, **arguments: Any) -> Tensor:
    """Images that the Toolbox makes when it is called by hand."""
    known = evasion.__dict__[name].__init__.__code__.co_varnames
    arguments |= {
        key: value for key, value in {"batch_size": len(x), "verbose": False}.items() if key in known
    }
    attack = getattr(evasion, name)(estimator, **arguments)
    return torch.tensor(np.asarray(attack.generate(x.numpy().copy(), y=labels), np.float32))


@pytest.mark.parametrize(("name", "threat", "shared", "own"), CALLS, ids=lambda value: str(value)[:24])
def test_classes(name: str, threat: Threat, shared: dict[str, Any], own: dict[str, Any]) -> None:
    """All cases in one call."""
    setting = setting_of("untargeted")
    bridged, _ = setting.call(function(f"art/{name}"), threat, **defaults(name) | shared)
    labels = F.one_hot(setting.goal.labels, CLASSES).numpy()  # type: ignore[attr-defined]
    with frozen(setting.module):
        seeded()
        by_hand = direct(name, classifier(setting.module), setting.x, labels, **shared | own)
    assert torch.equal(bridged, by_hand)
    assert not torch.equal(bridged, setting.x)


@pytest.mark.parametrize(
    ("name", "threat", "shared", "own"),
    [call for call in CALLS if call[0] not in ("DeepFool", "SquareAttack")],
    ids=lambda value: str(value)[:24],
)
def test_a_class_to_be_reached(
    name: str, threat: Threat, shared: dict[str, Any], own: dict[str, Any]
) -> None:
    setting = setting_of("targeted")
    bridged, _ = setting.call(function(f"art/{name}"), threat, **defaults(name) | shared)
    labels = F.one_hot(setting.goal.classes, CLASSES).numpy()  # type: ignore[attr-defined]
    with frozen(setting.module):
        seeded()
        by_hand = direct(name, classifier(setting.module), setting.x, labels, targeted=True, **shared | own)
    assert torch.equal(bridged, by_hand)


@pytest.mark.parametrize(("name", "threat", "shared", "own"), CALLS, ids=lambda value: str(value)[:24])
def test_an_attribute_is_two_logits(
    name: str, threat: Threat, shared: dict[str, Any], own: dict[str, Any]
) -> None:
    """Against two logits written out in this file."""
    model, x = model_of("attributes"), images()
    for column in range(2):
        present = bool(model.scores(x[:1])[0, column] > 0)
        one = Setting(model, x[:1], FlipAttribute(torch.tensor([column])))
        bridged, _ = one.call(function(f"art/{name}"), threat, **defaults(name) | shared)
        with frozen(one.module):
            seeded(slice(0, 1))
            by_hand = direct(
                name,
                classifier(TwoLogits(one.module, column, present), 2),
                one.x,
                np.array([[1.0, 0.0]], np.float32),
                **shared | own,
            )
        assert torch.equal(bridged, by_hand)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_autoattack_with_its_own_defaults(norm: str) -> None:
    setting = setting_of("untargeted")
    eps = 0.12 if norm == "linf" else 0.8
    bridged, _ = setting.call(function("art/AutoAttack"), Threat(norm, eps), **defaults("AutoAttack"))
    labels = F.one_hot(setting.goal.labels, CLASSES).numpy()  # type: ignore[attr-defined]
    with frozen(setting.module):
        seeded()
        attack = evasion.AutoAttack(
            classifier(setting.module),
            norm=np.inf if norm == "linf" else 2,
            eps=eps,
            eps_step=eps / 3,
            batch_size=CASES,
        )
        for part in attack.attacks:  # what the Toolbox leaves to its defaults, and the bridge does not
            part.verbose = False
        by_hand = attack_by_hand(attack, setting.x, labels)
    assert torch.equal(bridged, by_hand)
    assert (setting.model.scores(bridged).argmax(1) != setting.goal.labels).all()  # type: ignore[attr-defined]


def attack_by_hand(attack: Any, x: Tensor, labels: Any) -> Tensor:
    """AutoAttack's images; it imports a package that it does not use, and that nobody installs."""
    import multiprocessing
    import sys

    sys.modules.setdefault("multiprocess", multiprocessing)
    try:
        return torch.tensor(np.asarray(attack.generate(x.numpy().copy(), y=labels), np.float32))
    finally:
        if sys.modules["multiprocess"] is multiprocessing:
            del sys.modules["multiprocess"]


def startable() -> Setting:
    """Plain images that are not of the class that noise is of: a start is found at once."""
    model, draws = model_of("classes"), torch.Generator().manual_seed(1)
    noise = model.scores(torch.rand(50, 3, 8, 8, generator=draws)).argmax(1).mode().values
    plain = torch.rand(200, 3, 1, 1, generator=draws).expand(-1, 3, 8, 8)
    x = torch.round(255 * plain) / 255
    labels = model.scores(x).argmax(1)
    return Setting(model, x[labels != noise][:16], Untargeted(labels[labels != noise][:16]))


def test_hopskipjump_from_the_same_start() -> None:
    """Case by case, from the image that the bridge draws."""
    setting, shared = startable(), {"max_iter": 5, "max_eval": 200, "init_eval": 50}
    threat = Minimal("l2", access="decisions")
    first = slice(0, CASES)
    bridged, _ = setting.call(
        function("art/HopSkipJump"), threat, cases=first, **defaults("HopSkipJump") | shared
    )
    labels = F.one_hot(setting.goal.labels, CLASSES).numpy()  # type: ignore[attr-defined]
    estimator = classifier(setting.module)
    for case in range(CASES):
        rows = slice(case, case + 1)
        with frozen(setting.module):
            x = setting.x[rows].numpy()
            start = drawn_start(estimator, x, labels[rows], False, {"init_size": 100}, seeded(rows), None)
            attack = evasion.HopSkipJump(estimator, verbose=False, **shared)
            by_hand = attack.generate(x.copy(), y=labels[rows], x_adv_init=start)
        assert torch.equal(bridged[rows], torch.tensor(by_hand))


def test_hopskipjump_from_its_own_start() -> None:
    """From images that the Toolbox draws, and nobody can seed: as near as that from the bridge's."""
    setting, shared = startable(), {"max_iter": 10, "max_eval": 400, "init_eval": 50}
    outcome = harness.attack(
        "art/HopSkipJump",
        setting.model,
        setting.x,
        goal=setting.goal,
        threat=Minimal("l2", levels=None),
        **shared,
    )
    labels = F.one_hot(setting.goal.labels, CLASSES).numpy()  # type: ignore[attr-defined]
    with frozen(setting.module):
        attack = evasion.HopSkipJump(classifier(setting.module), verbose=False, **shared)
        by_hand = attack.generate(setting.x.numpy().copy(), y=labels)
    assert outcome.success.all()
    theirs = np.linalg.norm((by_hand - setting.x.numpy()).reshape(len(by_hand), -1), axis=1)
    assert np.median(outcome.distances["l2"] / theirs) == pytest.approx(1, abs=0.1)


def defaults(name: str) -> dict[str, Any]:
    """All parameters with the defaults that a manifest's reader sees."""
    from harness.parameters import keyword_parameters
    from harness.specs import AttackSpec

    known = keyword_parameters(function(f"art/{name}"), AttackSpec.given)
    return {key: parameter.default for key, parameter in known.items()}


def test_a_universal_change_is_one_and_small() -> None:
    """Every image is changed by the same, up to the box; it is learnt on ``fit`` alone."""
    setting = setting_of("untargeted")
    fit = torch.tensor([True, True, False, False])
    name = "art/UniversalPerturbation"
    changed, meter = setting.call(function(name), Linf(0.1), fit=fit, **few(name) | {"max_iter": 5})
    change = changed - setting.x
    inside = ((changed > 0) & (changed < 1)).all(0)
    assert inside.any()
    assert (change - change[:1]).abs()[:, inside].max() < 1e-6
    assert 0.01 < change.abs().max() <= 0.1 + 1e-6
    assert (meter.backwards[fit] > 0).any()
    assert meter.forwards[~fit].sum() == 0


def test_goals_in_one_batch_do_not_mix() -> None:
    """Cases of one image, each with an attribute of its own: no pass asks another case's question."""
    x = images()[:1].expand(3, -1, -1, -1)
    setting = Setting(model_of("attributes"), x, FlipAttribute(torch.tensor([0, 1, 2])))
    for name in ("ProjectedGradientDescent", "FastGradientMethod", "DeepFool"):
        threat = Minimal("l2") if name == "DeepFool" else Linf(0.2)
        values = defaults(name) | ({"epsilon": 0.02} if name == "DeepFool" else {})
        found, _ = setting.call(function(f"art/{name}"), threat, **values)
        before, after = setting.model.scores(x) > 0, setting.model.scores(found) > 0
        assert (before != after).diagonal().all(), name


def test_targeted_universal_goals_are_reached() -> None:
    setting = setting_of("targeted")
    classes = torch.full((CASES,), 2)
    goal = Targeted(classes)
    towards = Setting(setting.model, setting.x, goal)
    name = "art/TargetedUniversalPerturbation"
    found, _ = towards.call(function(name), Linf(0.4), **few(name))
    assert (setting.model.scores(found).argmax(1) == 2).sum() > (
        setting.model.scores(setting.x).argmax(1) == 2
    ).sum()
    untargeted = Setting(setting.model, setting.x, Untargeted(setting.model.scores(setting.x).argmax(1)))
    left, _ = untargeted.call(function(name), Linf(0.4), **few(name))
    assert left.isfinite().all()


def test_a_region_is_told_to_the_toolbox() -> None:
    """The image of the Toolbox by hand, with the same mask, and not one that is cut to it afterwards."""
    setting = setting_of("untargeted")
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[2:7, :6] = True
    steps = {"max_iter": 5, "eps_step": 0.05}
    values = defaults("ProjectedGradientDescent") | steps
    bridged, _ = setting.call(function("art/ProjectedGradientDescent"), replace(L2(0.5), mask=mask), **values)
    labels = F.one_hot(setting.goal.labels, CLASSES).numpy()  # type: ignore[attr-defined]
    with frozen(setting.module):
        seeded()
        attack = evasion.ProjectedGradientDescent(
            classifier(setting.module), norm=2, eps=0.5, batch_size=CASES, verbose=False, **steps
        )
        whole = mask.expand(setting.x.shape).numpy()  # it broadcasts no smaller one
        by_hand = attack.generate(setting.x.numpy(), y=labels, mask=whole)
    assert torch.equal(bridged, torch.tensor(by_hand))


def test_a_drawn_start_reaches_the_goal() -> None:
    """It is the first random image that does; there may be none."""
    setting = setting_of("untargeted")
    with frozen(setting.module):
        estimator = classifier(setting.module)
        for wanted in range(CLASSES):
            label = np.eye(CLASSES, dtype=np.float32)[[wanted]]
            x, streams = setting.x[:1].numpy(), CaseRandom(wanted, ["0"])
            for targeted in (False, True):
                start = drawn_start(estimator, x, label, targeted, {"init_size": 50}, streams, None)
                if start is not None:
                    assert (estimator.predict(start).argmax(1)[0] == wanted) == targeted
        assert drawn_start(estimator, x, label, True, {"init_size": 50}, streams, None) is None
