"""No value of any parameter ends in a traceback: it works, or is refused in one line, planned or used."""

from __future__ import annotations

import random
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import harness
from harness.catalog import catalog
from harness.errors import AttackError, HarnessError
from harness.manifest import read_suite
from harness.parameters import check, keyword_parameters
from harness.plan.planner import plan
from harness.specs import AttackSpec

from .conftest import CASES, setting_of
from .quick import NAMES, few, function, spec, threat

DOCUMENT = (Path(__file__).parents[2] / "docs/bridges.md").read_text(encoding="utf-8")
ODD: tuple[Any, ...] = (
    *(-1, 0, 1, 2, 3, 10**30, -0.5, 0.0, 0.5, 1.5, 1e-12, 1e30, float("nan"), float("inf"), -float("inf")),
    *(True, False, "", "x", "1/0", "8/255", "inf", "EN", "dct", [], [1], [[1]], ["x"], {}, {"a": 1}),
)
SMALL = (
    0,
    1,
    2,
    3,
    0.0,
    1e-12,
    0.5,
    1.5,
    -0.5,
    True,
    False,
    "EN",
    "L1",
    "dct",
    "px",
    "diag",
    "fgsm",
    "inf",
    "2",
)


def suite(name: str, **values: Any) -> dict[str, Any]:
    table = {"use": name, **values}
    if spec(name).budget == "fixed" and spec(name).norms:
        table.setdefault("eps", 0.1)
    return {
        "schema": 1,
        "name": "fuzzed",
        "dataset": [{"use": "synthetic-faces", "sample": 2}],
        "model": [{"use": "separate", "attributes": ["Smiling"]}],
        "attack": [table],
    }


@pytest.mark.parametrize("name", NAMES)
def test_odd_values_are_planned_or_refused_in_one_line(name: str) -> None:
    parameters = keyword_parameters(function(name), AttackSpec.given)
    for parameter in (*parameters, "eps", "norm", "verbose", "targeted", "batch_size", "estimator", "y"):
        refused = 0
        for value in ODD:
            line = refusal(lambda given={parameter: value}: plan(read_suite(suite(name, **given)), catalog()))
            refused += line is not None
            assert line is None or parameter in line or name in line
        assert refused >= 5, parameter


@pytest.mark.parametrize("name", NAMES)
def test_every_attack_plans_with_its_defaults(name: str) -> None:
    (cell,) = plan(read_suite(suite(name)), catalog()).cells
    assert cell.attack.entry.qualified == name
    assert cell.attack.threat.access == spec(name).access


@pytest.mark.parametrize("name", NAMES)
def test_what_is_accepted_runs_or_is_refused_in_one_line(name: str) -> None:
    """Two draws of odd parameters each, on a head of its own."""
    draws = random.Random(name)
    parameters = keyword_parameters(function(name), AttackSpec.given)
    for goal in ("flip", "untargeted"):
        setting = setting_of(goal)
        values = few(name)
        for parameter in parameters:
            chosen = draws.choice(SMALL)
            if draws.random() < 0.5 and accepted(parameters, parameter, chosen):
                values[parameter] = chosen
        values = check(name, values, parameters, AttackError)
        line = refusal(lambda: setting.call(function(name), threat(name), **values))  # noqa: B023
        assert line is None or name in line


def refusal(call: Callable[[], object]) -> str | None:
    """The one line by which something is refused; None where it works."""
    try:
        call()
    except HarnessError as error:
        (line,) = str(error).splitlines()
        return line
    return None


def accepted(parameters: Any, name: str, value: Any) -> bool:
    try:
        check("", {name: value}, {name: parameters[name]}, AttackError)
    except AttackError:
        return False
    return True


def test_a_parameter_that_only_the_toolbox_refuses_is_named() -> None:
    setting = setting_of("untargeted")

    def attacked(name: str, **values: Any) -> Any:
        return harness.attack(
            name, setting.model, setting.x, goal=setting.goal, threat=threat(name), **values
        )

    with pytest.raises(AttackError, match=r"art/HopSkipJump refuses max_eval = 5: .* larger than"):
        attacked("art/HopSkipJump", max_eval=5, init_eval=10)
    with pytest.raises(AttackError, match=r"art/Wasserstein refuses kernel_size = 4: Need odd kernel size"):
        attacked("art/Wasserstein", kernel_size=4)
    with pytest.raises(AttackError, match=r'"max_iterations" is unknown; did you mean "max_iter"'):
        attacked("art/HopSkipJump", max_iterations=5)
    with pytest.raises(AttackError, match=r"max_iter = 0 must be int of at least 1"):
        attacked("art/HopSkipJump", max_iter=0)
    flip = setting_of("flip")
    with pytest.raises(AttackError, match="apgd-dlr needs at least three classes"):
        harness.attack(
            "art/AutoAttack",
            flip.model,
            flip.x,
            goal=flip.goal,
            threat=threat("art/AutoAttack"),
            attacks=["apgd-dlr"],
        )
    with pytest.raises(AttackError, match="es = 0 needs the package cma"):
        attacked("art/ThresholdAttack", es=0)
    with pytest.raises(AttackError, match="needs a budget"):
        harness.attack(
            "art/AutoAttack",
            setting.model,
            setting.x,
            goal=setting.goal,
            threat=harness.threats.Minimal("l2"),
        )


def test_images_that_an_attack_cannot_take_are_one_line() -> None:
    model = harness.wrap_model(
        torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 6, 4)), "classes"
    )
    x = torch.full((CASES, 3, 8, 6), 0.5)
    goal = harness.goals.Untargeted(model.scores(x).argmax(1))
    with pytest.raises(AttackError, match="art/GeoDA cannot do this: Input images `x` have to be square"):
        harness.attack("art/GeoDA", model, x, goal=goal, threat=harness.threats.Minimal("l2"))


def test_the_manifest_of_the_documents_plans() -> None:
    (text,) = [block.partition("```")[0] for block in DOCUMENT.split("```toml\n")[1:]]
    tables = suite("art/HopSkipJump") | tomllib.loads(text)
    planned = plan(read_suite(tables), catalog())
    labels = [cell.attack.label for cell in planned.cells]
    assert labels == [
        "HopSkipJump",
        "AutoAttack",
        "L2CarliniWagnerAttack[steps=100]",
        "L2CarliniWagnerAttack[steps=1000]",
    ]
