"""The standard attack against AutoAttack as ART has it, and against all other attacks on every head."""

from __future__ import annotations

import multiprocessing
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812

import harness
from harness.catalog import catalog
from harness.errors import AttackError
from harness.goals import Evade, Impersonate
from harness.threat import L2, Linf, Minimal, Threat
from harness_attacks.standard import Sizes, members
from tests.attacks.conftest import Cnn, Setting
from tests.attacks.test_against_peers import art_classifier
from tests.attacks.test_apgd import Scaled

SMALL: dict[str, Any] = {"steps": 20, "queries": 60, "targets": 3}
OTHERS: dict[str, dict[str, Any]] = {
    "pgd": {"steps": 20, "restarts": 2},
    "noise": {},
    "fgs": {},
    "gradient-descent": {"iterations": 40},
    "fab": {"steps": 10},
    "apgd": {"steps": 20, "loss": "margin"},
}


def worst_case(setting: Setting, threat: Threat, goal: Any) -> torch.Tensor:
    """(B,) whether any other attack of the suite succeeds within the budget."""
    found = torch.zeros(len(setting.x), dtype=torch.bool)
    for name, params in OTHERS.items():
        spec = catalog().attacks[name].spec
        if threat.norm not in spec.norms:
            continue
        own = threat if spec.budget == "fixed" else Minimal(threat.norm)  # type: ignore[arg-type]
        outcome = harness.attack(name, setting.model, setting.x, goal=goal, threat=own, **params)
        inside = torch.tensor(outcome.distances[threat.norm].to_numpy() <= (threat.eps or 0) + 1e-5)
        found |= outcome.success & inside
    return found


@pytest.mark.parametrize("threat", [Linf(3 / 255), L2(0.3)], ids=lambda threat: threat.label)
@pytest.mark.parametrize("network", ["joint", "classes"])
def test_it_is_as_strong_as_all_other_attacks_together(
    network: str, threat: Threat, request: pytest.FixtureRequest
) -> None:
    setting = request.getfixturevalue(network).first(48)
    worst = worst_case(setting, threat, setting.goal)
    outcome = harness.attack("standard", setting.model, setting.x, goal=setting.goal, threat=threat, **SMALL)
    assert outcome.valid.all()
    assert 0.1 < worst.float().mean() < 1
    assert outcome.success.float().mean() >= worst.float().mean() - 0.01


@pytest.mark.parametrize("kind", [Impersonate, Evade])
def test_on_embeddings_too(kind: Any) -> None:
    torch.manual_seed(0)
    module = Cnn(8).eval().requires_grad_(False)
    model = harness.wrap_model(module, "embedding")
    x = torch.round(torch.rand(32, 3, 16, 16, generator=torch.Generator().manual_seed(2)) * 255) / 255
    anchors = model.scores(x.roll(1, 0) if kind is Impersonate else x)
    threat, given = Linf(4 / 255), {"steps": 10, "early_stop": False}
    unreachable = kind(anchors, threshold=1e-6 if kind is Impersonate else 100.0)
    moved = harness.attack("pgd", model, x, goal=unreachable, threat=threat, **given).adversarials
    goal = kind(anchors, threshold=float(model.distance(model.scores(moved), anchors).median()))
    setting = Setting(model, x, goal, torch.zeros(32), torch.zeros(32))
    worst = worst_case(setting, threat, goal)
    outcome = harness.attack("standard", model, x, goal=goal, threat=threat, **SMALL)
    assert 0.1 < worst.float().mean() < 1
    assert outcome.success.float().mean() >= worst.float().mean() - 0.01


