"""Heatmaps of cards are shown on their pictures, where their maximum is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from harness.errors import HarnessError
from harness_paw.analyses import heatmaps
from harness_paw.analyses.study import read_studies

from .conftest import SIZE, Folder, M, card


def test_places_are_told_and_drawn(study: Folder, saved: Callable[[Any], int]) -> None:
    found = heatmaps.run(study.read(), attributes=["Big_Nose", "Smiling"], images=1)
    table = found.table
    assert table["model"].value_counts().to_dict() == {"paw": M, "parts": M}
    row = table.iloc[0]
    assert row[["row", "column", "row_deviation", "column_deviation"]].tolist() == [0.5, 0.25, 0.3, 0.4]
    assert row["spread"] == pytest.approx(np.hypot(0.3 * 88, 0.4 * 72) / np.hypot(88, 72))
    assert row["crop_share"] == pytest.approx(24 * 24 / (88 * 72))
    # paw and parts have one localisation network, which is shown once: a plain picture and two with heatmaps
    pictures = [axes for axes in found.figure.axes if axes.images]
    assert len(pictures) == 3
    (square,) = pictures[1].patches
    assert (square.get_x(), square.get_y()) == pytest.approx((28 - 12 - 0.5, 4 - 12 - 0.5))
    assert (square.get_width(), square.get_height()) == (24, 24)
    assert not pictures[0].patches
    assert saved(found.figure) > 5_000


def test_the_colour_is_warmest_where_the_heatmap_is_largest(study: Folder) -> None:
    nets = read_studies(study.read())[0].nets
    shown = heatmaps.shown_of(nets[0])
    assert shown is not None
    mixed = heatmaps.blended(shown.pictures[0], shown.heatmaps[0, 10]).astype(
        int
    )  # the cell in row 1, column 1
    warm = mixed[..., 0] - mixed[..., 2]
    assert mixed.shape == (*SIZE, 3)
    row, column = np.unravel_index(warm.argmax(), warm.shape)
    assert 8 <= row < 16
    assert 8 <= column < 16


def test_what_cannot_be_shown_is_an_error(study: Folder, folder: Folder) -> None:
    results = study.read()
    with pytest.raises(
        HarnessError, match='attribute "Smilling" is not in these results; did you mean "Smiling"'
    ):
        heatmaps.run(results, attributes=["Smilling"])
    with pytest.raises(HarnessError, match="images = 0"):
        heatmaps.run(results, images=0)
    folder.models = [model for model in folder.models if model["model"] in ("whole", "moon")]
    with pytest.raises(HarnessError, match="no card has heatmaps"):
        heatmaps.run(folder.read())
    assert card(0.9)["training"] == {}
