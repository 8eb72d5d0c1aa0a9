"""Stored pictures as pixels, and a row of images in a figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.analysis import drawing
from harness.analysis.pictures import adversarials, distance, image_row, magnified, originals, pixels
from harness.errors import HarnessError
from harness.results import Results, read_results
from harness.store.png import encode
from harness.store.schema import ORIGINAL_SCHEMA
from tests.leaderboard import board_fixture as tiny
from tests.leaderboard.board_fixture import cell, record

COLOURED = np.random.default_rng(0).integers(0, 256, (3, 4, 5), dtype=np.uint8)
GREY = COLOURED[:1]


def picture(value: int) -> bytes:
    return encode(np.full((3, 4, 5), value, np.uint8))


def results_of(tmp_path: Path, *cells: dict[str, Any]) -> Results:
    return read_results(tiny.write(tmp_path, cells))


@pytest.mark.parametrize("image", [COLOURED, GREY])
def test_pictures_have_the_channels_that_they_had(image: Any) -> None:
    assert np.array_equal(pixels(encode(image)), image)


def test_originals_are_those_of_a_data_set(tmp_path: Path) -> None:
    results = results_of(tmp_path, cell([record("a")]))
    with pytest.raises(HarnessError, match="no pictures are kept; put keep = true"):
        originals(results, "faces")
    held = [{"dataset": name, "sample_id": "a", "original": name.encode()} for name in ("faces", "digits")]
    pq.write_table(pa.Table.from_pylist(held, schema=ORIGINAL_SCHEMA), tmp_path / "originals.parquet")
    assert originals(results, "digits") == {"a": b"digits"}


def test_adversarials_are_those_of_the_cases_that_are_asked_for(tmp_path: Path) -> None:
    one = [
        record("a", "Male", adversarial=picture(1)),
        record("a", "Young", adversarial=picture(2)),
        record("b", "Male"),
    ]
    other = [record("a", "Male", adversarial=picture(4)), record("c", "Male", adversarial=picture(5))]
    results = results_of(tmp_path, cell(one, cell="one"), cell(other, cell="other", attack="cw"))
    rows = [("one", "a", "Young"), ("one", "b", "Male"), ("other", "a", "Male"), ("one", "x", "Male")]
    cases = pd.DataFrame(rows, columns=["cell", "sample_id", "target"]).assign(l2=[1.0, 2.0, 3.0, 4.0])
    found = [(case, int(image[0, 0, 0])) for case, image in adversarials(results, cases)]
    told = [(*(case[name] for name in ("cell", "sample_id", "target", "l2")), value) for case, value in found]
    assert told == [("one", "a", "Young", 1.0, 2), ("other", "a", "Male", 3.0, 4)]


def test_goals_without_a_target_are_told_apart_by_their_image(tmp_path: Path) -> None:
    rows = [record(name, adversarial=picture(value)) for value, name in enumerate("abc")]
    results = results_of(tmp_path, cell(rows, cell="one"))
    cases = pd.DataFrame(
        {"cell": "one", "sample_id": ["c", "b"], "target": pd.Series([None, None], dtype="str")}
    )
    assert {case["sample_id"]: int(image[0, 0, 0]) for case, image in adversarials(results, cases)} == {
        "b": 1,
        "c": 2,
    }


def test_changes_are_magnified_around_grey_and_clipped() -> None:
    original = np.full((1, 1, 4), 100, np.uint8)
    made = np.array([[[99, 100, 101, 200]]], np.uint8)
    assert magnified(original, made, 10).ravel().tolist() == [118, 128, 138, 255]
    assert distance(original, made) == pytest.approx(np.sqrt(1 + 1 + 100**2) / 255)


def test_images_stand_side_by_side_at_their_inches() -> None:
    figure = drawing.figure(10, 5, layout="none")
    height = image_row(figure, [COLOURED, GREY], 1, 4, 2, ["first", "second"], gap=0.5)
    assert height == pytest.approx(1.6)  # 2 inches wide, 4 x 5 pixels
    boxes = [axes.get_position().bounds for axes in figure.axes]
    assert boxes == [pytest.approx((0.1, 0.48, 0.2, 0.32)), pytest.approx((0.35, 0.48, 0.2, 0.32))]
    shown = [axes.images[0].get_array() for axes in figure.axes]
    assert np.array_equal(shown[0], COLOURED.transpose(1, 2, 0))
    assert np.array_equal(shown[1], np.repeat(GREY, 3, axis=0).transpose(1, 2, 0))
    assert [text.get_text() for text in figure.texts] == ["first", "second"]
    assert figure.texts[1].get_position()[0] == pytest.approx(0.45)
