"""The attack contract finds every broken promise, and says so; sound attacks pass all of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import harness
from harness.testing import attack_checks, findings, results_of

from . import broken_attacks as attacks

WITH_A_BUDGET = {"passes": lambda parameters: (7.0, 7.0)}
WITHOUT = {"budget": "minimal", "passes": lambda parameters: (26.0, 1.0)}
SEES_SCORES = {"access": "scores", "norms": ("linf",)}
IN_A_REGION = {"norms": (), "region": "tests.testing.broken_attacks:left_half"}
IN_CLASSES = {"heads": frozenset({"classes"}), "norms": ("linf",)}
SOON = {**IN_CLASSES, "passes": lambda parameters: (24.0, 24.0)}
OF_EMBEDDINGS = {"heads": frozenset({"embedding"}), "norms": ("linf",)}
FOR_MANY = {**IN_A_REGION, "traits": frozenset({"universal"})}


def spec_of(function: Callable[..., Any], **said: Any) -> harness.AttackSpec:
    name = function.__name__.replace("_", "-")
    return harness.AttackSpec(name=name, summary="", run=f"tests:{function.__name__}", **said)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (attacks.climb, WITH_A_BUDGET),
        (attacks.random_start, {"norms": ("linf",)}),
        (attacks.ray, WITHOUT),
        (attacks.search, SEES_SCORES),
        (attacks.corner, IN_A_REGION),
        (attacks.shared, FOR_MANY),
    ],
)
def test_sound_attacks_pass(function: Callable[..., Any], said: dict[str, Any]) -> None:
    results = [case.result() for case in attack_checks(spec_of(function, **said), function=function)]
    assert [result for result in results if result.status == "failed"] == []
    assert sum(result.status == "passed" for result in results) > 20


@pytest.mark.parametrize(
    ("function", "said", "check", "line"),
    [
        (attacks.returns_bytes, WITH_A_BUDGET, "images", "uint8 instead of floating-point"),
        (attacks.returns_the_first, WITH_A_BUDGET, "images", "returned shape (1, 3, 16, 16) for (8,"),
        (
            attacks.forgets_embeddings,
            WITH_A_BUDGET,
            "images",
            "on impersonation, linf 8/255: the attack raised",
        ),
        (attacks.leaves_the_pixel_range, WITH_A_BUDGET, "pixel-range", "clamp to [0, 1]"),
        (attacks.exceeds_the_budget, WITH_A_BUDGET, "budget", "over the budget: a change of"),
        (attacks.takes_l2_for_linf, WITH_A_BUDGET, "budget", "l2 0."),
        (attacks.ignores_the_mask, WITH_A_BUDGET, "region", "outside the region"),
        (attacks.ignores_whose_mask, WITH_A_BUDGET, "region", "outside the region"),
        (attacks.paints_outside, IN_A_REGION, "region", "outside the region"),
        (attacks.writes_to_its_input, WITH_A_BUDGET, "inputs", "changed its input in place"),
        (attacks.changes_a_parameter, WITH_A_BUDGET, "inputs", "changed the value of a parameter"),
        (attacks.wakes_train_mode, WITH_A_BUDGET, "inputs", "left the model in train mode"),
        (attacks.changes_weights, WITH_A_BUDGET, "inputs", "changed the model's weights or buffers"),
        (attacks.leaves_hooks, WITH_A_BUDGET, "inputs", "left hooks in the model"),
        (attacks.fails_on_empty, WITH_A_BUDGET, "empty", "the attack raised"),
        (attacks.divides_by_the_batch, WITH_A_BUDGET, "batch-independence", "no statistic of the batch"),
        (attacks.draws_for_the_batch, WITH_A_BUDGET, "batch-independence", "draw from rng"),
        (attacks.normalises_the_batch, IN_CLASSES, "batch-independence", "the norm of all gradients"),
        (attacks.scales_by_the_largest, IN_CLASSES, "batch-independence", "use no statistic of the batch"),
        (attacks.stops_with_the_first, IN_CLASSES, "batch-independence", "use no statistic of the batch"),
        (attacks.seeds_from_the_first_case, IN_CLASSES, "batch-independence", "a stream per case"),
        (attacks.starts_from_torch, IN_CLASSES, "seeds", "seeds of other generators, from rng"),
        (attacks.starts_from_numpy, IN_CLASSES, "seeds", "depend on the state of a global random generator"),
        (attacks.seeds_from_torch, IN_CLASSES, "seeds", "depend on the state of a global random generator"),
        (attacks.seeds_from_python, IN_CLASSES, "seeds", "depend on the state of a global random generator"),
        (attacks.seeds_from_the_initial_seed, IN_CLASSES, "seeds", "the state of a global random generator"),
        (attacks.starts_from_the_clock, IN_CLASSES, "seeds", "two runs with one seed differ"),
        (attacks.differs_in_the_fifth_run(), IN_CLASSES, "seeds", "two runs with one seed differ"),
        (attacks.climbs_the_loss, IN_CLASSES, "direction", "descend objective.loss where objective.ascend"),
        (
            attacks.climbs_the_loss,
            OF_EMBEDDINGS,
            "direction",
            "on impersonation, linf 8/255: the goal of case",
        ),
        (attacks.leaves_any_class, IN_CLASSES, "direction", "on linear classes, targeted, linf 8/255"),
        (attacks.never_stops, SOON, "constant-model", "bound its loops"),
        (attacks.seeds_the_generators, WITH_A_BUDGET, "seeds", "seeds torch's global generator"),
        (attacks.draws_from_the_clock, WITH_A_BUDGET, "seeds", "two runs with one seed differ"),
        (attacks.climb, {"access": "scores"}, "access", "asked for gradients, but may see only scores"),
        (attacks.refuses_bfloat16, WITH_A_BUDGET, "precision", "raised TypeError: expected float"),
        (attacks.goes_downhill, WITH_A_BUDGET, "reached", "no longer reaches its goal"),
        (attacks.always_moves, WITHOUT, "reached", "return the original"),
        (attacks.divides_by_zero, WITH_A_BUDGET, "constant-model", "8 of 8 images are not finite"),
        (attacks.never_gives_up, {**IN_CLASSES, **WITH_A_BUDGET}, "constant-model", "did not stop"),
        (attacks.never_gives_up, {**IN_CLASSES, **WITH_A_BUDGET}, "nan-model", "did not stop"),
        (attacks.loses_courage, WITH_A_BUDGET, "nan-model", "cases whose outputs are not finite"),
        (attacks.climb, {"passes": lambda parameters: (6.0, 20.0)}, "passes", "7 forward passes"),
        (attacks.climb, {"passes": lambda parameters: (20.0, 6.0)}, "passes", "7 backward passes"),
        (attacks.overshoots, WITHOUT, "distance", "10.00 % in L-infinity"),
        (attacks.goes_astray, WITHOUT, "distance", "in neither norm"),
        (attacks.gives_up, WITHOUT, "distance", "goals are missed"),
        (
            attacks.goes_along_the_sign,
            {**WITHOUT, "traits": frozenset({"unbounded"}), "norms": ("l2",)},
            "distance",
            "more than the smallest change that reaches its goal",
        ),
        (attacks.stops_early, WITH_A_BUDGET, "goals", "goals that a change of 0.9 eps reaches"),
        (attacks.goes_downhill, WITH_A_BUDGET, "goals", "ascend objective.margin"),
        (attacks.finds_nothing, SEES_SCORES, "goals", "none of 8 goals is reached"),
        (attacks.paints_grey, IN_A_REGION, "goals", "change that its region allows"),
        (attacks.learns_nothing, FOR_MANY, "goals", "change that its region allows"),
    ],
)
def test_a_broken_promise_is_found(
    function: Callable[..., Any], said: dict[str, Any], check: str, line: str
) -> None:
    cases = attack_checks(spec_of(function, **said), function=function, only=[check])
    failures = [result for result in (case.result() for case in cases) if result.status == "failed"]
    assert any(line in failure.line for failure in failures), failures
    assert not any("\n" in failure.line for failure in failures)


@pytest.mark.parametrize(
    ("function", "said", "check"),
    [
        (attacks.returns_bytes, WITH_A_BUDGET, "images"),
        (attacks.climb, {"access": "scores"}, "images"),
        (attacks.wakes_train_mode, WITH_A_BUDGET, "images"),
        (attacks.leaves_the_pixel_range, IN_CLASSES, "pixel-range"),
        (attacks.exceeds_the_budget, IN_CLASSES, "budget"),
        (attacks.takes_l2_for_linf, {"heads": frozenset({"classes"}), "norms": ("l2",)}, "budget"),
        (attacks.paints_outside, IN_A_REGION, "region"),
        (attacks.draws_for_the_batch, IN_CLASSES, "seeds"),
        (attacks.normalises_the_batch, IN_CLASSES, "batch-independence"),
        (attacks.climbs_the_loss, IN_CLASSES, "direction"),
        (attacks.never_stops, SOON, "constant-model"),
        (attacks.loses_courage, {**IN_CLASSES, "passes": lambda parameters: (12.0, 12.0)}, "nan-model"),
        (attacks.goes_downhill, IN_CLASSES, "goals"),
        (attacks.stops_early, IN_CLASSES, "goals"),
        (
            attacks.goes_along_the_sign,
            {**WITHOUT, "traits": frozenset({"unbounded"}), "norms": ("l2",)},
            "distance",
        ),
    ],
)
def test_one_fault_is_one_finding(function: Callable[..., Any], said: dict[str, Any], check: str) -> None:
    cases = attack_checks(spec_of(function, **said), function=function)
    results = [result for group in results_of(cases) for result in group]
    (finding,) = findings(results)
    assert finding.check == check
    assert "; " in finding.line
    blocked = {result.check for result in results if result.cause}
    assert set(finding.hidden) == blocked - {check}
