"""Reading results back: what is read, what is not opened, and what is told where something is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness.store.parquet
from harness.errors import ResultsError
from harness.results import read_results
from harness.store.parquet import IDENTITY
from tests.leaderboard.board_fixture import broken, cell, record, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(
        tmp_path / "tiny",
        [
            cell([record("a", "Young", success=True, **{"pass": 0.5}), record("b", "Smiling")], attack="pgd"),
            cell([record("a", "Young"), broken("b", "Smiling"), record("c", None)], attack="ffa"),
            cell([record("a", "Young")], attack="ffa", model="paw"),
            # A pair that was skipped has no records; should some lie there, they are of another plan.
            cell([record("a", "Old")], attack="fgs", status="skipped", error="FGS increases one loss"),
        ],
    )


def test_cells_hold_every_row(folder: Path) -> None:
    cells = read_results(folder).cells()
    assert list(cells["attack"]) == ["pgd", "ffa", "ffa", "fgs"]
    assert cells["error"].notna().tolist() == [False, False, False, True]


def test_samples_carry_their_cell(folder: Path) -> None:
    samples = read_results(folder).samples()
    assert list(samples.columns[:7]) == list(IDENTITY)
    assert len(samples) == 6
    assert not samples.columns.duplicated().any()
    assert samples.groupby("attack").size().to_dict() == {"ffa": 4, "pgd": 2}
    assert set(samples["cell"]) == {"faces-moon-pgd-0", "faces-moon-ffa-0", "faces-paw-ffa-0"}


def test_a_measure_that_some_cells_lack_is_null_there(folder: Path) -> None:
    samples = read_results(folder).samples(["sample_id", "pass"])
    assert list(samples.columns) == [*IDENTITY, "sample_id", "pass"]
    assert samples["pass"].notna().sum() == 1
    assert samples["pass"].dtype == np.float32


@pytest.mark.parametrize(
    ("where", "n"),
    [
        ({"attack": "pgd"}, 2),
        ({"attack": ["pgd", "ffa"], "model": "moon"}, 5),
        ({"success": True}, 1),
        ({"target": ["Young", None]}, 4),
        ({"error": None}, 5),
        ({"sample_id": ("a", "c"), "attack": "ffa"}, 3),
        ({"pass": 0.5}, 1),
        ({"seed": 0, "status": "done"}, 6),
        ({"attack": "nobody"}, 0),
        ({"goal": "flip"}, 6),
    ],
)
def test_where(folder: Path, where: dict[str, Any], n: int) -> None:
    samples = read_results(folder).samples(["target"], where)
    assert len(samples) == n
    assert list(samples.columns) == [*IDENTITY, "target"]


def test_columns_of_the_cell_alone_still_count_rows(folder: Path) -> None:
    assert len(read_results(folder).samples(columns=["model"])) == 6
    assert len(read_results(folder).samples(columns=[])) == 6


def test_cells_that_do_not_match_are_not_opened(folder: Path) -> None:
    for file in (folder / "samples" / "faces-moon-ffa-0").iterdir():
        file.write_bytes(b"not Parquet")
    assert len(read_results(folder).samples(where={"attack": "pgd"})) == 2
    with pytest.raises(ResultsError, match=r"part-00000\.parquet cannot be read"):
        read_results(folder).samples()


def test_only_the_columns_asked_for_are_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[set[str]] = []
    reading = harness.store.parquet.read_parquet

    def read(file: Path, columns: set[str] | None = None) -> Any:
        table = reading(file, columns)
        if "samples" in file.parts:
            asked.append(set(table.column_names))
        return table

    monkeypatch.setattr(harness.store.parquet, "read_parquet", read)
    read_results(folder).samples(["l2"], {"success": True, "model": "paw"})
    assert asked == [{"sample_id", "l2", "success"}]


def test_unfinished_and_foreign_files_are_ignored(folder: Path) -> None:
    place = folder / "samples" / "faces-moon-pgd-0"
    for name in (".part-00000.parquet", "part-00002.parquet.tmp", "notes.txt"):
        (place / name).write_bytes(b"half a file")
    (folder / "samples" / "of-another-plan").mkdir()
    (folder / "samples" / "of-another-plan" / "part-00000.parquet").write_bytes(b"old")
    assert len(read_results(folder).samples()) == 6


def test_a_folder_without_records_has_empty_samples(tmp_path: Path) -> None:
    results = read_results(write(tmp_path / "empty", []))
    assert len(results.samples()) == 0
    assert list(results.samples(["l2"]).columns) == [*IDENTITY, "l2"]
    assert len(results.cells()) == 0


@pytest.mark.parametrize(
    ("columns", "where", "said"),
    [
        (["linff"], None, 'column "linff" is unknown; did you mean "linf"?'),
        (None, {"atack": "pgd"}, 'column "atack" is unknown; did you mean "attack"?'),
        (["pas"], None, 'did you mean "pass"?'),
        (None, {"success": "yes, please"}, 'column "success" cannot be compared with'),
    ],
)
def test_wrong_questions_are_told(folder: Path, columns: Any, where: Any, said: str) -> None:
    with pytest.raises(ResultsError) as caught:
        read_results(folder).samples(columns, where)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_folder_is_told(folder: Path) -> None:
    with pytest.raises(ResultsError, match=r'does not exist; did you mean "tiny"\?'):
        read_results(folder.parent / "tinny")


@pytest.mark.parametrize("name", ["suite.json", "cells.parquet"])
def test_a_folder_of_something_else_is_told(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ResultsError, match=f"holds no {name}"):
        read_results(folder)


def test_broken_files_are_told(folder: Path) -> None:
    (folder / "cells.parquet").write_bytes(b"no")
    with pytest.raises(ResultsError, match=r"cells\.parquet cannot be read"):
        read_results(folder).cells()
    (folder / "suite.json").write_text("{")
    with pytest.raises(ResultsError, match=r"suite\.json cannot be read"):
        read_results(folder)


def test_a_cell_id_does_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    folder = write(tmp_path / "tiny", [cell(cell="../../elsewhere")])
    with pytest.raises(ResultsError, match="is no cell id"):
        read_results(folder).samples()


def test_leaderboard_is_made_where_it_is_not_written(folder: Path) -> None:
    board = read_results(folder).leaderboard()
    assert set(board["attack"]) == {"clean", "pgd", "ffa", "worst-case"}
