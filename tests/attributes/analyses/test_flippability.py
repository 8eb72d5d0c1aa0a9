"""Table 1: shares flipped at each threshold, by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.metrics import wilson
from harness_attributes.analyses.flippability import _lines, run

from .study_fixture import broken, case, cell, texts, write

CASES = [
    case("a", similar=0.995),
    case("b", similar=0.96),
    case("c", similar=0.5),
    case("d"),
    broken("e"),
    case("f", right=False, similar=0.92),
    case("g", right=False),
]


def test_the_table(tmp_path: Path) -> None:
    table = run(write(tmp_path, [cell(CASES)])).table
    assert list(table["threshold"].unique()) == [0.0, 0.9, 0.95, 0.99]
    right = table[table["sign"] == "+"].set_index("threshold")
    assert right["count"].to_dict() == {0.0: 3, 0.9: 2, 0.95: 2, 0.99: 1}
    assert set(right["n"]) == {4}
    assert right.loc[0.9, "rate"] == 0.5
    assert (right.loc[0.9, "low"], right.loc[0.9, "high"]) == pytest.approx(wilson(2, 4))
    wrong = table[table["sign"] == "-"].set_index("threshold")
    assert wrong["count"].to_dict() == {0.0: 1, 0.9: 1, 0.95: 0, 0.99: 0}
    assert set(wrong["n"]) == {2}
    assert set(table["coverage"]) == {6 / 7}


def test_no_wrong_cases_have_no_rate(tmp_path: Path, saved: Callable[[Any], int]) -> None:
    found = run(write(tmp_path, [cell([case("a", similar=0.99), case("b")])]))
    wrong = found.table[found.table["sign"] == "-"]
    assert (wrong["n"] == 0).all()
    assert wrong[["rate", "low", "high"]].isna().all(axis=None)
    assert saved(found.figure)


def test_data_sets_models_and_searches_are_apart(tmp_path: Path, saved: Callable[[Any], int]) -> None:
    drawn = {"dataset": "drawn", "stand_in_for": "celeba"}
    cells = [
        cell(CASES),
        cell([case("a", similar=0.99)], search="iterative"),
        cell([case("a")], attack="fgs"),
        cell([case("a")], model="moon", **drawn),
        cell([case("a")], model="moon", attack="pgd", search=None, **drawn),
    ]
    found = run(write(tmp_path, cells), thresholds=[0.0])
    rates = found.table[found.table["sign"] == "+"].set_index(["dataset", "model", "attack"])["rate"]
    assert rates.to_dict() == {
        ("faces", "separate", "ffa[search=line]"): 0.75,
        ("faces", "separate", "ffa[search=iterative]"): 1.0,
        ("faces", "separate", "fgs[search=line]"): 0.0,
        ("drawn", "moon", "ffa[search=line]"): 0.0,
        ("drawn", "moon", "pgd"): 0.0,
    }
    told = texts(found.figure)
    for text in (
        "drawn, a stand-in for celeba: moon",
        "faces: separate",
        "line search",
        "iterative",
        "no search",
    ):
        assert text in told
    assert "FFA+ (n = 1 to 4)" in told
    assert saved(found.figure)


def test_lines_are_solid_for_right_and_dashed_for_wrong(tmp_path: Path) -> None:
    figure: Any = run(write(tmp_path, [cell(CASES)])).figure
    axes = figure.axes[0]
    drawn = {
        tuple(line.get_ydata()): line.get_linestyle() for line in axes.lines if len(line.get_ydata()) == 4
    }
    assert drawn[75.0, 50.0, 50.0, 25.0] == "-"
    assert drawn[50.0, 50.0, 0.0, 0.0] == "--"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0", "0.9", "0.95", "0.99"]


@pytest.mark.parametrize("images", [47, 158, 49])
def test_rates_of_one_are_drawn(tmp_path: Path, saved: Callable[[Any], int], images: int) -> None:
    """The upper end of an interval may be rounded to below the rate, which error bars refuse."""
    flipped = [case(f"i{number}", "Young", similar=0.999) for number in range(47)]
    more = [case(f"i{number % 47}", name, similar=0.999) for number, name in _others(images - 47)]
    found = run(write(tmp_path, [cell([*flipped, *more])]))
    right = found.table[found.table["sign"] == "+"]
    assert set(right["rate"]) == {1.0}
    assert set(right["n"]) == {images}
    assert saved(found.figure)


def _others(count: int) -> list[tuple[int, str]]:
    return [(number, ("Male", "Smiling", "Bald")[number // 47]) for number in range(count)]


def test_ends_within_rounding_of_the_rate_are_drawn_as_the_rate(saved: Callable[[Any], int]) -> None:
    from matplotlib.figure import Figure

    figure = Figure()
    below = {"sign": ["+", "+"], "n": [158, 47], "rate": [1.0, 0.0], "low": [0.9, 1e-17]}
    rows = pd.DataFrame(below | {"high": [1 - 2**-53, 0.1]})
    _lines(figure.subplots(), rows, 0)
    assert saved(figure)
