"""All that the harness brings keeps the contract; what is added is checked without a word here."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from harness.catalog import catalog
from harness.testing import (
    Case,
    Problem,
    analysis_checks,
    attack_checks,
    converter_checks,
    dataset_checks,
    measure_checks,
    metric_checks,
    model_checks,
)
from harness.testing.attacks.subject import AttackSubject
from harness.testing.problems.linear import FAR, linear_scores
from harness.testing.problems.quadratic import quadratic_scores
from harness.threat import Minimal, l2, linf

BRIDGES = {"art", "foolbox"}
"""Plugins of other libraries' attacks, of which there are dozens."""
SMALLER: dict[str, dict[str, Any]] = {
    "eyeglasses": {"iterations": 20},
    "square": {"iterations": 10, "search_iterations": 2},
    "universal-patch": {"iterations": 30},
    "random-eyeglasses": {"draws": 20},
    "cw-l2": {"iterations": 60},
    "gradient-descent": {"iterations": 30, "tests": 3},
    "component-gradient": {"iterations": 50},
    "pgd": {"steps": 6},
    "noise": {"draws": 5},
    "apgd": {"steps": 10},
    "fab": {"steps": 15, "targets": 3},
    "ddn": {"steps": 25},
    "fmn": {"steps": 25},
    "square-attack": {"queries": 250},
    "standard": {"steps": 10, "targets": 1, "queries": 10},
    "eyeglasses-eot": {"iterations": 20, "views": 2},
    "square-eot": {"iterations": 10, "search_iterations": 2, "views": 2},
    "synthetic-faces": {"count": 60, "size": [32, 28]},
    "mfa-symmetric": {"attribute": "first", "components": 1, "latent": 2, "steps": 2, "train": 40},
    "mfa-asymmetric": {"attribute": "first", "components": 1, "latent": 2, "steps": 2, "train": 40},
    "two-classes": {"pair": ["one", "two"]},
    "mfa": {"components": 1, "latent": 2, "steps": 2},
    "verifier": {"width": 4, "generator_width": 4, "generator_hidden": 8}
    | dict.fromkeys(("steps", "start_steps", "attack_steps", "generator_epochs", "encoder_epochs"), 1),
}
"""Parameters of what would take long; no promise depends on the number of steps."""
CONTRACTS = {
    "attacks": attack_checks,
    "models": model_checks,
    "datasets": dataset_checks,
    "measures": measure_checks,
    "metrics": metric_checks,
    "analyses": analysis_checks,
}


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def built_in() -> list[Any]:
    """The cases of everything in this distribution that has a contract, except the bridges."""
    found = []
    for kind, contract in CONTRACTS.items():
        for name, entry in catalog().section(kind).items():
            if entry.plugin.distribution != "face-robustness-harness" or entry.plugin.name in BRIDGES:
                continue
            cases = contract(entry, params=SMALLER.get(name))
            found += [pytest.param(case, id=f"{name}-{case.__name__}") for case in cases]
    return found


@pytest.mark.parametrize("case", built_in())
def test_built_in(case: Case) -> None:
    case()


@pytest.mark.parametrize("name", ["foolbox/LinfFastGradientAttack", "art/FastGradientMethod"])
def test_a_bridge(name: str) -> None:
    results = [case.result() for case in attack_checks(name)]
    assert [result for result in results if result.status == "failed"] == []


@pytest.mark.parametrize("name", ["art", "foolbox"])
def test_a_converter(name: str) -> None:
    results = [case.result() for case in converter_checks(name)]
    assert [result.status for result in results] == ["passed"] * 6


def distances(name: str, problem: Problem) -> tuple[Tensor, Tensor]:
    """Relative excess (B,) in L2 and in L-infinity over the smallest change."""
    ran = AttackSubject.of(name).run(problem, Minimal("linf", levels=None))
    assert ran.trial.verdict.success.all()
    change = ran.change.double()
    return l2(change) / problem.l2 - 1, linf(change) / problem.linf - 1


@pytest.mark.parametrize("attributes", [1, 4])
def test_line_searches_are_within_2_percent_of_the_closed_form(attributes: int) -> None:
    shape = (3, 16, 16)
    # where a whole grey level is less than that, FGS too
    far = linear_scores(shape, FAR, attributes=attributes)
    assert distances("fgs", far)[1].abs().max() < 0.02
    for problem in (far, linear_scores(shape, attributes=attributes), quadratic_scores(shape)):
        assert distances("ffa", problem)[0].abs().max() < 0.02


def test_nothing_is_left_out() -> None:
    """Few checks say nothing of a subject, and none of all subjects."""
    cases: list[Case] = [parameter.values[0] for parameter in built_in()]
    assert {case.subject.name for case in cases} >= {
        "ffa",
        "fgs",
        "pgd",
        "noise",
        "cw-l2",
        "moon",
        "separate",
    }
    assert len(cases) > 250
