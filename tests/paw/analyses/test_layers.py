"""The analyses of the two layers name what the switch and the relation layer weigh most."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.errors import HarnessError
from harness_paw.analyses import layers

from .conftest import NAMES, Folder, M, card


def test_the_switch_is_told_by_attribute(study: Folder, saved: Callable[[Any], int]) -> None:
    notes = study.models[0]["card"]["training"]
    notes["switch"]["weight"][1 + NAMES.index("Eyeglasses")][NAMES.index("Smiling")] = 0.9
    found = layers.switch(study.read())
    table = found.table[found.table["model"] == "paw"].set_index("attribute")
    assert len(table) == M
    assert table.loc["Big_Nose", ["own", "whole"]].tolist() == pytest.approx([0.33, 0.1])
    assert table.loc["Big_Nose", "difference"] == pytest.approx(0.23)
    assert table.loc[["Big_Nose", "Male", "Smiling"], "largest"].tolist() == ["own", "whole", "Eyeglasses"]
    assert table.loc[["Big_Nose", "Male", "Smiling"], "rank"].tolist() == [1, 2, 2]
    assert saved(found.figure) > 10_000


def test_pairs_are_ranked_by_both_directions(study: Folder, saved: Callable[[Any], int]) -> None:
    found = layers.relation(study.read())
    table = found.table[found.table["model"] == "paw"].set_index(["attribute", "from_attribute"])
    assert len(table) == M * M
    row = table.loc[("Chubby", "Double_Chin")]
    assert (row["weight"], row["back"]) == (0.5, 0.3)
    assert row["mean"] == pytest.approx(0.4)
    assert table.loc[("Double_Chin", "Chubby"), "back"] == 0.5
    top = {pair for pair, rank in table["rank"].items() if rank == 1}
    assert top <= {
        (a, b)
        for one, other in (
            ("Chubby", "Double_Chin"),
            ("Heavy_Makeup", "Wearing_Lipstick"),
            ("Smiling", "High_Cheekbones"),
        )
        for a, b in ((one, other), (other, one))
    }
    assert table["rank"].max() <= M * (M - 1) / 2
    assert table.loc[("Male", "Male"), "mean"] != table.loc[("Male", "Male"), "mean"]
    assert saved(found.figure) > 10_000


def test_cards_without_layers_are_an_error(folder: Folder) -> None:
    folder.model("paw", "paw/paw", card(0.9))
    folder.cell("paw", [])
    for run in (layers.switch, layers.relation):
        with pytest.raises(HarnessError, match="no card tells the layers"):
            run(folder.read())
