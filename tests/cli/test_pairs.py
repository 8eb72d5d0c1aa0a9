"""`harness pairs` writes comparisons that read back, and the same ones for the same seed."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from harness.cases.pair_files import draw_pairs, read_pairs
from harness_faces import synthetic

from .conftest import Command

ASKED = (
    "pairs",
    "synthetic-faces",
    "--genuine",
    "12",
    "--impostor",
    "20",
    "--folds",
    "4",
    "--set",
    "count=600",
)


def test_pairs_read_back(harness: Command, tmp_path: Path) -> None:
    found = harness(*ASKED, "--seed", "3", "-o", str(tmp_path / "new" / "pairs.csv"))
    assert (found.status, found.out) == (0, "")
    faces = synthetic.load(count=600)
    pairs = read_pairs(tmp_path / "new" / "pairs.csv", faces)
    drawn = draw_pairs(faces, faces.rows(), genuine=12, impostor=20, folds=4, seed=3)
    assert (pairs.a, pairs.b) == (drawn.a, drawn.b)
    assert (pairs.same == drawn.same).all()
    assert (pairs.fold == drawn.fold).all()
    assert harness(*ASKED, "--seed", "3").out == (tmp_path / "new" / "pairs.csv").read_text()
    assert harness(*ASKED, "--seed", "4").out != (tmp_path / "new" / "pairs.csv").read_text()


def test_only_a_partition_is_drawn_from(harness: Command) -> None:
    shown = harness(
        *ASKED, "--partition", "test", "--folds", "1", "--set", "dataset.synthetic-faces.count=1200"
    ).out
    faces = synthetic.load(count=1200)
    test = {faces.ids[row] for row in faces.rows("test")}
    rows = list(csv.DictReader(shown.splitlines()))
    assert list(rows[0]) == ["image_a", "image_b", "same"]
    assert {row[side] for row in rows for side in ("image_a", "image_b")} <= test


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--genuine", "-3"), "--genuine -3: write a whole number"),
        (("--genuine", "x"), "--genuine x: write a whole number"),
        (("--genuine", "99999"), "genuine pairs, not 24999; ask for fewer genuine pairs or folds"),
        (("--set", "cuont=3"), '"cuont" is unknown; did you mean "count"?'),
        (("--set", "size=[[20,20],[24,20]]"), "synthetic-faces: lists make 2 data sets of it"),
        (("--partition", "tset"), "partition"),
    ],
)  # fmt: skip
def test_wrong_requests_are_one_line(harness: Command, more: tuple[str, ...], message: str) -> None:
    found = harness(*ASKED, *more)
    assert (found.status, found.out) == (2, "")
    assert message in found.err
    assert found.err.count("\n") == 1


def test_an_unknown_data_set(harness: Command) -> None:
    found = harness("pairs", "celebb")
    assert found.status == 2
    assert 'did you mean "celeba"?' in found.err
