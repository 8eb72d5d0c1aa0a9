"""Which cells and cases are read, and what is said of names and numbers that are not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.analysis import reading
from harness.errors import HarnessError
from harness.metrics import NOTHING, Estimate
from harness.results import Results, read_results
from tests.leaderboard import board_fixture as tiny
from tests.leaderboard.board_fixture import broken, cell, record


def results_of(tmp_path: Path, *cells: dict[str, Any]) -> Results:
    return read_results(tiny.write(tmp_path, cells))


def test_cells_say_what_their_columns_say(tmp_path: Path) -> None:
    told = {
        "model_use": "attributes/moon",
        "model_parameters": json.dumps({"width": 8}),
        "attack_use": "attacks/pgd",
        "attack_parameters": json.dumps({"iterations": 5}),
        "dataset_source": json.dumps({"label": "celeba"}),
        "stand_in_for": "celeba",
        "eps": 0.5,
    }
    (found,) = reading.read_cells(results_of(tmp_path, cell([record("a")], model="mine", **told)))
    assert (found.dataset, found.model, found.attack) == ("faces", "mine", "pgd")
    assert (found.dataset_kind, found.model_kind, found.attack_kind) == ("faces", "moon", "pgd")
    assert (found.model_parameters, found.attack_parameters) == ({"width": 8}, {"iterations": 5})
    assert (found.dataset_parameters, found.dataset_source) == ({}, {"label": "celeba"})
    assert (found.stand_in_for, found.eps, found.surrogate, found.source) == ("celeba", 0.5, None, None)
    assert (found.planned, found.problem) == (1, None)


def test_what_labels_tell_where_the_catalogue_does_not() -> None:
    assert reading.kind_of("bayes/cnn", "mine") == "cnn"
    assert reading.kind_of(None, "cnn[width=8]") == "cnn"
    assert reading.kind_of(None, "pgd from paw") == "pgd"


def test_skipped_cells_other_goals_and_transfers_are_left_out(tmp_path: Path) -> None:
    results = results_of(
        tmp_path,
        cell([record("a")]),
        cell(attack="fgs", status="skipped"),
        cell([record("a")], attack="cw", goal="untargeted"),
        cell([record("a")], attack="pgd from paw", surrogate="paw", source="there"),
    )
    assert [found.attack for found in reading.read_cells(results)] == ["pgd", "cw"]
    assert [found.attack for found in reading.read_cells(results, goal="flip")] == ["pgd"]
    *_, moved = reading.read_cells(results, goal="flip", transfers=True)
    assert (moved.surrogate, moved.source) == ("paw", "there")


def test_what_went_wrong_is_told(tmp_path: Path) -> None:
    failed = cell(status="failed", error="no weights", cell="", cases=None)
    part = cell([record("a")], attack="cw", status="partial")
    one, other = reading.read_cells(results_of(tmp_path, failed, part))
    assert (one.id, one.planned, one.problem) == ("", 0, "failed: no weights")
    assert other.problem == "partial"


def test_cases_have_an_outcome(tmp_path: Path) -> None:
    rows = [
        record("a", "Male", success=True, l2=2.0),
        record("b", "Male", clean_correct=False),
        record("c", clean_correct=None),
        broken("d"),
        record("e", success=True, error="ContractError: no"),
    ]
    results = results_of(tmp_path, cell(rows), cell(attack="cw"), cell(cell="", status="failed"))
    cells = reading.read_cells(results)
    found = reading.cases(results, cells, ("l2", "pass"))
    own = found[cells[0].id].sort_values("sample_id")
    assert list(own) == ["cell", "sample_id", "cluster", "target", "right", "success", "l2", "pass"]
    assert own["sample_id"].tolist() == ["a", "b"]
    assert own["right"].tolist() == [True, False]
    assert own["success"].tolist() == [True, False]
    assert own["l2"].tolist() == [2.0, 1.0]
    assert own["pass"].isna().all()  # nobody measured it
    assert list(found) == [item.id for item in cells]
    for empty in (found[cells[1].id], found[""]):
        assert empty.empty
        assert empty.dtypes.equals(own.dtypes)


def test_a_measure_that_some_cells_have(tmp_path: Path) -> None:
    results = results_of(
        tmp_path,
        cell([record("a", success=True)]),
        cell([record("a", success=True) | {"pass": 0.5}], attack="cw"),
    )
    cells = reading.read_cells(results)
    assert [("pass" in reading.recorded(results, item)) for item in cells] == [False, True]
    found = reading.cases(results, cells, ("pass",))
    assert np.isnan(found[cells[0].id]["pass"][0])
    assert found[cells[1].id]["pass"][0] == 0.5


def test_what_a_model_answers_and_what_its_card_says(tmp_path: Path) -> None:
    results = results_of(tmp_path, cell([record("a")]))
    with pytest.raises(
        HarnessError, match='does not say what "moon" answers on "faces"; run the suite again'
    ):
        reading.outputs(results, "faces", "moon")
    assert reading.card(results, "faces", "moon") == {}
    row = {"dataset": "faces", "model": "moon", "outputs": ["Male", "Young"], "card": {"accuracy": 0.9}}
    (tmp_path / "models.json").write_text(json.dumps([row | {"model": "paw", "card": {}}, row]))
    assert reading.outputs(results, "faces", "moon") == ["Male", "Young"]
    assert reading.card(results, "faces", "moon") == {"accuracy": 0.9}


def test_a_misspelt_name_is_told_its_neighbour() -> None:
    reading.choose(["pgd"], ["fgs", "pgd"], "attack")
    with pytest.raises(HarnessError, match='attack "pdg" is not in these results; did you mean "pgd"'):
        reading.choose(["fgs", "pdg"], ["fgs", "pgd"], "attack")


def test_estimates_go_into_columns_and_come_back() -> None:
    found = Estimate(0.5, 0.25, 0.75, 8)
    row = reading.estimate_columns("rate", found)
    assert row == {"rate": 0.5, "rate_low": 0.25, "rate_high": 0.75}
    assert reading.estimate(row, "rate") == Estimate(0.5, 0.25, 0.75, 0)
    table = reading.typed([reading.estimate_columns("rate", NOTHING)])
    assert reading.estimate(table.to_dict("records")[0], "rate").value is None


def test_a_number_that_no_row_has_is_still_a_number() -> None:
    names = ("value", "reason", "test_reason", "dataset_real", "stand_in_for", "source")
    table = reading.typed([dict.fromkeys(names)] * 2, texts=("source",))
    assert {name for name in names if pd.api.types.is_float_dtype(table[name])} == {"value"}
