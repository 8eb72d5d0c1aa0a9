"""Records of attacked comparisons are read here, with the distance of what can then be presented."""

from __future__ import annotations

import pandas as pd

from harness.analysis.reading import Cell, recorded
from harness.results import Results

CASE = ("target", "identity", "reference", "distance_clean", "distance_adv", "threshold")
"""What records of comparisons have beside those of every case."""
READ = ("sample_id", *CASE, "valid", "success", "error")


def attacked_cases(results: Results, cell: Cell) -> pd.DataFrame:
    """Return the cases of a cell that have an outcome."""
    held = recorded(results, cell)
    if not held.issuperset(CASE):
        return no_cases()
    frame = results.samples(columns=list(READ), where={"cell": cell.id})
    known = frame["error"].isna() & frame["distance_adv"].notna() & frame["success"].notna()
    frame = frame[known & frame["identity"].notna() & frame["target"].notna()].reset_index(drop=True)
    valid = frame["valid"].fillna(False).astype(bool)
    after = frame["distance_adv"].where(valid, frame["distance_clean"]).astype(float)
    frame = frame.assign(after=after, success=frame["success"].astype(bool))
    return frame[list(no_cases())]


def no_cases() -> pd.DataFrame:
    """Return a frame of such cases without a row."""
    texts = {
        name: pd.Series(dtype=object) for name in ("cell", "sample_id", "target", "identity", "reference")
    }
    numbers = ("distance_clean", "distance_adv", "threshold", "after")
    floats = {name: pd.Series(dtype=float) for name in numbers}
    return pd.DataFrame(texts | floats | {"success": pd.Series(dtype=bool)})