@pytest.mark.parametrize("factor", [1.0, 1e4])
def test_robust_accuracy_is_that_of_autoattack(
    classes: Setting, factor: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the same members at equal iterations in ART, which has no FAB."""
    attacks = pytest.importorskip("art.attacks.evasion")
    # ART imports it for several processes, which are not asked for here.
    monkeypatch.setitem(sys.modules, "multiprocess", multiprocessing)
    module = Scaled(classes.module, factor).eval()
    x, labels, eps = classes.x[:60], classes.labels[:60], 3 / 255
    classifier = art_classifier(module, 4)
    steps, queries = SMALL["steps"], SMALL["queries"]
    shared: dict[str, Any] = {"norm": np.inf, "eps": eps, "batch_size": 60, "verbose": False}
    gradient = {**shared, "eps_step": 2 * eps, "max_iter": steps, "nb_random_init": 1}
    ensemble = attacks.AutoAttack(
        classifier, norm=np.inf, eps=eps, eps_step=2 * eps, batch_size=60,
        attacks=[
            attacks.AutoProjectedGradientDescent(classifier, loss_type="cross_entropy", **gradient),
            attacks.AutoProjectedGradientDescent(
                classifier, loss_type="difference_logits_ratio", **gradient
            ),
            attacks.SquareAttack(classifier, max_iter=queries, p_init=0.8, nb_restarts=1, **shared),
        ],
    )  # fmt: skip
    np.random.seed(0)  # noqa: NPY002  (ART draws from the global generator)
    theirs = torch.tensor(ensemble.generate(x.numpy(), F.one_hot(labels, 4).numpy()))
    model = harness.wrap_model(module, "classes")
    left = (model.scores(theirs).argmax(1) == labels).float().mean()
    goal = classes.first(60).goal
    outcome = harness.attack("standard", model, x, goal=goal, threat=Linf(eps, levels=None), **SMALL)
    assert 0.05 < left < 0.9
    assert outcome.robust_accuracy.value is not None
    assert outcome.robust_accuracy.value <= float(left) + 0.005


def test_it_breaks_a_masked_model_that_pgd_does_not(classes: Setting) -> None:
    """Logits so large that the training loss has no slope; the records name the member that had one."""
    few, model = classes.first(60), harness.wrap_model(Scaled(classes.module, 1e4).eval(), "classes")
    params = {"goal": few.goal, "threat": Linf(4 / 255)}
    pgd = harness.attack("pgd", model, few.x, loss="training", **params)
    outcome = harness.attack("standard", model, few.x, **params, **SMALL)
    assert outcome.success.float().mean() > pgd.success.float().mean() + 0.2
    named = [name for name, hit in zip(outcome.found_by, outcome.reached.tolist(), strict=True) if hit]
    assert named.count("apgd-t") > 0.2 * len(few.x)


def test_members_are_run_on_what_is_left(joint: Setting) -> None:
    """Every success has the name of a member, and what falls to the first costs none of the others."""
    outcome = harness.attack("standard", joint.model, joint.x, goal=joint.goal, threat=Linf(3 / 255), **SMALL)
    names = np.array([name or "" for name in outcome.found_by])
    assert ((names != "") == outcome.reached.numpy()).all()
    assert {*names} <= {"", "apgd-ce", "apgd-margin", "fab", "square-attack"}
    first = torch.tensor(names == "apgd-ce")
    assert first.any()
    assert outcome.backwards[first].max() <= 20
    assert (outcome.backwards[~outcome.reached] == 60).all(), "APGD twice, and FAB"
    assert outcome.forwards[~outcome.reached].min() >= 21 + 21 + 2 * 20 + 60


def test_there_is_a_ratio_only_for_more_than_two_classes() -> None:
    sizes = Sizes(1, 1, 1, 1)
    assert [name for name, _ in members(True, sizes)] == ["apgd-ce", "apgd-t", "fab", "square-attack"]
    assert [name for name, _ in members(False, sizes)][1] == "apgd-margin"


def test_the_defaults_are_those_of_the_definition() -> None:
    parameters = catalog().attacks["standard"].parameters()
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    assert defaults == {
        "version": "1", "steps": 100, "restarts": 1, "targets": 9, "queries": 5000, "eot": 1, "bpda": False,
    }  # fmt: skip


def test_it_needs_a_budget(joint: Setting) -> None:
    with pytest.raises(AttackError, match="needs a budget"):
        harness.attack("standard", joint.model, joint.x, goal=joint.goal)
