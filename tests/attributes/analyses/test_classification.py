"""Figure 2: errors of ours from the cards, and quoted ones that cannot be taken for ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.metrics import wilson
from harness_attributes.analyses import quoted
from harness_attributes.analyses.classification import run
from harness_faces.attribute_names import CELEBA_ATTRIBUTES

from .study_fixture import card, case, cell, texts, write

SEPARATE = {"Male": 0.95, "Smiling": 0.9, "Young": 0.7}
CARDS = {
    "separate": card(SEPARATE, majority=0.6),
    "moon": card({"Male": 0.8, "Young": 0.9}),
}
OUTPUTS = {"moon": ["Male", "Young"]}


def cells() -> list[dict[str, Any]]:
    return [cell([case("a")], model="moon"), cell([case("a")])]


def test_errors_are_sorted_by_the_separate_networks(tmp_path: Path) -> None:
    table = run(write(tmp_path, cells(), cards=CARDS, outputs=OUTPUTS), quote=False).table
    own = table[table["classifier"] == "separate"]
    assert own["attribute"].tolist() == ["Male", "Smiling", "Young", "mean"]
    assert own["error"].tolist() == pytest.approx([0.05, 0.1, 0.3, 0.15])
    assert own[["low", "high"]].iloc[0].tolist() == pytest.approx(wilson(5, 100))
    assert own["n"].tolist() == [100] * 4
    moon = table[table["classifier"] == "moon"].set_index("attribute")["error"]
    assert moon.to_dict() == pytest.approx({"Male": 0.2, "Young": 0.1, "mean": 0.15})
    trivial = table[table["classifier"] == "trivial"].set_index("attribute")["error"]
    assert trivial.to_dict() == pytest.approx({"Male": 0.4, "Smiling": 0.4, "Young": 0.4, "mean": 0.4})
    means = table[table["attribute"] == "mean"].set_index("classifier")["attributes"]
    assert means.to_dict() == {"moon": 2, "separate": 3, "trivial": 3}
    assert not table["quoted"].any()


def test_attributes_that_the_separate_networks_lack_come_last(tmp_path: Path) -> None:
    cards = {"separate": card({"Young": 0.6}), "moon": card({"Male": 0.8, "Smiling": 0.9, "Young": 0.9})}
    results = write(tmp_path, cells(), cards=cards, outputs={"separate": ["Young"]})
    moon = run(results, quote=False).table.query("classifier == 'moon'")
    assert moon["attribute"].tolist() == ["Young", "Smiling", "Male", "mean"]


def test_quoted_numbers_say_so_everywhere(tmp_path: Path, saved: Callable[[Any], int]) -> None:
    found = run(write(tmp_path, cells(), cards=CARDS, outputs=OUTPUTS))
    theirs = found.table[found.table["quoted"]]
    assert theirs["classifier"].str.endswith("(quoted)").all()
    assert theirs["source"].str.len().gt(0).all()
    assert theirs["n"].isna().all()
    lnets = theirs[(theirs["classifier"] == "LNets+ANet (quoted)") & (theirs["attribute"] != "mean")]
    assert lnets.set_index("attribute")["error"].to_dict() == pytest.approx(
        {"Male": 0.02, "Smiling": 0.08, "Young": 0.13}
    )
    assert lnets["source"].str.contains("Ding et al. 2018.*unaligned").all()
    means = theirs[theirs["attribute"] == "mean"].set_index("classifier")["error"]
    assert means["separate (quoted)"] == pytest.approx(0.0920)
    assert means["trivial (quoted)"] == pytest.approx(0.1996)
    assert len(means) == 8
    ours = found.table[~found.table["quoted"]]
    assert not ours["classifier"].str.contains("quoted").any()
    assert (ours["source"] == "this run").all()
    assert "quoted from publications" in texts(found.figure)
    assert saved(found.figure)


def test_the_figure_draws_quoted_hollow_and_ours_filled(tmp_path: Path) -> None:
    figure: Any = run(write(tmp_path, cells(), cards=CARDS, outputs=OUTPUTS)).figure
    by_attribute, means = figure.axes
    assert [tick.get_text() for tick in by_attribute.get_xticklabels()] == ["Male", "Smiling", "Young"]
    lines = {tuple(line.get_ydata().round(6)): line for line in by_attribute.lines}
    lnets, ours = lines[2.0, 8.0, 13.0], lines[5.0, 10.0, 30.0]
    assert (lnets.get_markerfacecolor(), lnets.get_linestyle()) == ("white", "--")
    assert ours.get_markerfacecolor() != "white"
    assert ours.get_linestyle() == "-"
    labels = [tick.get_text() for tick in means.get_yticklabels()]
    assert len(labels) == 3 + 8
    assert "separate (3)" in labels
    assert "separate (quoted) (40)" in labels


def test_the_trivial_classifier_stands_there_once(tmp_path: Path) -> None:
    both = [cell([case("a")]), cell([case("a")], model="majority")]
    cards = CARDS | {"majority": card(dict.fromkeys(SEPARATE, 0.6), majority=0.6)}
    table = run(write(tmp_path, both, cards=cards), quote=False).table
    assert set(table["classifier"]) == {"separate", "trivial"}


def test_data_sets_are_not_mixed(tmp_path: Path) -> None:
    two = [cell([case("a")]), cell([case("a")], dataset="drawn", stand_in_for="celeba")]
    found = run(write(tmp_path, two, cards=CARDS))
    assert found.table.groupby("dataset").size().tolist() == [3 + 1 + 3 + 1 + 3 + 8] * 2
    assert "drawn, a stand-in for celeba (n = 100 images)" in texts(found.figure)


def test_cards_that_tell_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="weights that this harness trains do"):
        run(write(tmp_path, cells()))


def test_the_published_accuracies_are_whole() -> None:
    assert tuple(quoted.LNETS_ACCURACY) == CELEBA_ATTRIBUTES
    # The mean that both papers print, 87.30 % right and 12.70 % wrong, checks the typing.
    assert sum(quoted.LNETS_ACCURACY.values()) / 40 == pytest.approx(87.30)
    assert {quote.name: quote.value for quote in quoted.MEANS}["LNets+ANet"] == 12.70


def test_intervals_over_persons_are_taken_from_the_card(tmp_path: Path) -> None:
    told = card(SEPARATE) | {"accuracy_interval": {"Male": [0.8, 0.97]}}
    table = run(write(tmp_path, [cell([case("a")])], cards={"separate": told}), quote=False).table
    own = table.set_index("attribute")[["low", "high"]]
    assert own.loc["Male"].tolist() == pytest.approx([0.03, 0.2])
    assert own.loc["Smiling"].tolist() == pytest.approx(wilson(10, 100))
