"""The paper's claims: holds, does not hold or cannot be judged, as the numbers say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.analysis.claims import FAILS, HOLDS, OPEN
from harness_bayes.analyses import optimality_claims
from harness_bayes.analyses.claims import CLAIMS, Bars

from .two_class_fixture import card, cases, cell, failed, texts, write, wrong

N = 200
(
    OPTIMAL_ACCURATE,
    ASYMMETRIC_WEAKER,
    HALF_DISTANCE,
    CNN_BRITTLE,
    LINEAR_BRITTLE,
    RBF_ROBUST,
    WIDTH,
    DEPTH,
    IMAGES,
    TRADES_COSTS,
    ATTACKS_AGREE,
    REAL_ORDER,
) = (claim.name for claim in CLAIMS)
BASE = {"width": 8, "depth": 4, "images": 2000}


def rows(l2: float, errors: int = 0, *, spread: float = 0.05, of: int = N) -> list[dict[str, Any]]:
    """Cases broken at about this L2, the last ``errors`` of them wrong before."""
    values = l2 * np.random.default_rng(int(100 * l2)).normal(1, spread, of)
    return [*cases(values[: of - errors]), *(wrong(f"i{n:03}") for n in range(of - errors, of))]


def model(name: str, l2: float, errors: int = 0, **values: Any) -> dict[str, Any]:
    return cell(rows(l2, errors), model=name, **values)


def judged(tmp_path: Path, cells: list[dict[str, Any]], **values: Any) -> dict[str, dict[str, Any]]:
    """Rows by claim, of one task."""
    table = optimality_claims.run(write(tmp_path, cells, **values)).table
    assert len(table) == len(CLAIMS)
    assert set(table["verdict"]) <= {HOLDS, FAILS, OPEN}
    return {row["claim"]: row for row in table.to_dict("records")}


def test_one_model_leaves_most_unjudged_and_says_why(tmp_path: Path, saved: Callable[[Any], int]) -> None:
    found = judged(tmp_path, [model("bayes-optimal", 3.0)])
    known = {name for name, row in found.items() if row["verdict"] != OPEN}
    assert known == {OPTIMAL_ACCURATE}
    for name, row in found.items():
        if name not in known:
            assert row["detail"]
            assert (row["comparisons"], row["ours"]) == (0, "")
    assert "no CNN was attacked beside" in found[CNN_BRITTLE]["detail"]
    assert "no data set tells" in found[HALF_DISTANCE]["detail"]
    figure = optimality_claims.run(write(tmp_path, [model("bayes-optimal", 3.0)])).figure
    assert texts(figure).count("not judged") == len(CLAIMS) - 1
    assert saved(figure)


@pytest.mark.parametrize(
    ("errors", "answer", "clear"), [(0, HOLDS, False), (1, HOLDS, False), (20, FAILS, True)]
)
def test_near_one_hundred_percent(tmp_path: Path, errors: int, answer: str, clear: bool) -> None:
    row = judged(tmp_path, [model("bayes-optimal", 3.0, errors)])[OPTIMAL_ACCURATE]
    assert (row["verdict"], row["clear"]) == (answer, clear)
    assert ("only within the 95 % interval" in row["detail"]) == (answer == HOLDS)
    # more images leave no doubt
    cards = {("symmetric[Smiling]", "bayes-optimal"): card(1.0, 5000)}
    row = judged(tmp_path / "card", [model("bayes-optimal", 3.0, errors)], cards=cards)[OPTIMAL_ACCURATE]
    assert (row["verdict"], row["clear"]) == (HOLDS, True)
    assert "test partition, n = 5,000" in row["ours"]


@pytest.mark.parametrize(
    ("weak", "strong", "answer"), [(0.9, 3.0, HOLDS), (1.7, 4.0, FAILS), (1.2, 1.3, FAILS), (3.0, 0.9, FAILS)]
)
def test_asymmetric_against_symmetric(tmp_path: Path, weak: float, strong: float, answer: str) -> None:
    cells = [model("bayes-optimal", strong), model("bayes-optimal", weak, data="asymmetric")]
    row = judged(tmp_path, cells)[ASYMMETRIC_WEAKER]
    assert (row["verdict"], row["comparisons"]) == (answer, 2)
    assert row["clear"]


def test_drawn_images_of_one_name_in_two_data_sets_are_not_paired(tmp_path: Path) -> None:
    strong = rows(3.0, spread=0.3)
    weak = [row | {"l2": 0.3 * row["l2"]} for row in strong]
    cells = [cell(strong), cell(weak, data="asymmetric")]
    row = judged(tmp_path, cells)[ASYMMETRIC_WEAKER]
    assert "= 0.30 [0.2" in row["ours"]  # the ratio of each pair is 0.3 exactly


def test_of_digits_only_the_ratio_counts(tmp_path: Path) -> None:
    pair = {"pair": ["0", "6"]}
    cells = [model("bayes-optimal", 4.0, **pair), model("bayes-optimal", 1.7, data="asymmetric", **pair)]
    row = judged(tmp_path, cells)[ASYMMETRIC_WEAKER]
    assert (row["verdict"], row["comparisons"]) == (HOLDS, 1)


@pytest.mark.parametrize(("distance", "answer"), [(6.0, HOLDS), (4.6, FAILS), (8.0, FAILS)])
def test_half_the_subspace_distance(tmp_path: Path, distance: float, answer: str) -> None:
    told = {"symmetric[Smiling]": {f"i{n:03}": distance for n in range(N)}}
    row = judged(tmp_path, [model("bayes-optimal", 3.0)], annotations=told)[HALF_DISTANCE]
    assert (row["verdict"], row["clear"]) == (answer, True)


@pytest.mark.parametrize(
    ("l2", "errors", "answer"), [(0.5, 2, HOLDS), (2.0, 2, FAILS), (0.5, 30, FAILS), (1.6, 0, FAILS)]
)
@pytest.mark.parametrize("kind", ["cnn", "linear-svm"])
def test_accurate_and_brittle(tmp_path: Path, kind: str, l2: float, errors: int, answer: str) -> None:
    claim = CNN_BRITTLE if kind == "cnn" else LINEAR_BRITTLE
    found = judged(tmp_path, [model("bayes-optimal", 3.0), model(kind, l2, errors)])
    assert (found[claim]["verdict"], found[claim]["comparisons"]) == (answer, 2)
    other = LINEAR_BRITTLE if kind == "cnn" else CNN_BRITTLE
    assert found[other]["verdict"] == OPEN


@pytest.mark.parametrize(("rbf", "answer"), [(2.0, HOLDS), (0.3, FAILS)])
def test_the_rbf_svm_against_the_cnn_on_symmetric_and_real_images(
    tmp_path: Path, rbf: float, answer: str
) -> None:
    cells = [
        model(name, l2, data=data)
        for data in ("symmetric", "real")
        for name, l2 in [("cnn", 0.5), ("linear-svm", 0.6), ("rbf-svm", rbf)]
    ]
    found = judged(tmp_path, cells)
    assert found[RBF_ROBUST]["verdict"] == answer
    assert found[REAL_ORDER]["verdict"] == answer
    assert found[REAL_ORDER]["comparisons"] == 2


@pytest.mark.parametrize(("l2", "answer"), [(0.52, HOLDS), (0.2, HOLDS), (0.9, FAILS)])
@pytest.mark.parametrize("variable", ["width", "depth", "images"])
def test_capacity_does_not_help(tmp_path: Path, variable: str, l2: float, answer: str) -> None:
    claims = {"width": WIDTH, "depth": DEPTH, "images": IMAGES}
    cells = [
        model("cnn", 0.5, parameters=BASE),
        model("more", l2, kind="cnn", parameters=BASE | {variable: 9000}),
    ]
    found = judged(tmp_path, cells)
    for name, claim in claims.items():
        assert found[claim]["verdict"] == (answer if name == variable else OPEN)


@pytest.mark.parametrize(
    ("l2", "errors", "answer", "held"), [(2.0, 30, HOLDS, 2), (2.0, 0, FAILS, 1), (0.4, 30, FAILS, 1)]
)
def test_robustness_for_accuracy(tmp_path: Path, l2: float, errors: int, answer: str, held: int) -> None:
    cells = [
        model("cnn", 0.5, 2, parameters=BASE),
        model("small", 0.45, 2, kind="cnn-trades", parameters=BASE | {"beta": 1.0}),
        model("large", l2, errors, kind="cnn-trades", parameters=BASE | {"beta": 6.0}),
    ]
    row = judged(tmp_path, cells)[TRADES_COSTS]
    assert row["verdict"] == answer
    if l2 > 0.45:  # the most robust one is judged
        assert "large / cnn" in row["ours"]
        assert row["held"] == held
    else:
        assert "small / cnn" in row["ours"]


@pytest.mark.parametrize(("other", "answer"), [(3.3, HOLDS), (4.5, FAILS), (2.0, FAILS)])
def test_two_attacks(tmp_path: Path, other: float, answer: str) -> None:
    cells = [model("bayes-optimal", 3.0), model("bayes-optimal", other, attack="component-gradient")]
    row = judged(tmp_path, cells)[ATTACKS_AGREE]
    assert (row["verdict"], row["clear"]) == (answer, True)


def test_what_is_incomplete_or_withstood_is_said_beside_the_verdict(tmp_path: Path) -> None:
    part = cell(rows(3.0), cases=2 * N, status="partial")
    stubborn = cell([*cases([2.0] * 100), *cases([None] * 100, prefix="w")], model="rbf-svm")
    found = judged(tmp_path, [part, model("cnn", 0.5), stubborn, failed(model="linear-svm")])
    row = found[OPTIMAL_ACCURATE]
    assert row["coverage"] == 0.5
    assert "incomplete, 200 of 400 planned cases have an outcome" in row["detail"]
    row = found[RBF_ROBUST]
    assert "50.0 % of the right cases were broken, those that withstood are in no mean" in row["detail"]
    row = found[LINEAR_BRITTLE]
    assert row["verdict"] == OPEN
    assert "failed: no weights" in row["detail"]
    figure = optimality_claims.run(write(tmp_path / "again", [part])).figure
    assert "(incomplete)" in texts(figure)


def test_each_task_is_judged_by_itself(tmp_path: Path) -> None:
    digits = {"pair": ["0", "6"], "source": "digits", "stand_in_for": "digits"}
    cells = [
        model("bayes-optimal", 3.0), model("cnn", 0.5),
        model("bayes-optimal", 3.0, **digits), model("cnn", 2.5, **digits),
    ]  # fmt: skip
    table = optimality_claims.run(write(tmp_path, cells)).table
    brittle = table[table["claim"] == CNN_BRITTLE].set_index("task")
    assert brittle["verdict"].to_dict() == {"Smiling": HOLDS, "0 vs 6": FAILS}
    assert brittle["stand_in_for"].to_dict()["0 vs 6"] == "digits"
    assert pd.isna(brittle["stand_in_for"]["Smiling"])


def test_the_bars_can_be_moved_and_are_told(tmp_path: Path) -> None:
    results = write(tmp_path, [model("bayes-optimal", 3.0), model("cnn", 2.0)])
    table = optimality_claims.run(results, bars=Bars(part=0.8)).table
    row = table[table["claim"] == CNN_BRITTLE].iloc[0]
    assert row["verdict"] == HOLDS
    assert "at most 0.8 of the Bayes-optimal" in row["conditions"]
    assert "at least 95 %" in row["conditions"]
