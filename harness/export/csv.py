"""The CSV export has every column at full precision; null is an empty field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def render(board: pd.DataFrame, suite: Mapping[str, Any]) -> str:
    """Return the board as comma-separated values, with a line of column names first."""
    return board.to_csv(index=False, lineterminator="\n")
