"""Contradictions: what a record cannot say is named, and what it can say is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.errors import NO_ANSWER
from harness.session.verification.contradictions import Rules, contradictions

RULES = Rules(
    norm="linf",
    eps=8 / 255,
    sees_gradients=True,
    keeps=True,
    transferred=False,
    shape=(3, 10, 10),
    measures={"pass": (0.5, None), "ssim": (None, None)},
)
SUCCESS: dict[str, Any] = {
    "clean_correct": True,
    "reached": True,
    "reached_unrounded": True,
    "valid": True,
    "success": True,
    "fault": None,
    "surrogate_success": None,
    "linf": 8 / 255,
    "l2": 0.3,
    "l0": 100,
    "margin_clean": -1.0,
    "margin_adv": 0.5,
    "forwards": 10,
    "backwards": 9,
    "seconds": 0.1,
    "found": 7,
    "zero_gradients": 0,
    "error": None,
    "decisions_clean": [True],
    "decisions_adv": [False],
    "adversarial": b"png",
    "pass": 0.8,
    "ssim": 0.1,
}
NOTHING = dict.fromkeys(SUCCESS)
UNMEASURED = {"pass": None, "ssim": None}
FAILED = UNMEASURED | {"reached": False, "success": False, "margin_adv": -0.1}
FAULTY = UNMEASURED | {"valid": False, "success": False, "fault": "over the budget", "linf": 0.5, "l2": 2.0}
CRASH = NOTHING | {"error": "RuntimeError: boom"}
MUTE = {
    **NOTHING,
    **{name: SUCCESS[name] for name in ("clean_correct", "margin_clean", "forwards", "backwards", "seconds")},
    "error": NO_ANSWER,
}
FREE = {"forwards": 0, "backwards": 0, "seconds": 0.0, "found": None, "zero_gradients": 0}


@pytest.mark.parametrize(
    ("record", "rules"),
    [
        (SUCCESS, RULES),
        (SUCCESS | FAILED, RULES),
        (SUCCESS | FAILED | {"linf": 0.0, "l2": 0.0, "l0": 0}, RULES),
        (SUCCESS | FAILED | {"margin_adv": 0.0, "reached_unrounded": True}, RULES),
        (SUCCESS | FAULTY, RULES),
        (SUCCESS | FAULTY | {"reached": False, "margin_adv": -1.0}, RULES),
        (SUCCESS | {"success": False, "valid": False, "fault": "pass below 0.5", "pass": 0.4}, RULES),
        (SUCCESS | {"reached_unrounded": None, "found": None}, RULES),
        (CRASH, RULES),
        (MUTE, RULES),
        (MUTE | {"fault": "outside the box"}, RULES),
        (SUCCESS | {"adversarial": None}, replace(RULES, keeps=False)),
        (SUCCESS | {"linf": 0.4, "l2": 2.0}, replace(RULES, eps=None)),
        (SUCCESS | FREE | {"surrogate_success": True}, replace(RULES, transferred=True, keeps=False)),
        (SUCCESS | {"backwards": 0}, replace(RULES, sees_gradients=False)),
        (SUCCESS | {"linf": 0.2, "l2": 0.5}, replace(RULES, norm="l2", eps=0.5)),
    ],
)
def test_what_can_be(record: dict[str, Any], rules: Rules) -> None:
    assert contradictions(record, rules) == []


@pytest.mark.parametrize(
    ("record", "told"),
    [
        (
            SUCCESS | {"valid": False, "fault": "outside the box"},
            "success is True, but reached is True and valid",
        ),
        (SUCCESS | {"reached": False, "margin_adv": -1.0}, "success is True, but reached is False"),
        (SUCCESS | {"success": False}, "success is False, but reached is True and valid is True"),
        (SUCCESS | {"fault": "over the budget"}, 'success is True, but the fault is "over the budget"'),
        (
            SUCCESS | FAILED | {"fault": "outside the box"},
            'valid is True, but the fault is "outside the box"',
        ),
        (SUCCESS | UNMEASURED | {"valid": False, "success": False}, "valid is False, but there is no fault"),
        (SUCCESS | {"adversarial": None}, "success is True, but no adversarial is stored"),
        (SUCCESS | FAILED | {"adversarial": None}, "success is False, but no adversarial is stored"),
        (SUCCESS | {"reached_unrounded": False}, "the goal is reached after rounding, but not before"),
        (SUCCESS | {"margin_adv": -0.5}, "reached is True, but margin_adv is -0.5"),
        (SUCCESS | FAILED | {"margin_adv": 0.5}, "reached is False, but margin_adv is 0.5"),
        (SUCCESS | {"surrogate_success": False}, "it has surrogate_success, but is no transfer"),
        (SUCCESS | {"success": None}, "success is null, and there is no error"),
        (SUCCESS | {"clean_correct": None}, "clean_correct is null, and there is no error"),
        (SUCCESS | {"l2": None}, "l2 is null, and there is no error"),
        (SUCCESS | {"forwards": None}, "forwards is null, and there is no error"),
        (SUCCESS | {"linf": -0.1}, "are no distances"),
        (SUCCESS | {"l2": float("inf")}, "are no distances"),
        (SUCCESS | {"linf": 0.0}, "some are zero and some are not"),
        (SUCCESS | {"l0": 101}, "belong to no image of 3x10x10"),
        (SUCCESS | {"l2": 0.01}, "belong to no image of 3x10x10"),
        (SUCCESS | {"l0": 1}, "belong to no image of 3x10x10"),
        (SUCCESS | {"linf": 0.2, "l2": 1.0}, "valid is True, but linf 0.2 is over the budget of 0.0313725"),
        (SUCCESS | {"forwards": -1, "found": None}, "forwards is -1"),
        (SUCCESS | {"seconds": float("nan")}, "seconds is nan"),
        (SUCCESS | {"found": 11}, "found is 11, but forwards is 10"),
        (SUCCESS | {"zero_gradients": 10}, "zero_gradients is 10, but backwards is 9"),
        (SUCCESS | {"pass": None}, "pass is null, but it is measured of such a case"),
        (SUCCESS | {"pass": 0.4}, "success is True, but pass is 0.4, which is out of its bounds"),
        (
            SUCCESS | {"success": False, "valid": False, "fault": "pass below 0.5"},
            'pass is 0.8, but the fault is "pass below 0.5"',
        ),
        (SUCCESS | FAILED | {"ssim": 0.2}, "ssim is 0.2, but only successes are measured"),
        (CRASH | {"error": ""}, "the error has no text"),
        (CRASH | {"success": False}, "success is False, but there is an error"),
        (CRASH | {"success": True}, "success is True, but there is an error"),
        (CRASH | {"adversarial": b"png"}, "adversarial is there, but there is an error"),
        (CRASH | {"pass": 0.9}, "pass is 0.9, but there is an error"),
        (CRASH | {"clean_correct": True}, "clean_correct is True, but the attack ended with an error"),
        (CRASH | {"forwards": 3}, "forwards is 3, but the attack ended with an error"),
        (MUTE | {"seconds": None}, "the cost is null, but the error is"),
        (MUTE | {"linf": 0.1}, "linf is 0.1, but there is an error"),
    ],
)
def test_what_cannot_be(record: dict[str, Any], told: str) -> None:
    found = contradictions(record, RULES)
    assert any(told in fault for fault in found), found


def test_what_a_model_observes_of_cases_in_error() -> None:
    watching = replace(RULES, observes=("row",))
    assert contradictions(SUCCESS | {"row_clean": 3.0, "row_adv": 5.0}, watching) == []
    assert contradictions(SUCCESS | {"row_clean": None, "row_adv": None}, watching) == []  # not finite
    assert contradictions(MUTE | {"row_clean": 3.0, "row_adv": None}, watching) == []
    assert contradictions(CRASH | {"row_adv": 5.0}, watching) == ["row_adv is 5.0, but there is an error"]
    (fault,) = contradictions(CRASH | {"row_clean": 3.0}, watching)
    assert fault == "row_clean is 3.0, but the attack ended with an error"


def test_what_a_transfer_or_a_blind_attack_cannot_do() -> None:
    transferred = replace(RULES, transferred=True, keeps=False)
    assert contradictions(SUCCESS, transferred) == ["it cost something, but is a transfer"]
    blind = replace(RULES, sees_gradients=False)
    assert contradictions(SUCCESS, blind) == ["backwards is 9, but the attack sees no gradients"]
