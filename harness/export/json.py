"""The JSON export has every column at full precision, and where it comes from; null is no number."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness.export.columns import is_null

if TYPE_CHECKING:
    import pandas as pd


def render(board: pd.DataFrame, suite: Mapping[str, Any]) -> str:
    """Return the board as a list of records, "leaderboard", beside the suite's name, date and versions."""
    document = {
        "schema": 1,
        "suite": suite.get("name"),
        "created": suite.get("created"),
        "revision": suite.get("revision"),
        "versions": suite.get("versions"),
        "leaderboard": [
            {name: _plain(value) for name, value in row.items()} for row in board.to_dict("records")
        ],
    }
    # allow_nan: NaN is no JSON, and other readers refuse it
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    """Return a value of a frame as JSON knows it."""
    if is_null(value):
        return None
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value
