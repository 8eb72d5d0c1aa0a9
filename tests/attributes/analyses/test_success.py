"""Figure 3: success by attribute, by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness_attributes.analyses.success import run

from .study_fixture import broken, case, cell, texts, write

FGS = [
    case("a", "Male", similar=0.99),
    case("b", "Male", similar=0.99),
    case("a", "Smiling"),
    case("b", "Smiling", similar=0.90),
    case("a", "Young", similar=0.99),
    case("b", "Young"),
]
FFA = [
    case("a", "Male"),
    case("b", "Male", right=False, similar=0.99),
    case("a", "Smiling", similar=0.99),
    broken("b", "Smiling"),
]


def test_rates_and_order(tmp_path: Path) -> None:
    table = run(write(tmp_path, [cell(FFA), cell(FGS, attack="fgs")])).table
    ordered = table.drop_duplicates("attribute").sort_values("position")
    assert ordered["attribute"].tolist() == ["Smiling", "Young", "Male"]
    found = table.set_index(["method", "sign", "attribute"])
    assert found.loc[("fgs", "+", "Smiling"), "rate"] == 0.0  # flipped, but below the threshold
    assert found.loc[("fgs", "+", "Male"), "rate"] == 1.0
    assert found.loc[("ffa", "+", "Smiling"), ["count", "n"]].tolist() == [1, 1]
    assert found.loc[("ffa", "+", "Male"), ["count", "n"]].tolist() == [0, 1]
    assert found.loc[("ffa", "-", "Male"), ["count", "n"]].tolist() == [1, 1]
    assert found.loc[("ffa", "-", "Smiling"), "n"] == 0
    assert ("ffa", "+", "Young") not in found.index  # it was not attacked


def test_without_fgs_the_first_attack_sorts(tmp_path: Path) -> None:
    table = run(write(tmp_path, [cell(FFA)])).table
    assert table.drop_duplicates("attribute")["attribute"].tolist() == ["Male", "Smiling"]


def test_a_subset_of_the_attributes_keeps_their_order(tmp_path: Path, saved: Callable[[Any], int]) -> None:
    subset = [case("a", "Young", outputs=["Young"]), case("a", "Male", outputs=["Young"])]
    found = run(
        write(
            tmp_path,
            [
                cell(subset, model="moon"),
                cell(FGS, attack="fgs"),
                cell(FGS, attack="fgs", search="iterative"),
            ],
        )
    )
    figure: Any = found.figure
    for axes in figure.axes:
        assert [tick.get_text() for tick in axes.get_xticklabels()] == ["Smiling", "Young", "Male"]
    told = texts(figure)
    assert "faces: line search, euclidean loss" in told
    assert "faces: iterative, euclidean loss" in told
    assert "moon, FFA+ (n = 2)" in told
    colours = [
        [line.get_color() for line in axes.lines if len(line.get_xdata()) == 3] for axes in figure.axes
    ]
    assert colours[0] == colours[1]  # FGS has one colour in both panels
    assert saved(figure)


def test_early_checkpoints_are_left_to_the_table(tmp_path: Path) -> None:
    cells = [cell(FGS, model="early", kind="separate", parameters={"checkpoint": 2}), cell(FGS)]
    found = run(write(tmp_path, cells))
    assert set(found.table["model"]) == {"early", "separate"}
    assert "early, FFA" not in texts(found.figure)


def test_names_are_spaced(tmp_path: Path) -> None:
    figure: Any = run(write(tmp_path, [cell([case("a", "Wearing_Hat", outputs=["Wearing_Hat"])])])).figure
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["Wearing Hat"]
