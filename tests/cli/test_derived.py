"""Data sets that are made from others: fitted once, shared, kept; and models whose shapes training knows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness.catalog import catalog
from harness.results import read_results
from tests.cli.conftest import Command
from tests.installing import install

SUITE = """\
schema = 1
name = "made"
keep = true

[[source]]
id = "faces"
use = "tiny"

[[dataset]]
id = "one"
use = "derived"
source = "faces"
count = 12
partition = "test"

[[dataset]]
id = "other"
use = "derived"
source = "faces"
count = 16
noise = 1
partition = "test"

[[model]]
use = "prototypes"

[[attack]]
use = "towards"
"""


@pytest.fixture(autouse=True)
def _derived(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path_factory.mktemp("derived")
    install(place, "derived-faces", "1.0", {"made": "derived_faces"})
    monkeypatch.syspath_prepend(place)
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path_factory.mktemp("cache")))
    catalog.cache_clear()


@pytest.fixture
def made(tmp_path: Path) -> Path:
    path = tmp_path / "made.toml"
    path.write_text(SUITE)
    return path


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """What was fitted, in order."""
    path = tmp_path / "log.txt"
    path.touch()
    monkeypatch.setenv("DERIVED_LOG", str(path))
    return lambda: path.read_text().split()


def test_two_data_sets_share_one_fit_and_a_model_grows(
    harness: Command, made: Path, log: Callable[[], list[str]]
) -> None:
    ran = harness("run", made)
    assert ran.status == 0, ran.err
    assert log() == ["Bright"]
    board = read_results(Path("results/made")).leaderboard()
    attacked = board[board["attack"] == "towards"]
    assert sorted(attacked["dataset"]) == ["one", "other"]
    assert (attacked["success_rate"] == 1).all()
    assert (attacked["clean_accuracy"] == 1).all()
    assert harness("verify", "results/made").status == 0
    assert harness("run", made).status == 0
    assert log() == ["Bright"]


def test_another_parameter_of_the_fit_is_another_fit(
    harness: Command, made: Path, log: Callable[[], list[str]]
) -> None:
    assert harness("train", made).status == 0
    assert harness("train", made, "--set", "dataset.other.attribute=Red").status == 0
    assert log() == ["Bright", "Red"]


def test_another_source_is_another_fit(harness: Command, made: Path, log: Callable[[], list[str]]) -> None:
    assert harness("train", made).status == 0
    assert harness("train", made, "--set", "source.faces.seed=1").status == 0
    assert log() == ["Bright", "Bright"]


def test_what_no_data_set_knows_any_more_is_gone(harness: Command, made: Path, suite: Path) -> None:
    assert harness("run", made, "--limit", "1", "--out", "here").status == 0
    assert len(read_results("here").annotations())
    assert harness("run", suite, "--limit", "1", "--out", "here").status == 0
    assert not len(read_results("here").annotations())


def test_a_plan_fits_nothing_and_says_what_is_to_be_fitted(
    harness: Command, made: Path, log: Callable[[], list[str]]
) -> None:
    planned = harness("plan", made, "--json").json
    assert planned["unfitted"] == ["one", "other"]
    assert [cell["cases"] for cell in planned["cells"]] == [6, 8]
    assert "to be fitted first: one, other" in harness("plan", made).out
    assert log() == []
    assert harness("run", made).status == 0
    assert harness("plan", made, "--json").json["unfitted"] == []


def test_what_a_data_set_knows_of_its_images_is_kept(harness: Command, made: Path) -> None:
    assert harness("run", made, "--limit", "3").status == 0
    known = read_results(Path("results/made")).annotations()
    assert list(known.columns) == ["dataset", "sample_id", "name", "value"]
    assert len(known) == 2 * 3 * 2
    wide = known.pivot(index=["dataset", "sample_id"], columns="name", values="value")
    numbers = [int(sample.rpartition("-")[2]) for _, sample in wide.index]
    np.testing.assert_array_equal(wide["number"], numbers)
    np.testing.assert_array_equal(wide["twice"], 2 * wide["number"])


def test_a_folder_without_annotations_has_an_empty_table(harness: Command, suite: Path) -> None:
    assert harness("run", suite, "--limit", "1").status == 0
    empty = read_results(Path("results/small")).annotations()
    assert isinstance(empty, pd.DataFrame)
    assert len(empty) == 0
    assert "value" in empty


def test_cells_tell_what_their_data_are_made_from(harness: Command, made: Path) -> None:
    assert harness("run", made).status == 0
    cells = read_results(Path("results/made")).cells()
    assert cells["dataset_source"].str.contains("tiny/tiny").all()


def test_a_lost_fit_cannot_be_judged(
    harness: Command, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert harness("run", made).status == 0
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "elsewhere"))
    ran = harness("verify", "results/made")
    assert ran.status == 2
    assert "the fit of one is not in the cache" in ran.err


def test_a_stand_in_of_the_source_is_named(harness: Command, made: Path) -> None:
    assert "stand-in" not in harness("plan", made).out
    made.write_text(
        SUITE.replace('use = "tiny"', 'use = "tiny-files"\nroot = "$TINY_FACES"\nstand_in = "tiny"')
    )
    shown = " ".join(harness("plan", made).out.split())
    assert "one (stand-in for tiny-files) prototypes towards" in shown
    assert "other (stand-in for tiny-files) prototypes towards" in shown
    assert harness("run", made).status == 0
    board = read_results(Path("results/made")).leaderboard()
    assert set(board["stand_in_for"]) == {"tiny-files"}


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ('source = "faces"\ncount = 12', "count = 12", '"source" is missing; it is one of faces'),
        (
            'source = "faces"\ncount = 12',
            'source = "face"\ncount = 12',
            'source "face" is unknown; did you mean',
        ),
        ('[[source]]\nid = "faces"\nuse = "tiny"\n', "", "write that as a [[source]] table"),
        ('id = "faces"\nuse = "tiny"', 'id = "faces"\nuse = "tiny"\nseed = [1, 2]', "lists make 2 data sets"),
        ('id = "faces"\nuse = "tiny"', 'id = "faces"\nuse = "tiny"\nsample = 3', '"sample" is unknown'),
        (
            'id = "faces"\nuse = "tiny"',
            'id = "faces"\nuse = "tiny"\nsource = "faces"',
            "is made from no other",
        ),
        ("count = 12", "count = 12\nfail = true", "nothing can be learned"),
        ("count = 12", 'count = 12\nattribute = "Nose"', "fitting failed: ValueError"),
        ("noise = 1", "noise = 1\nsize = 3", '"size" is unknown'),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    refused: Callable[..., str], made: Path, old: str, new: str, line: str
) -> None:
    assert old in SUITE
    made.write_text(SUITE.replace(old, new))
    assert line in refused("run", made)


def test_the_same_source_twice_is_refused(refused: Callable[..., str], made: Path) -> None:
    made.write_text(SUITE + '[[source]]\nid = "faces"\nuse = "tiny"\n')
    assert "stands there twice" in refused("run", made)


def test_lists_of_names_are_excluded(harness: Command, made: Path) -> None:
    made.write_text(SUITE + '[[exclude]]\ndataset = ["one", "other"]\nmodel = "prototypes"\n')
    planned = harness("plan", made, "--json").json
    assert planned["cells"] == []
    assert {skipped["dataset"] for skipped in planned["skipped"]} == {"one", "other"}


def test_what_the_suite_excludes_is_not_trained(harness: Command, made: Path) -> None:
    made.write_text(SUITE + '[[exclude]]\ndataset = "other"\n')
    ran = harness("train", made)
    assert [line.partition(":")[0] for line in ran.out.splitlines()] == ["prototypes on one"]
    planned = harness("plan", made, "--json").json
    assert [(row["dataset"], row["trained"]) for row in planned["models"]] == [("one", True)]


def test_what_the_suite_excludes_is_one_line_of_the_plan(harness: Command, made: Path) -> None:
    made.write_text(SUITE + '[[exclude]]\ndataset = "other"\n')
    lines = harness("plan", made).out.splitlines()
    assert [line for line in lines if "excluded" in line] == [f"1 pair excluded by {made}; --json names them"]
    assert not any(line.startswith("skipped: ") for line in lines)


def test_verify_knows_stand_ins_and_finds_edited_annotations(harness: Command, made: Path) -> None:
    made.write_text(
        SUITE.replace('use = "tiny"', 'use = "tiny-files"\nroot = "$TINY_FACES"\nstand_in = "tiny"')
    )
    assert harness("run", made).status == 0
    ran = harness("verify", "results/made")
    assert ran.status == 0, ran.out
    assert "cells.parquet, models.json, annotations.parquet, originals.parquet" in ran.out
    file = Path("results/made/annotations.parquet")
    table = pd.read_parquet(file)
    table.loc[0, "value"] += 1
    table.iloc[:-1].to_parquet(file, index=False)
    lines = harness("verify", "results/made").out.splitlines()
    assert lines[0].startswith("annotations.parquet: one number made-")
    assert lines[1].startswith("annotations.parquet: other twice made-")
    assert lines[1].endswith("recorded None")
