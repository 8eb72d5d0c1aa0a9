"""Model comparison: which models are paired, and what the correction is for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

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
