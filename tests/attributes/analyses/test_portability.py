"""Figures 4 and 5: what adversarials of one attribute flip on others, by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.errors import HarnessError
from harness.metrics import wilson
from harness.results import Results
from harness_attributes.analyses import correlation, portability

from .study_fixture import broken, case, cell, texts, transferred, write

CASES = [
    case("a", "Male", similar=0.99, also=["Young"]),
    case("b", "Male", similar=0.99),
    case("c", "Male", similar=0.5, also=["Smiling"]),  # below the threshold
    case("d", "Male", similar=0.99, also=["Young"], right=False),
    case("a", "Smiling"),  # never flipped: an empty column
    broken("b", "Smiling"),
    case("a", "Young", similar=0.99, also=["Male", "Smiling"]),
]


def rates(table: pd.DataFrame) -> pd.DataFrame:
    return table.pivot(index="network", columns="made_for", values="rate").astype(float)


def test_columns_are_made_for_and_rows_are_asked(tmp_path: Path) -> None:
    table = portability.run(write(tmp_path, [cell(CASES)])).table
    assert set(table["panel"]) == {"within"}
    found = table.set_index(["network", "made_for"])
    assert found.loc[("Young", "Male"), ["count", "n"]].tolist() == [2, 3]
    assert found.loc[("Young", "Male"), "rate"] == pytest.approx(2 / 3)
    assert found.loc[("Young", "Male"), ["low", "high"]].tolist() == pytest.approx(wilson(2, 3))
    assert found.loc[("Male", "Young"), ["count", "n"]].tolist() == [1, 1]
    assert found.loc[("Smiling", "Male"), "count"] == 0
    assert (found.loc[(slice(None), "Smiling"), "n"] == 0).all()
    assert found.loc[(slice(None), "Smiling"), "rate"].isna().all()
    diagonal = table[table["made_for"] == table["network"]]
    assert diagonal["by_definition"].all()
    assert diagonal.set_index("made_for")["rate"].drop("Smiling").tolist() == [1.0, 1.0]
    assert table["by_definition"].sum() == 3
    # Male flips Smiling 0 and Young 2/3, Young flips both; Smiling's column is empty.
    assert set(table["mean_off_diagonal"].round(6)) == {round((0 + 2 / 3 + 1 + 1) / 4, 6)}


def test_signs(tmp_path: Path) -> None:
    results = write(tmp_path, [cell(CASES)])
    right = rates(portability.run(results, sign="+").table)
    wrong = rates(portability.run(results, sign="-").table)
    assert right.loc["Young", "Male"] == 0.5
    assert wrong.loc["Young", "Male"] == 1.0
    assert wrong["Young"].isna().all()


def moved(tmp_path: Path) -> Results:
    early = cell(CASES, model="early", kind="separate", parameters={"checkpoint": 2})
    judged = [
        case("a", "Male", similar=0.1, also=["Smiling"], surrogate_success=True),
        case("b", "Male", surrogate_success=True),
        case("c", "Male", similar=0.99, surrogate_success=True),  # was below the threshold when made
        case("d", "Male", also=["Young"], surrogate_success=True),
        case("a", "Smiling", similar=0.99, surrogate_success=False),
        broken("a", "Young", surrogate_success=True),
    ]
    late = cell(CASES, model="late", kind="separate")
    return write(tmp_path, [early, late, transferred(early, judged, model="late", kind="separate")])


def test_transfers_take_success_and_pass_from_where_they_were_made(tmp_path: Path) -> None:
    table = portability.run(moved(tmp_path)).table
    across = table[table["panel"] == "transfer"]
    assert set(across["model"]) == {"late"}
    assert set(across["surrogate"]) == {"early"}
    found = across.set_index(["network", "made_for"])
    assert found.loc[("Male", "Male"), ["count", "n"]].tolist() == [1, 3]
    assert found.loc[("Smiling", "Male"), "count"] == 1
    assert found.loc[("Young", "Male"), "count"] == 1
    assert (found.loc[(slice(None), ["Smiling", "Young"]), "n"] == 0).all()
    assert not across["by_definition"].any()
    assert set(across["mean_diagonal"].round(6)) == {round(1 / 3, 6)}


def test_the_figure_sets_within_beside_transfer(tmp_path: Path, saved: Callable[[Any], int]) -> None:
    figure: Any = portability.run(moved(tmp_path)).figure
    within, across = figure.axes[:2]
    assert "faces:\nlate\n" in within.get_title()
    assert "early\n→ late" in across.get_title()
    assert "mean diagonal: 33.3 %" in across.get_title()
    assert [tick.get_text() for tick in within.get_xticklabels()] == ["Male", "Smiling", "Young"]
    assert [tick.get_text() for tick in within.get_yticklabels()] == ["Male", "Smiling", "Young"]
    assert within.get_xlabel() == "adversarials made for"
    shown = np.ma.filled(within.images[0].get_array().astype(float), np.nan)
    assert shown[2, 0] == pytest.approx(200 / 3)  # row Young, column Male
    assert np.isnan(shown[:, 1]).all()  # empty, not 0
    assert np.isnan(np.diag(shown)).all()  # grey
    assert sum(bool(patch.get_hatch()) for patch in within.patches) == 3
    assert saved(figure)


def test_a_model_of_some_attributes(tmp_path: Path) -> None:
    names = ["Young", "Male"]
    cases = [case("a", "Male", similar=0.99, also=["Young"], outputs=names)]
    results = write(tmp_path, [cell(cases)], outputs={"separate": names})
    found = rates(portability.run(results).table)
    assert list(found.columns) == ["Male"]
    assert found["Male"].to_dict() == {"Male": 1.0, "Young": 1.0}


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    results = write(tmp_path, [cell(CASES), cell(CASES, attack="fgs"), cell(CASES, model="moon")])
    with pytest.raises(HarnessError, match='attack "fga" is not in these results; did you mean "fgs"'):
        portability.run(results, attack="fga")
    with pytest.raises(HarnessError, match='model "mon" is not in these results; did you mean "moon"'):
        portability.run(results, model="mon")
    with pytest.raises(HarnessError, match='search "iterative"'):
        portability.run(results, search="iterative")
    assert set(portability.run(results, model="moon").table["model"]) == {"moon"}


def test_correlation_is_of_joint_networks(tmp_path: Path, saved: Callable[[Any], int]) -> None:
    cells = [
        cell(CASES),
        cell(CASES, model="moon", search="iterative"),
        cell(CASES[:2], model="moon"),
        cell(CASES[:2], model="moon", dataset="drawn", stand_in_for="celeba"),
    ]
    found = correlation.run(write(tmp_path, cells))
    assert set(found.table["model"]) == {"moon"}
    line = found.table[(found.table["search"] == "line") & (found.table["dataset"] == "faces")]
    assert rates(line).loc["Young", "Male"] == 0.5
    figure: Any = found.figure
    titles = [axes.get_title().split("\n")[0] for axes in figure.axes]
    assert titles[:3] == [
        "faces: moon, FFA, line search",
        "faces: moon, FFA, iterative",
        "drawn, a stand-in for celeba: moon, FFA, line search",
    ]
    assert "PASS ≥ 0.95" in texts(figure)
    assert saved(figure)


def test_correlation_without_a_joint_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="was run on no MOON"):
        correlation.run(write(tmp_path, [cell(CASES)]))
    assert not correlation.run(write(tmp_path, [cell(CASES)]), model="separate").table.empty


def test_forty_attributes_carry_no_numbers(tmp_path: Path, saved: Callable[[Any], int]) -> None:
    names = [f"Attribute_{number}" for number in range(40)]
    cases = [case("a", name, similar=0.99, also=names[:2], outputs=names) for name in names]
    figure: Any = correlation.run(
        write(tmp_path, [cell(cases, model="moon")], outputs={"moon": names})
    ).figure
    axes = figure.axes[0]
    assert len(axes.get_xticklabels()) == len(axes.get_yticklabels()) == 40
    assert not axes.texts
    assert saved(figure)
