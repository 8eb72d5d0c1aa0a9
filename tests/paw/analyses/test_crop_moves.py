"""Moves of crops are measured between the original and the judged image, and set against success."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.errors import HarnessError
from harness_paw.analyses import crop_moves

from .conftest import Folder, card, case, located


@pytest.fixture
def attacked(folder: Folder) -> Folder:
    """Eight cases that count: four did not move, two moved by 5 pixels, two by 30; crops have 24 pixels."""
    folder.model("paw", "paw/paw", card(0.9, training=located()), crop="hard")
    records = [case(f"{number}", success=number == 0, move=(0, 0)) for number in range(4)]
    records += [case(f"{number}", "Bangs", success=number == 4, move=(3, 4)) for number in (4, 5)]
    records += [case(f"{number}", "Bangs", success=True, move=(0, -30)) for number in (6, 7)]
    records += [case("8", right=False, success=True, move=(50, 0)), {**case("9"), "error": "it broke"}]
    folder.cell("paw", records)
    return folder


def row(table: pd.DataFrame, attribute: str, distance: str) -> dict[str, Any]:
    (found,) = table[(table["attribute"] == attribute) & (table["distance"] == distance)].to_dict("records")
    return found


def test_distances_and_success(attacked: Folder, saved: Callable[[Any], int]) -> None:
    found = crop_moves.run(attacked.read())
    whole = row(found.table, "all", "all")
    assert (whole["n"], whole["moved"], whole["success_rate"]) == (8, 0.5, 0.5)
    assert whole["pixels"] == pytest.approx((2 * 5 + 2 * 30) / 8)
    assert whole["sides"] == pytest.approx((2 * 5 / 24 + 2 * 30 / 24) / 8)
    assert whole["moved_low"] < 0.5 < whole["moved_high"]
    every = found.table[found.table["attribute"] == "all"].set_index("distance")
    assert {name: (each["n"], each["success_rate"]) for name, each in every.drop("all").iterrows()} == {
        "not moved": (4, 0.25),
        "by up to 1/4": (2, 0.5),
        "by more": (2, 1.0),
    }
    bangs = row(found.table, "Bangs", "all")
    assert (bangs["n"], bangs["moved"], bangs["success_rate"]) == (4, 1.0, 0.75)
    assert row(found.table, "Smiling", "all")["moved"] == 0.0
    assert saved(found.figure) > 5_000


def test_only_the_named_attributes(attacked: Folder) -> None:
    table = crop_moves.run(attacked.read(), attributes=["Bangs"]).table
    assert set(table["attribute"]) == {"all", "Bangs"}
    assert row(table, "all", "all")["n"] == 4


def test_a_card_without_sides_leaves_pixels(attacked: Folder) -> None:
    attacked.models[0]["card"]["training"] = {}
    table = crop_moves.run(attacked.read()).table
    whole = row(table, "all", "all")
    assert whole["pixels"] == pytest.approx(8.75)
    assert np.isnan(whole["sides"])


def test_models_without_crops_are_left_out(folder: Folder) -> None:
    folder.model("whole", "paw/paw-whole-only", card(0.9))
    folder.cell("whole", [case("a")])
    with pytest.raises(HarnessError, match="no record tells where crops are"):
        crop_moves.run(folder.read())


def test_rows_and_columns_have_sides_of_their_own(attacked: Folder) -> None:
    attacked.models[0]["card"]["training"]["heatmaps"]["side"] = [24, 12]
    whole = row(crop_moves.run(attacked.read()).table, "all", "all")
    assert whole["sides"] == pytest.approx((2 * np.hypot(3 / 24, 4 / 12) + 2 * 30 / 12) / 8)


def test_a_rounding_error_is_no_move(folder: Folder) -> None:
    folder.model("paw", "paw/paw", card(0.9, training=located()), crop="hard")
    folder.cell("paw", [case("a", move=(4e-4, 0)), case("b", move=(0, 2e-3))])
    whole = row(crop_moves.run(folder.read()).table, "all", "all")
    assert whole["moved"] == 0.5
    assert row(crop_moves.run(folder.read()).table, "all", "not moved")["n"] == 1
