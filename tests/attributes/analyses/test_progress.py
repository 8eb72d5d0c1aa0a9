"""Table 2: adversarials before and after further training, by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.results import Results
from harness_attributes.analyses.progress import run

from .study_fixture import broken, case, cell, texts, transferred, write

EARLY = [
    case("a", similar=0.99),  # in both, right at both
    case("b", similar=0.99),  # right, wrong later, in both
    case("c", similar=0.99),  # not later
    case("d", similar=0.90),  # below the threshold
    case("e", right=False, similar=0.99),  # in both, wrong at both
    case("f", right=False),
    case("g", similar=0.99),  # no outcome later
]
LATE = [
    case("a", similar=0.97),
    case("b", right=False, similar=0.99),
    case("c"),
    case("d", similar=0.99),
    case("e", right=False, similar=0.99),
    case("f", similar=0.99),
    broken("g"),
]


def pair(tmp_path: Path, *, moved: bool = False, **values: Any) -> Results:
    early = cell(EARLY, model="separate[checkpoint=2]", parameters={"checkpoint": 2, "loss": "euclidean"})
    late = {
        "model": "separate[checkpoint=converged]",
        "parameters": {"checkpoint": "converged", "loss": "euclidean"},
    }
    cells = [early, cell(LATE, **late)]
    if moved:
        judged = [
            case("a", similar=0.99, surrogate_success=True),
            case("b", surrogate_success=True),
            broken("c", surrogate_success=True),
            case("d", similar=0.99, surrogate_success=True),
            # Its own sign later is another one.
            case("e", right=True, similar=0.2, surrogate_success=True),
            case("f", similar=0.99, surrogate_success=False),
        ]
        cells.append(transferred(early, judged, **late))
    return write(tmp_path, cells)


def test_counts_and_overlap(tmp_path: Path) -> None:
    table = run(pair(tmp_path)).table.set_index("sign")
    assert set(table["n"]) == {6}  # g has no outcome at convergence
    right, wrong, both = table.loc["+"], table.loc["-"], table.loc["both"]
    assert (right["early_n"], right["converged_n"]) == (4, 4)
    assert (right["early_count"], right["converged_count"]) == (3, 3)
    assert (right["overlap"], right["overlap_any_sign"]) == (1, 2)
    assert right["overlap_rate"] == pytest.approx(1 / 3)
    assert (wrong["early_count"], wrong["converged_count"]) == (1, 2)
    assert (wrong["overlap"], wrong["overlap_any_sign"]) == (1, 1)
    assert (both["early_count"], both["converged_count"]) == (4, 5)
    assert (both["overlap"], both["overlap_any_sign"]) == (2, 3)
    # b and c are adversarials of right cases no more; c is right.
    assert (right["lost"], right["lost_right"]) == (2, 1)
    assert (wrong["lost"], both["lost"]) == (0, 2)
    assert table[["still_flips", "transferred", "still_rate"]].isna().all(axis=None)
    assert set(table["loss"]) == {"euclidean"}
    assert set(table["checkpoint"]) == {"2"}


def test_what_still_flips_counts_with_the_pass_and_sign_it_was_made_with(tmp_path: Path) -> None:
    table = run(pair(tmp_path, moved=True)).table.set_index("sign")
    assert (table.loc["+", "still_flips"], table.loc["+", "transferred"]) == (1, 2)  # a and b; c is in error
    assert (table.loc["-", "still_flips"], table.loc["-", "transferred"]) == (1, 1)
    assert (table.loc["both", "still_flips"], table.loc["both", "transferred"]) == (2, 3)
    assert table.loc["both", "still_rate"] == pytest.approx(2 / 3)
    assert table.loc["both", "still_mean"] == pytest.approx(2 / 3)


def test_the_mean_over_attributes_is_not_that_over_cases(tmp_path: Path) -> None:
    made = [case(i, "Male", similar=0.99) for i in "abc"] + [case("a", "Young", similar=0.99)]
    early = cell(made, model="early", kind="separate", parameters={"checkpoint": 2})
    late = {"model": "late", "kind": "separate"}
    judged = [row | {"surrogate_success": True} for row in (case("b", "Male"), case("c", "Male"), *made[::3])]
    moved = transferred(early, judged, **late)
    (row,) = (
        run(write(tmp_path, [early, cell(made, **late), moved]))
        .table.query("sign == 'both'")
        .to_dict("records")
    )
    assert row["still_rate"] == pytest.approx(2 / 4)
    assert row["still_mean"] == pytest.approx((1 / 3 + 1) / 2)
    assert row["still_mean_low"] < row["still_mean"] < row["still_mean_high"]


def test_the_figure(tmp_path: Path, saved: Callable[[Any], int]) -> None:
    figure: Any = run(pair(tmp_path, moved=True)).figure
    axes = figure.axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["FFA+", "FFA−"]
    assert [bar.get_height() for bar in axes.patches] == [3, 1, 3, 2, 1, 1, 1, 1]
    told = texts(figure)
    assert "separate[checkpoint=2] → separate[checkpoint=converged] (n = 6 cases)" in told
    assert "PASS ≥ 0.95" in told
    assert saved(figure)


def test_models_that_differ_in_more_are_no_pair(tmp_path: Path) -> None:
    cells = [
        cell(EARLY, model="x", kind="separate", parameters={"checkpoint": 2, "loss": "softmax"}),
        cell(LATE, model="y", kind="separate", parameters={"checkpoint": "converged", "loss": "euclidean"}),
    ]
    with pytest.raises(HarnessError, match='checkpoint = \\[2, "converged"\\]'):
        run(write(tmp_path, cells))


def test_another_search_is_another_comparison(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match='search = "iterative"'):
        run(pair(tmp_path), search="iterative")
