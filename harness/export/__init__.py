"""Exports write a leaderboard, or raw scores, for others; each format of a board has a file of its own."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from harness.errors import ResultsError, nearest

if TYPE_CHECKING:
    import pandas as pd

FORMATS: Mapping[str, str] = {
    "csv": "harness.export.csv",
    "md": "harness.export.markdown",
    "latex": "harness.export.latex",
    "html": "harness.export.html",
    "json": "harness.export.json",
}
"""The module of each format; its ``render(board, suite)`` returns the text."""
SCORE_FORMATS = ("scores-bob", "scores-pyeer")
"""The formats of ``harness.export.scores``, which are several files."""


def export(folder: str | os.PathLike[str], format: str) -> str:
    """Return the leaderboard of a folder of results, as text in one of FORMATS.

    Raises:
        ResultsError: the format is unknown, or the folder cannot be read.
    """
    if format not in FORMATS:
        raise ResultsError(f'format "{format}" is unknown; {nearest(format, [*FORMATS, *SCORE_FORMATS])}')
    from harness.results import read_results  # here: naming the formats reads no Parquet

    results = read_results(folder)
    render: Callable[[pd.DataFrame, Mapping[str, Any]], str] = importlib.import_module(FORMATS[format]).render
    return render(results.leaderboard(), results.suite)
