"""Figure 11 and the two attacks side by side, against scipy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from harness.errors import HarnessError
from harness_bayes.analyses import attack_agreement, subspace_distance

from .two_class_fixture import cases, cell, raised, texts, write, wrong

LABEL = "symmetric[Smiling]"
GRADIENT = "component-gradient"


def test_half_the_distance_and_what_fools_the_optimum(tmp_path: Path, saved: Callable[[Any], int]) -> None:
    rng = np.random.default_rng(2)
    far = rng.uniform(4, 8, 40)
    l2 = far / 2 * rng.normal(0.97, 0.05, 40)
    rows = [*cases(l2), *cases([None], prefix="w"), wrong("x"), *cases([2.0], prefix="u")]
    known = {f"i{n:03}": value for n, value in enumerate(far)} | {"w000": 5.0, "x": 6.0}
    found = subspace_distance.run(
        write(tmp_path, [cell(rows), cell(rows, model="cnn")], annotations={LABEL: known})
    )
    (row,) = found.table.to_dict("records")
    assert row["images"] == 42
    assert row["mean_distance"] == pytest.approx(np.mean([*far, 5.0, 6.0]))
    assert (row["n"], row["mean_l2"]) == (40, pytest.approx(l2.mean(), rel=1e-6))
    assert row["ratio"] == pytest.approx(np.mean(2 * l2 / far), rel=1e-6)
    assert row["ratio_low"] < row["ratio"] < row["ratio_high"]
    assert row["ratio_of_means"] == pytest.approx(2 * l2.mean() / far.mean(), rel=1e-6)
    assert row["correlation"] == pytest.approx(stats.pearsonr(l2, far).statistic, rel=1e-5)
    assert row["reason"] == "the distance of 1 adversarials is not known, or 0"
    assert f"L2 / half: {row['ratio']:.2f}" in texts(found.figure)
    assert saved(found.figure)


def test_few_cases_have_no_correlation(tmp_path: Path, saved: Callable[[Any], int]) -> None:
    known = {LABEL: {"i000": 4.0, "i001": 5.0}}
    found = subspace_distance.run(write(tmp_path / "0", [cell(cases([2.0, 2.5]))], annotations=known))
    (row,) = found.table.to_dict("records")
    assert row["ratio"] == 1.0
    assert np.isnan(row["correlation"])
    assert row["reason"] == "a correlation needs three cases that differ"
    none = subspace_distance.run(write(tmp_path / "1", [cell(cases([None, None]))], annotations=known))
    (row,) = none.table.to_dict("records")
    assert row["n"] == 0
    assert row["reason"].startswith("no case that was right was broken")
    assert saved(none.figure)


def test_without_distances_or_the_optimum_the_remedy_is_told(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match='no data set tells "subspace_distance"'):
        subspace_distance.run(write(tmp_path / "0", [cell(cases([1.0]))]))
    with pytest.raises(HarnessError, match='put the model "bayes-optimal"'):
        subspace_distance.run(
            write(tmp_path / "1", [cell(cases([1.0]), model="cnn")], annotations={LABEL: {"i000": 1.0}})
        )


def test_two_attacks_on_the_cases_that_both_broke(tmp_path: Path, saved: Callable[[Any], int]) -> None:
    rng = np.random.default_rng(4)
    one = rng.uniform(2, 4, 30)
    other = one * rng.normal(1.05, 0.1, 30)
    cells = [
        cell([*cases(one), *cases([1.0, None], prefix="u")], attack=GRADIENT),
        cell([*cases(other), *cases([None, 3.0], prefix="u"), raised("v")]),
        cell(cases(one), model="cnn"),  # by CW-L2 alone
    ]
    found = attack_agreement.run(write(tmp_path, cells))
    (row,) = found.table.to_dict("records")
    assert (row["n"], row["only_gradient"], row["only_cw"]) == (30, 1, 1)
    assert row["mean_l2_gradient"] == pytest.approx(one.mean(), rel=1e-6)
    assert row["ratio"] == pytest.approx(one.mean() / other.mean(), rel=1e-6)
    assert row["ratio_low"] < row["ratio"] < row["ratio_high"]
    assert row["correlation"] == pytest.approx(stats.spearmanr(one, other).statistic, rel=1e-6)
    assert row["gradient_nearer"] == pytest.approx((one < other).mean())
    assert row["equal"] == 0
    assert row["reason"] == ("cw-l2: not all planned cases have an outcome; 32 of 33 planned cases have one")
    assert f"n = 30, ratio {row['ratio']:.2f}" in texts(found.figure)
    assert saved(found.figure)


def test_gradient_descent_in_another_norm_is_no_match(tmp_path: Path) -> None:
    descent = {"attack": "gradient-descent", "model": "rbf-svm"}
    carlini = cell(cases([1.0, 2.0]), model="rbf-svm")
    linf = cell(cases([1.0, 2.0]), threat="linf minimal", norm="linf", **descent)
    with pytest.raises(
        HarnessError, match='attacked both by "cw-l2" and, in L2, by one of component-gradient'
    ):
        attack_agreement.run(write(tmp_path / "0", [carlini, linf]))
    table = attack_agreement.run(write(tmp_path / "1", [carlini, cell(cases([1.0, 2.0]), **descent)])).table
    assert table["gradient_attack"].tolist() == ["gradient-descent"]
    assert table["equal"].tolist() == [2]
    assert pd.isna(table["correlation"]).all()


def test_nothing_that_both_broke(tmp_path: Path, saved: Callable[[Any], int]) -> None:
    found = attack_agreement.run(
        write(tmp_path, [cell(cases([1.0, None])), cell(cases([None, 1.0]), attack=GRADIENT)])
    )
    (row,) = found.table.to_dict("records")
    assert row["n"] == 0
    assert pd.isna(row["ratio"])
    assert "no case was broken by both" in row["reason"]
    assert saved(found.figure)
