"""Figure 1: which examples are shown, and what is said of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.errors import HarnessError
from harness_attributes.analyses.panels import caption, run, typical

from .study_fixture import case, cell, picture, texts, write

ORIGINALS = {name: picture(100) for name in "abcdefgh"}
KEPT = {"adversarial": picture(103)}
CASES = [
    case("a", "Male", similar=0.96, **KEPT),
    case("b", "Male", similar=0.97, also=["Young"], **KEPT),  # the median of +
    case("c", "Young", similar=0.999, **KEPT),
    case("d", "Smiling", **KEPT),
    case("e", "Young", similar=0.98, right=False, **KEPT),
    case("f", "Smiling", similar=0.99, right=False, **KEPT),  # the median of −
    case("g", "Male", similar=0.5, **KEPT),  # below the threshold
    case("h", "Male", similar=1.0, right=False, **KEPT),
]


def test_the_table_tells_what_is_shown(tmp_path: Path) -> None:
    table = run(write(tmp_path, [cell(CASES)], originals=ORIGINALS), rows=2).table
    assert table["sample_id"].tolist() == ["b", "f"]
    assert table["attribute"].tolist() == ["Male", "Smiling"]
    assert table["sign"].tolist() == ["+", "-"]
    assert table["natural"].tolist() == [False, True]
    assert table["linf_grey_levels"].tolist() == [3, 3]
    assert table["also_flipped"].tolist() == ["Young", ""]
    assert table["before"].tolist() == [False, False]
    assert table["after"].tolist() == [True, True]
    assert table["median_pass"].tolist() == pytest.approx([0.97, 0.99])


def test_the_figure_holds_three_images_a_line(tmp_path: Path, saved: Callable[[Any], int]) -> None:
    cells = [cell(CASES, stand_in_for="celeba"), cell(CASES, model="moon", stand_in_for="celeba")]
    figure: Any = run(write(tmp_path, cells, originals=ORIGINALS), rows=4).figure
    assert len(figure.axes) == 2 * 4 * 3
    images = [axes.images[0].get_array() for axes in figure.axes[:3]]
    assert [int(image[0, 0, 0]) for image in images] == [100, 158, 103]  # 127.5 + 10 · 3
    told = texts(figure)
    assert "stand-in for celeba: separate, FFA, line search" in told
    assert "nearest to the median PASS (+ 0.970, − 0.990)" in told
    assert "Male − → + (was right); PASS 0.970, L∞ 3/255; also flips" in told
    assert "natural adversarial" in told
    assert saved(figure)


def test_the_choice_is_deterministic_varied_and_balanced() -> None:
    rows = [
        {"sample_id": image, "target": target, "sign": sign, "pass": value}
        for image, target, sign, value in [
            ("a", "Male", "+", 0.98),
            ("b", "Male", "+", 0.98),
            ("a", "Young", "+", 0.97),
            ("c", "Young", "+", 0.96),
            ("d", "Smiling", "-", 0.99),
        ]
    ]
    cases = pd.DataFrame(rows)
    picked, medians = typical(cases, 4, "pass")
    assert medians == {"+": pytest.approx(0.975), "-": 0.99}
    # One wrong case is all there is, so that right ones fill up: (a, Male) is nearest, of equals the first;
    # then another image and attribute; then what is left, nearest first.
    chosen = list(zip(picked["sample_id"], picked["target"], strict=True))
    assert chosen == [("a", "Male"), ("c", "Young"), ("a", "Young"), ("d", "Smiling")]
    again, _ = typical(cases.iloc[::-1], 4, "pass")
    assert list(zip(again["sample_id"], again["target"], strict=True)) == chosen
    assert len(typical(cases, 9, "pass")[0]) == 5


def test_attributes_can_be_named(tmp_path: Path) -> None:
    results = write(tmp_path, [cell(CASES)], originals=ORIGINALS)
    assert set(run(results, attributes=["Young"]).table["attribute"]) == {"Young"}
    with pytest.raises(HarnessError, match='attribute "Yong" is not in these results; did you mean "Young"'):
        run(results, attributes=["Yong"])
    with pytest.raises(HarnessError, match="rows = 0"):
        run(results, rows=0)


def test_without_pictures_the_remedy_is_keep(tmp_path: Path) -> None:
    bare = [row | {"adversarial": None} for row in CASES]
    for number, results in enumerate(
        [
            write(tmp_path / "0", [cell(bare)], originals=ORIGINALS),
            write(tmp_path / "1", [cell(CASES)]),
        ]
    ):
        with pytest.raises(HarnessError, match="keep = true") as error:
            run(results)
        assert len(str(error.value).splitlines()) == 1, number


def test_without_pass_the_distance_decides(tmp_path: Path) -> None:
    cases = [{name: value for name, value in row.items() if name != "pass"} for row in CASES]
    for number, row in enumerate(cases):
        row["l2"] = float(number)
    results = write(tmp_path, [cell(cases)], originals=ORIGINALS)
    with pytest.raises(HarnessError, match="has no PASS"):
        run(results)
    found = run(results, threshold=0.0, rows=2)
    assert found.table["median_l2"].tolist() == [1.5, 5.0]  # of a, b, c, g and of e, f, h
    told = texts(found.figure)
    assert "nearest to the median L2" in told
    assert "PASS 0" not in told


def test_a_caption_names_five_others_at_most() -> None:
    facts = {
        "attribute": "No_Beard", "before": True, "after": False, "natural": False, "pass": 0.97,
        "linf_grey_levels": 1, "also_flipped": ", ".join("ABCDEFG"),
    }  # fmt: skip
    assert caption(facts) == (
        "No Beard + → − (was right); PASS 0.970, L∞ 1/255; also flips A, B, C, D, E and 2 more"
    )
