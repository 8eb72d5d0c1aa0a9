"""A measure as a constraint: a success counts only where the measure keeps to the suite's bounds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.results import read_results

from .conftest import SUITE, Command

FOLDER = Path("results/small")


def test_successes_beyond_the_bound_are_not_valid(harness: Command, suite: Path) -> None:
    harness("run", suite, "--out", "free")
    free = read_results("free").samples(where={"attack": "step"})
    bound = float(free["shift"].median())
    suite.write_text(SUITE + f"at_least = {bound!r}\n")
    assert harness("run", suite).status == 0
    bounded = read_results(FOLDER).samples(where={"attack": "step"})
    kept = free["success"].astype(bool) & (free["shift"] >= bound)
    assert 0 < kept.sum() < free["success"].sum()
    assert bounded["success"].astype(bool).equals(kept)
    fallen = free["success"].astype(bool) & ~kept
    assert (bounded.loc[fallen, "fault"] == f"shift below {bound:g}").all()
    assert not bounded.loc[fallen, "valid"].any()
    assert bounded.loc[~fallen, "valid"].all()
    assert bounded["shift"].equals(free["shift"])  # measured all the same
    assert harness("verify", FOLDER).status == 0


def test_a_bound_from_above(harness: Command, suite: Path) -> None:
    suite.write_text(SUITE + "at_most = -1e9\n")
    harness("run", suite)
    records = read_results(FOLDER).samples(where={"attack": "step"})
    assert not records["success"].any()
    assert (records.loc[records["reached"].astype(bool), "fault"] == "shift above -1e+09").all()


def test_bounds_that_exclude_each_other(refused: Callable[..., str], suite: Path) -> None:
    suite.write_text(SUITE + "at_least = 2\nat_most = 1\n")
    assert "at_least = 2.0 lies above at_most = 1.0" in refused("plan", suite)


@pytest.mark.parametrize("value", ['"much"', "[1, 2]"])
def test_bad_bounds(refused: Callable[..., str], suite: Path, value: str) -> None:
    suite.write_text(SUITE + f"at_least = {value}\n")
    assert "at_least" in refused("plan", suite)
