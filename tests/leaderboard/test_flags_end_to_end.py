"""Flags of whole runs: models that mask their gradients raise theirs, and an honest one raises none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import harness
from harness.leaderboard.flags import FLAGS, OF_MODELS
from harness.results import Results
from tests.installing import plugin_installed

pytestmark = pytest.mark.slow

PLUGIN = Path(__file__).parent / "plugin"
MASKS = ("saturated", "stepwise", "randomised")
BUDGETS = ["4/255", "8/255", "64/255", "128/255"]
SUITE = {
    "schema": 1,
    "name": "masks",
    "batch_size": 64,
    "dataset": [{"use": "patterns", "partition": "test"}],
    "model": [{"use": "masked", "id": mask or "honest", "mask": mask} for mask in ("", *MASKS)],
    "attack": [
        {"use": "pgd", "eps": BUDGETS, "steps": 20},
        {"use": "cw-l2", "iterations": 60, "searches": 4},
        {"use": "gradient-descent"},
        {"use": "walk", "eps": "8/255", "steps": 150},
        {"use": "noise", "eps": BUDGETS[1:]},
    ],
}
FAULTY = SUITE | {
    "name": "faulty",
    "model": [{"use": "masked", "id": "honest"}],
    "attack": [
        # At most 20 x 0.3 = 6 levels of 1/255 from the image, whatever the budget.
        {
            "use": "pgd",
            "id": "timid",
            "eps": ["8/255", "16/255"],
            "steps": 20,
            "step_size": 0.3 / 255,
            "random_start": False,
        },
        {"use": "graze"},
    ],
}


@pytest.fixture(scope="module", autouse=True)
def _installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with plugin_installed(tmp_path_factory.mktemp("site"), PLUGIN, "masked", "masked_faces"):
        yield


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return harness.run(SUITE, out=tmp_path_factory.mktemp("masks"))


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return harness.run(FAULTY, out=tmp_path_factory.mktemp("faulty"))


def flags(results: Results, **where: Any) -> set[str]:
    """All flags of the rows of a model or an attack."""
    board = results.leaderboard()
    for name, value in where.items():
        board = board[board[name] == value]
    assert len(board)
    return {flag for told in board["flags"] for flag in told.split(", ") if flag}


def test_an_honest_model_raises_none(masks: Results) -> None:
    assert flags(masks, model="honest") == set()
    board = masks.leaderboard().set_index(["model", "attack", "threat"])["success_rate"]["honest"]
    # That is no idle statement: the attacks work, and neither always nor never succeed.
    assert 0.1 < board["pgd", "linf 4/255"] < board["pgd", "linf 8/255"] < 1
    assert board["cw-l2", "l2 minimal"] == board["gradient-descent", "l2 minimal"] == 1


@pytest.mark.parametrize(
    ("mask", "attack", "threat", "raised"),
    [
        ("saturated", "pgd", "linf 8/255", {"zero-gradients", "black-box-stronger"}),
        ("saturated", "pgd", "linf 64/255", {"zero-gradients", "noise-as-strong"}),
        ("saturated", "pgd", "linf 128/255", {"zero-gradients", "unbounded-below-100"}),
        ("saturated", "cw-l2", "l2 minimal", {"zero-gradients", "unbounded-below-100"}),
        ("stepwise", "pgd", "linf 8/255", {"zero-gradients", "black-box-stronger"}),
        ("stepwise", "pgd", "linf 64/255", {"zero-gradients", "noise-as-strong", "black-box-stronger"}),
        ("stepwise", "gradient-descent", "l2 minimal", {"zero-gradients", "unbounded-below-100"}),
        ("randomised", "pgd", "linf 8/255", {"randomised-model"}),
        ("randomised", "clean", "none", {"randomised-model"}),
    ],
)
def test_a_mask_raises_its_flags(
    masks: Results, mask: str, attack: str, threat: str, raised: set[str]
) -> None:
    assert flags(masks, model=mask, attack=attack, threat=threat) >= raised


def test_no_other_model_is_randomised(masks: Results) -> None:
    for model in ("honest", "saturated", "stepwise"):
        assert "randomised-model" not in flags(masks, model=model)


def test_what_needs_no_gradient_is_not_flagged_for_them(masks: Results) -> None:
    for attack in ("noise", "walk"):
        for model in ("saturated", "stepwise"):
            assert flags(masks, model=model, attack=attack) == set()


def test_the_worst_case_carries_the_flags_of_its_attacks(masks: Results) -> None:
    for model in ("honest", *MASKS):
        assert flags(masks, model=model, attack="worst-case") == flags(masks, model=model)


def test_faulty_attacks_raise_theirs(faulty: Results) -> None:
    # Steps that end far from a budget: the larger one brings nothing, and more steps would.
    assert flags(faulty, attack="timid", threat="linf 8/255") == {"not-converged"}
    assert flags(faulty, attack="timid", threat="linf 16/255") == {"not-converged", "not-rising-with-budget"}
    assert flags(faulty, attack="graze") == {"lost-by-rounding"}


def test_every_flag_is_raised_by_something(masks: Results, faulty: Results) -> None:
    found = flags(masks) | flags(faulty)
    elsewhere = OF_MODELS | {"few-false-matches"}  # tests/session/test_odd_models.py and test_verifiers.py
    assert found - OF_MODELS == set(FLAGS) - elsewhere
    assert found & OF_MODELS == {"randomised-model"}


def test_the_cost_of_a_success_is_that_of_all_cases(masks: Results) -> None:
    board = masks.leaderboard()
    row = board[(board["model"] == "honest") & (board["threat"] == "linf 8/255") & (board["attack"] == "pgd")]
    cases = masks.samples(where={"model": "honest", "threat": "linf 8/255", "attack": "pgd"})
    for cost in ("forwards", "backwards", "seconds"):
        expected = cases[cost].sum() / cases["success"].sum()
        assert row[f"{cost}_per_success"].item() == pytest.approx(expected, rel=1e-6)
    assert pd.isna(board[board["attack"] == "clean"]["forwards_per_success"]).all()
