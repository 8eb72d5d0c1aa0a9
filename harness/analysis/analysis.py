"""An analysis turns all records of a suite into a named table, and a figure where people would rather look.

It reads a results folder only. An analysis function takes ``harness.Results`` and returns a
``harness.Analysis``; that is written to ``analyses/<name>.parquet`` and ``.svg`` of the folder.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from harness.catalog import Choice
from harness.errors import HarnessError, ResultsError
from harness.files import write_whole
from harness.results import Results, read_results
from harness.specs import AnalysisSpec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = "analyses"


@dataclass(frozen=True, eq=False)
class Analysis:
    """An analysis found a table, and where people would rather look a figure."""

    table: pd.DataFrame
    """One row per thing compared; plain columns, no index of meaning."""
    figure: Figure | None = None
    """A matplotlib figure; None where there is nothing to draw."""


@dataclass(frozen=True)
class Written:
    """A written analysis has files, or the error that it failed with."""

    label: str
    files: tuple[Path, ...] = ()
    error: str | None = None


def write(folder: Path, choices: Iterable[Choice[AnalysisSpec]], into: Path | None = None) -> list[Written]:
    """Run analyses on a results folder and write their tables and figures, each file whole or not at all.

    One that fails leaves the others alone: its error is told, and its files of an earlier run are removed,
    since they speak of other records.

    Args:
        into: where the files go; by default the results folder's own place for them.

    Raises:
        ResultsError: the folder holds no results, or cannot be written.
    """
    choices = tuple(choices)
    if not choices:
        return []
    results = read_results(folder)
    place = into or folder / FOLDER
    try:
        place.mkdir(exist_ok=True)
    except OSError as error:
        raise ResultsError(f"{place} cannot be written: {error.strerror}") from None
    return [_written(results, place, choice) for choice in choices]


def _written(results: Results, place: Path, choice: Choice[AnalysisSpec]) -> Written:
    table, picture = place / f"{choice.label}.parquet", place / f"{choice.label}.svg"
    try:
        found = choice.entry.call(choice.entry.spec.run, results, values=choice.parameters)
        if not isinstance(found, Analysis):
            raise TypeError(f"it gave {type(found).__name__} instead of a harness.Analysis")
        write_whole(table, lambda aside: found.table.to_parquet(aside, index=False))
        if found.figure is None:
            picture.unlink(missing_ok=True)
            return Written(choice.label, (table,))
        _draw(found.figure, picture)
    except Exception as error:  # whatever a plugin raises
        for file in (table, picture):
            with suppress(OSError):
                file.unlink(missing_ok=True)
        told = str(error) if isinstance(error, HarnessError) else f"{type(error).__name__}: {error}"
        return Written(choice.label, error=f"{choice.place}: {' '.join(told.split())}")
    return Written(choice.label, (table, picture))


def _draw(figure: Figure, picture: Path) -> None:
    """Write a figure as SVG; the same figure gives the same bytes."""
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "harness"}):
        write_whole(
            picture,
            lambda aside: figure.savefig(
                aside, format="svg", metadata={"Date": None}, bbox_inches="tight", pad_inches=0.15
            ),
        )
