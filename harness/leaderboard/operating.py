"""The operating points at which verifiers were attacked, as thresholds.parquet has them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.store.parquet import read_parquet

FILE = "thresholds.parquet"
COLUMNS = ("threshold", "threshold_fmr", "threshold_fnmr")
"""The columns of boards with verifiers: the threshold, and its rates among the attacked persons' images."""

Points = Mapping[tuple[str, str], Mapping[str, Any]]
"""The first operating point by data set and model."""


def read_points(folder: Path) -> Points:
    """Return the operating point at which each verifier was attacked; none where there is no verifier."""
    file = folder / FILE
    if not file.is_file():
        return {}
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for row in read_parquet(file).to_pylist():
        found.setdefault((row["dataset"], row["model"]), row)
    return found


def columns_of_point(point: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what the rows of a verifier have in the columns of operating points."""
    if point is None:
        return {}
    values = (point["threshold"], point["fmr_here"], point["fnmr_here"])
    return dict(zip(COLUMNS, values, strict=True))


def flags_of_point(point: Mapping[str, Any] | None) -> set[str]:
    """Return the flag of an operating point, which all rows of its verifier have."""
    return set() if point is None else {point["flag"]} - {""}
