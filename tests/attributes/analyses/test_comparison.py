"""Paired tests, against numbers by another route: the formulas, and every sign pattern counted out."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import special

from harness.errors import HarnessError
from harness_attributes.analyses.comparison import holm, paired_tests, run

from .study_fixture import card, case, cell, texts, write

FIRST = np.array([0.10, 0.20, 0.31, 0.05, 0.17, 0.26, 0.40])
SECOND = np.array([0.12, 0.15, 0.20, 0.06, 0.10, 0.29, 0.31])


def counted_wilcoxon(difference: Any) -> tuple[float, float]:
    """Signed-rank statistic, and its two-sided p from all 2^n patterns of signs."""
    ranks = np.argsort(np.argsort(np.abs(difference))) + 1.0
    statistic = min(ranks[difference > 0].sum(), ranks[difference < 0].sum())
    sums = [ranks[np.array(signs)].sum() for signs in product([False, True], repeat=len(ranks))]
    return float(statistic), min(1.0, 2 * float(np.mean(np.array(sums) <= statistic)))


def test_the_t_test_is_students() -> None:
    found = paired_tests(FIRST, SECOND)
    difference = FIRST - SECOND
    n = len(difference)
    t = difference.mean() / (difference.std(ddof=1) / sqrt(n))
    # Two-sided tail of Student's distribution as an incomplete beta function.
    p = special.betainc((n - 1) / 2, 0.5, (n - 1) / ((n - 1) + t**2))
    assert found["t"] == pytest.approx(t)
    assert found["t_p"] == pytest.approx(p)
    assert found["mean_difference"] == pytest.approx(difference.mean())
    half = special.stdtrit(n - 1, 0.975) * difference.std(ddof=1) / sqrt(n)
    assert (found["low"], found["high"]) == pytest.approx(
        (difference.mean() - half, difference.mean() + half)
    )


def test_the_signed_rank_test_counts_patterns() -> None:
    found = paired_tests(FIRST, SECOND)
    assert (found["wilcoxon"], found["wilcoxon_p"]) == pytest.approx(counted_wilcoxon(FIRST - SECOND))


def test_tests_that_are_not_defined_are_null() -> None:
    same = paired_tests(FIRST, FIRST)
    assert same["mean_difference"] == 0
    assert [same[name] for name in ("t", "t_p", "wilcoxon", "wilcoxon_p", "low", "high")] == [None] * 6
    one = paired_tests(FIRST[:1], SECOND[:1])
    assert one["t_p"] is None
    assert one["wilcoxon_p"] == 1.0
    constant = paired_tests(np.array([0.3, 0.5, 0.7]), np.array([0.2, 0.4, 0.6]))
    assert constant["t_p"] is None
    assert constant["wilcoxon_p"] == pytest.approx(0.25)


def test_holm_steps_down() -> None:
    corrected = holm(pd.Series([0.01, 0.04, None, 0.03, 0.5]))
    assert corrected.drop(2).tolist() == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert np.isnan(corrected[2])
    assert holm(pd.Series([0.6, 0.9])).tolist() == [1.0, 1.0]


CARDS = {
    "separate": card({"Male": 0.9, "Smiling": 0.8, "Young": 0.7}),
    "moon": card({"Young": 0.75, "Male": 0.92}),
}


def test_models_are_paired_by_the_attributes_of_both(tmp_path: Path, saved: Callable[[Any], int]) -> None:
    separate = [case("a", "Male", similar=0.99), case("b", "Male"), case("a", "Young"), case("a", "Smiling")]
    moon = [
        case("a", "Male"),
        case("b", "Male"),
        case("a", "Young", similar=0.99),
        case("b", "Young", right=False),
    ]
    results = write(
        tmp_path,
        [cell(separate), cell(moon, model="moon")],
        cards=CARDS,
        outputs={"moon": ["Young", "Male"]},
    )
    found = run(results)
    table = found.table.set_index("measure")
    error = table.loc["classification error"]
    assert (error["first"], error["second"], error["n"]) == ("separate", "moon", 2)
    assert error["mean_first"] == pytest.approx(0.2)
    assert error["mean_difference"] == pytest.approx((0.02 + 0.05) / 2)
    success = table.loc["success rate"]  # one row: there are no wrong cases of both
    assert (success["method"], success["search"], success["sign"], success["n"]) == ("ffa", "line", "+", 2)
    assert success["mean_difference"] == pytest.approx((0.5 - 1) / 2)
    figure: Any = found.figure
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["separate\n− moon"]
    assert "classification error" in texts(figure)
    assert saved(figure)


def test_the_correction_is_for_all_rows_of_a_data_set(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = [f"Attribute_{number}" for number in range(8)]
    models = ["one", "two", "three"]
    cards = {model: card(dict(zip(names, rng.uniform(0.6, 0.9, 8), strict=True))) for model in models}
    cells = [
        cell([case("a", name, outputs=names) for name in names], model=model, dataset=dataset)
        for dataset in ("faces", "drawn")
        for model in models
    ]
    table = run(write(tmp_path, cells, cards=cards)).table
    for _, own in table.groupby("dataset"):
        p = own["t_p"].dropna()
        assert len(p) == 3  # success rates are all 0, which is no test
        assert own["t_p_holm"].min() == pytest.approx(min(1.0, 3 * p.min()))
    assert table["t_p_holm"].isna().tolist() == table["t_p"].isna().tolist()


def test_models_can_be_named(tmp_path: Path) -> None:
    cells = [cell([case("a")], model=model) for model in ("one", "two", "three")]
    results = write(tmp_path, cells)
    assert len(run(results).table) == 3
    assert len(run(results, models=["one", "three"]).table) == 1
    with pytest.raises(HarnessError, match='model "tow" is not in these results; did you mean "two"'):
        run(results, models=["one", "tow"])
    with pytest.raises(HarnessError, match="no two models share an attribute"):
        run(results, models=["one"])
