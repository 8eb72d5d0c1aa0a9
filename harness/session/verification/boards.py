"""What a run makes of the records is made again, and compared with the files that are there."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness import analysis, leaderboard
from harness.errors import HarnessError
from harness.plan.cells import Plan
from harness.session.verification.cells import RecordedCells, same, title
from harness.session.verification.report import Report, shown
from harness.shards.records import failure
from harness.store.parquet import read_parquet, to_frame

BOARD = "leaderboard.parquet"
_KEY = ("dataset", "model", "attack", "threat", "goal")
_TOLERANCE = 1e-6
"""Of numbers, as a share of them: sums in another order."""
_AGAIN = "`harness run` makes it again"


def compare_board(folder: Path, recorded: RecordedCells, finished: bool, report: Report) -> None:
    """Build the leaderboard from the records, and report each row in which the file says something else."""
    file = folder / BOARD
    if not recorded.exists:
        if file.is_file():
            report.differ(BOARD, "it is there, but cells.parquet, from which it is made, is not")
        return
    if not file.is_file():
        if finished:
            report.differ(BOARD, f"it is missing; {_AGAIN}")
        else:
            report.missing.append(BOARD)
        return
    built, there = leaderboard.build(folder), to_frame(read_parquet(file))
    lacking = [name for name in built.columns if name not in there.columns]
    if lacking:
        # Boards of earlier versions have fewer columns; metrics of plugins may have been installed since.
        due = recorded.is_recent and any(name in leaderboard.columns() for name in lacking)
        told = f"it has no column {', '.join(lacking)}"
        (report.differ(BOARD, told) if due else report.notes.append(f"{BOARD}: {told}"))
    foreign = [name for name in there.columns if name not in built.columns]
    if foreign:
        report.notes.append(
            f"{BOARD}: no metric that is installed here writes its column {', '.join(foreign)}"
        )
    if not set(_KEY) <= set(there.columns):
        return
    ours, theirs = _by_key(built), _by_key(there)
    for key in ours.keys() - theirs.keys():
        report.differ(BOARD, f"{_named(key)} is missing")
    for key, rows in theirs.items():
        if key not in ours or len(rows) > len(ours[key]):
            report.differ(BOARD, f"{_named(key)}: the records give no such row, or it stands there twice")
            continue
        for fault in _unlike(ours[key], rows, [name for name in built.columns if name in there.columns]):
            hint = "" if finished else f" (of a run that is not finished: {_AGAIN})"
            report.differ(BOARD, f"{_named(key)}: {fault}{hint}")
    if ours.keys() == theirs.keys() and list(ours) != list(theirs):
        report.differ(BOARD, "its rows are in another order")
    report.agree(BOARD)


def _by_key(board: pd.DataFrame) -> dict[tuple[str, ...], list[dict[str, Any]]]:
    """Return the rows of a board by what they are of."""
    rows: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in board.to_dict("records"):
        rows.setdefault(tuple(str(row[name]) for name in _KEY), []).append(
            {str(k): v for k, v in row.items()}
        )
    return rows


def _named(key: tuple[str, ...]) -> str:
    return title(dict(zip(_KEY, key, strict=True)))


def _unlike(ours: list[dict[Any, Any]], theirs: list[dict[Any, Any]], columns: Sequence[str]) -> list[str]:
    """Return a line for each row that differs: its columns, as they are built and as they are recorded."""
    lines = []
    for own, other in zip(ours, theirs, strict=False):
        wrong = [name for name in columns if not _same(own[name], other[name])]
        if wrong:
            first = f"{wrong[0]} is {shown(_plain(own[wrong[0]]))}, recorded {shown(_plain(other[wrong[0]]))}"
            lines.append(first + (f", and so on for {', '.join(wrong[1:])}" if len(wrong) > 1 else ""))
    return lines


def _same(ours: Any, theirs: Any) -> bool:
    return same(_plain(ours), _plain(theirs), _TOLERANCE)


def _plain(value: Any) -> Any:
    """Return a value of a frame as JSON would have it: None where there is none."""
    if isinstance(value, np.ndarray):
        return [_plain(item) for item in value.tolist()]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return None if value is None or value is pd.NA or value is pd.NaT or value != value else value


def compare_analyses(folder: Path, planned: Plan, finished: bool, report: Report) -> None:
    """Run the suite's analyses again, and report tables that say something else, or are missing."""
    there = folder / analysis.FOLDER
    asked = {choice.label for choice in planned.analyses}
    others = sorted({file.stem for file in _tables(there)} - asked)
    if others:
        report.notes.append(
            f"{analysis.FOLDER}: the suite does not ask for {', '.join(others)}: not compared"
        )
    if not planned.analyses or not (folder / "cells.parquet").is_file():
        return
    with tempfile.TemporaryDirectory(prefix="harness-verify-") as aside:
        for written in analysis.write(folder, planned.analyses, Path(aside)):
            name = f"{analysis.FOLDER}/{written.label}.parquet"
            file = there / f"{written.label}.parquet"
            if not file.is_file():
                if written.error:
                    report.notes.append(f"{name}: it fails here as in the run: {written.error}")
                elif finished:
                    report.differ(name, "it is missing; `harness analyze` makes it again")
                else:
                    report.missing.append(name)
            elif written.error:
                report.notes.append(f"{name}: it could not be made again: {written.error}")
            else:
                _compare_analysis(name, file, written, report)


def _tables(place: Path) -> Iterable[Path]:
    return place.glob("*.parquet") if place.is_dir() else ()


def _compare_analysis(name: str, file: Path, written: analysis.Written, report: Report) -> None:
    """Report where the table of an analysis differs from that of the records; note a figure that does."""
    ours, theirs = to_frame(read_parquet(written.files[0])), to_frame(read_parquet(file))
    columns, recorded = ([str(column) for column in table.columns] for table in (ours, theirs))
    if columns != recorded:
        report.differ(name, f"its columns are {', '.join(columns)}, recorded {', '.join(recorded)}")
    elif len(ours) != len(theirs):
        report.differ(name, f"it has {len(ours)} rows, recorded {len(theirs)}")
    else:
        sides = zip(ours.to_dict("records"), theirs.to_dict("records"), strict=True)
        for number, (own, other) in enumerate(sides):
            for fault in _unlike([own], [other], columns):
                report.differ(name, f"row {number}: {fault}")
    report.agree(name)
    for figure in written.files[1:]:
        drawn = file.with_suffix(figure.suffix)
        if not drawn.is_file() or drawn.read_bytes() != figure.read_bytes():
            report.notes.append(
                f"{analysis.FOLDER}/{drawn.name}: drawn here it is another figure; so it is by another "
                "version of matplotlib"
            )


def compare_head(described: Any, planned: Plan, expected: Any, report: Report) -> None:
    """Report what suite.json says of the suite beside the suite itself."""
    for name in ("schema", "name", "seed", "plugins"):
        if described.get(name) != expected[name]:
            report.differ(
                "suite.json", f"{name} is {shown(expected[name])}, recorded {shown(described.get(name))}"
            )
    report.agree("suite.json")


def guarded(place: str, report: Report, compare: Any, *arguments: Any) -> None:
    """Compare a file; one that cannot be compared is a difference, and keeps no other from being seen."""
    try:
        compare(*arguments)
    except HarnessError as error:
        report.differ(place, str(error))
    except Exception as error:  # whatever edited files lead to
        report.differ(place, f"it cannot be compared: {failure(error)}")
