"""The tables put published figures beside those of the models that they are of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.errors import HarnessError
from harness_paw.analyses import tables
from harness_paw.analyses.quoted import ATTRIBUTES, AVERAGES, PUBLISHED, TABLE_5

from .conftest import NAMES, Folder, card, stages


@pytest.mark.parametrize("method", TABLE_5)
def test_the_quoted_table_has_the_published_averages(method: str) -> None:
    assert len(TABLE_5[method]) == len(set(ATTRIBUTES)) == 40
    assert np.mean(TABLE_5[method]) == pytest.approx(AVERAGES[method], abs=0.013)


def one(found: pd.DataFrame, **where: Any) -> dict[str, Any]:
    for name, value in where.items():
        found = found[found[name] == value]
    (row,) = found.to_dict("records")
    return row


def test_each_figure_stands_beside_its_model(study: Folder, saved: Callable[[Any], int]) -> None:
    found = tables.run(study.read())
    table = found.table
    row = one(table, table="1", of="without MNL, localisation branch")
    assert (row["model"], row["measured_on"], row["published"]) == ("alone", "validation", 0.9101)
    assert row["accuracy"] == pytest.approx(0.85)
    row = one(table, table="1", of="MNL, classification branch")
    assert (row["model"], row["accuracy"]) == ("paw", pytest.approx(0.91))
    assert one(table, table="3", of="SNet3")["parameters"] == 200
    assert one(table, table="3", of="TNet")["parameters"] == 900
    assert one(table, table="3", of="TNet")["published_parameters"] == 19e6
    assert pd.isna(one(table, table="3", of="SNet1")["model"])
    row = one(table, table="text", of="4x4 blocks")
    assert (row["model"], row["accuracy"]) == ("blocks", pytest.approx(0.9))
    assert row["accuracy_low"] < 0.9 < row["accuracy_high"]
    assert row["accuracy_high"] - row["accuracy_low"] < 0.1  # persons differ by 2 points
    row = one(table, table="5", of="PaW", attribute="Big_Nose")
    assert (row["model"], row["published"]) == ("paw", pytest.approx(0.8363))
    assert row["accuracy"] == pytest.approx(0.91, abs=0.003)
    assert row["accuracy_low"] == pytest.approx(row["accuracy"] - 0.05)
    assert one(table, table="5", of="whole-only", attribute="Average")["model"] == "whole"
    assert set(table.loc[table["table"] == "ours", "of"]) == {"soft", "alone"}
    assert table.loc[table["table"] == "2", "model"].isna().all()
    assert saved(found.figure) > 10_000


def test_figures_of_birds_stand_beside_birds_alone(study: Folder) -> None:
    notes = {"stages": stages(localisation=0.7, classification_branch=0.75)}
    study.model("tnet", "paw/paw-whole-only", card(0.7, training=notes), dataset="birds")
    study.cell("tnet", [], dataset="birds", dataset_use="cub-200")
    study.cells[-1]["dataset_parameters"] = '{"crop": "box"}'
    table = tables.run(study.read()).table
    birds = table[table["dataset"] == "birds"]
    row = one(birds, table="2", of="crop, MNL, localisation branch")
    assert (row["model"], row["accuracy"]) == ("tnet", pytest.approx(0.7))
    assert pd.isna(one(birds, table="2", of="full image, MNL, localisation branch")["model"])
    assert birds.loc[birds["table"] == "1", "model"].isna().all()


def test_aligned_figures_are_of_aligned_faces(study: Folder) -> None:
    study.cells[0]["dataset_use"] = "unaligned-faces"
    table = tables.run(study.read()).table
    assert pd.isna(one(table, table="text", of="PaW, aligned")["model"])
    assert one(table, table="text", of="4x4 blocks")["model"] == "blocks"


def test_every_published_figure_is_a_row(study: Folder) -> None:
    table = tables.run(study.read()).table
    told = {(row["table"], row["of"]) for row in table.to_dict("records")}
    assert {(item.table, item.of) for item in PUBLISHED} | {("5", name) for name in TABLE_5} <= told
    assert set(table.loc[table["table"] == "5", "attribute"]) == {*ATTRIBUTES, "Average"}
    assert set(NAMES) < set(ATTRIBUTES)


def test_without_the_cascade_there_is_nothing(folder: Folder) -> None:
    folder.model("moon", "attributes/moon", card(0.9))
    folder.cell("moon", [])
    with pytest.raises(HarnessError, match="put one into the suite"):
        tables.run(folder.read())
