"""Observations: what a model says of images beside its scores is asked by the judge, kept, and verified."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from harness.analysis.pictures import originals, pixels
from harness.results import Results, read_results

from .conftest import SUITE, Command
from .spoiling import FOLDER, found, part_of, put, tamper

WATCHED = SUITE.replace('use = "linear"', 'use = "watching"')
OTHERS = """
[[model]]
use = "linear"
[[transfer]]
surrogate = "linear"
attack = "step"
"""
COLUMNS = [f"{name}_{when}" for name in ("brightest_row", "asked") for when in ("clean", "adv")]


@pytest.fixture
def watched(harness: Command, suite: Path) -> Results:
    suite.write_text(WATCHED)
    ran = harness("run", suite)
    assert (ran.status, ran.err) == (0, "")
    return read_results(FOLDER)


def brightest(picture: Any) -> int:
    return int(np.asarray(picture, np.float64).mean((0, 2)).argmax())


def test_the_judge_asks_about_the_original_and_the_judged_image(watched: Results) -> None:
    records = watched.samples(where={"attack": "step"})
    kept = originals(watched, "tiny")
    before = [brightest(pixels(kept[name])) for name in records["sample_id"]]
    after = [brightest(pixels(picture)) for picture in records["adversarial"]]
    assert records["brightest_row_clean"].tolist() == before
    assert records["brightest_row_adv"].tolist() == after
    assert before != after
    asked = records["target"].map({"Bright": 0, "Red": 1})
    assert (records["asked_clean"] == asked).all()
    assert (records["asked_adv"] == asked).all()


def test_a_transfer_observes_the_victim_and_other_models_nothing(harness: Command, suite: Path) -> None:
    suite.write_text(WATCHED + OTHERS)
    assert harness("run", suite).status == 0
    cells = read_results(FOLDER).cells().set_index(["model", "attack"])["cell"]
    names = {
        key: set(pq.read_schema(FOLDER / "samples" / cell / "part-00000.parquet").names)
        for key, cell in cells.items()
    }
    assert names["watching", "step from linear"] >= set(COLUMNS)
    assert not names["linear", "step"] & set(COLUMNS)
    assert found(harness) == []


def test_verify_asks_again(harness: Command, watched: Results) -> None:
    assert found(harness) == []
    for column in ("brightest_row_clean", "brightest_row_adv"):
        file = part_of("step")
        whole = file.read_bytes()
        tamper(file, put(**{column: 77.0}), restamp=True)
        # The checksum of cells.parquet tells of the change, too.
        (fault,) = [one for one in found(harness) if one.startswith("samples/")]
        assert f"{column} is " in fault
        assert fault.endswith("recorded 77.0")
        tamper(file, put(**{column: None}), restamp=True)
        assert any(fault.endswith("recorded None") for fault in found(harness))
        file.write_bytes(whole)


def test_a_measure_cannot_take_the_column(refused: Any, suite: Path) -> None:
    suite.write_text(WATCHED.replace('use = "shift"', 'use = "shift"\nid = "asked_adv"'))
    assert 'the records have a column "asked_adv" already' in refused("plan", suite)
