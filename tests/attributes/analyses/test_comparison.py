"""Model comparison: which models are paired, and what the correction is for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from harness.errors import HarnessError
from harness_attributes.analyses.comparison import run

from .study_fixture import card, case, cell, texts, write

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
    table = found.table[~found.table["second"].str.contains("quoted")].set_index("measure")
    error = table.loc["classification error"]
    assert (error["first"], error["second"], error["n"]) == ("separate", "moon", 2)
    assert error["mean_first"] == pytest.approx(0.2)
    assert error["mean_difference"] == pytest.approx((0.02 + 0.05) / 2)
    success = table.loc["success rate"]  # one row: there are no wrong cases of both
    assert (success["method"], success["search"], success["sign"], success["n"]) == ("ffa", "line", "+", 2)
    assert success["mean_difference"] == pytest.approx((0.5 - 1) / 2)
    figure: Any = found.figure
    labels = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert labels == ["separate\n− moon", *(f"{name}\n− LNets+ANet (quoted)" for name in CARDS)]
    assert "classification error" in texts(figure)
    assert saved(figure)


def test_quoted_errors_of_another_network_are_tested_too(tmp_path: Path) -> None:
    """LNets+ANet errs by 2, 8 and 13 % on the three."""
    names = {"Male": 0.95, "Smiling": 0.9, "Young": 0.87}
    table = run(write(tmp_path, [cell([case("a")])], cards={"separate": card(names)})).table
    (row,) = table[table["measure"] == "classification error"].to_dict("records")
    assert (row["first"], row["second"], row["n"]) == ("separate", "LNets+ANet (quoted)", 3)
    assert row["mean_second"] == pytest.approx(0.23 / 3)
    expected = stats.ttest_rel([0.05, 0.1, 0.13], [0.02, 0.08, 0.13])
    assert row["t_p"] == pytest.approx(expected.pvalue)


def test_the_correction_is_for_the_tests_of_one_statement(tmp_path: Path) -> None:
    """The paper tests errors of the converged networks against LNets+ANet, MOON, softmax and two epochs."""
    rng = np.random.default_rng(0)
    names = [f"Attribute_{number}" for number in range(8)]
    models: dict[str, dict[str, Any]] = {
        "early": {"kind": "separate", "parameters": {"checkpoint": 2}},
        "late": {"kind": "separate"},
        "soft": {"kind": "separate", "parameters": {"loss": "softmax"}},
        "moon": {},
    }
    cards = {model: card(dict(zip(names, rng.uniform(0.6, 0.9, 8), strict=True))) for model in models}

    def flips(part: float) -> list[Any]:
        return [
            case(f"i{number}", name, outputs=names, similar=0.99 if rng.random() < part else None)
            for name in names
            for number in range(6)
        ]

    cells = [
        cell(flips(0.2 + 0.2 * place), model=model, dataset=dataset, **values)
        for dataset in ("faces", "drawn")
        for place, (model, values) in enumerate(models.items())
    ]
    table = run(write(tmp_path, cells, cards=cards)).table
    sizes = table.groupby(["dataset", "family"]).size().loc["faces"]
    assert sizes.to_dict() == {
        "classification error: as in the paper": 3,
        "classification error: others": 3,
        "success rate: ffa+ line linf minimal": 6,
    }
    paper = table[table["family"] == "classification error: as in the paper"]
    assert {frozenset(pair) for pair in zip(paper["first"], paper["second"], strict=True)} == {
        frozenset({"late", other}) for other in ("early", "soft", "moon")
    }
    for _, own in table.groupby(["dataset", "family"]):
        p = own["t_p"].dropna()
        assert own["t_p_holm"].min() == pytest.approx(min(1.0, len(p) * p.min()))
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
