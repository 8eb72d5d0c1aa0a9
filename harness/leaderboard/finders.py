"""An attack that consists of several tells which of them found each image; the board has their shares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from harness.metrics.outcomes import Outcomes

if TYPE_CHECKING:
    import pyarrow as pa

COLUMN = "found_by"
"""The record column, and the board's."""


def finders_of(table: pa.Table, cases: Outcomes) -> Mapping[str, int]:
    """Count by name what found the successes among the cases that were classified correctly before.

    Args:
        table: the records of a cell; ``cases`` are made of it.
    """
    if COLUMN not in table.column_names or table.column(COLUMN).null_count == table.num_rows:
        return {}
    hits = cases.covered & cases.correct & cases.success
    names = np.array(table.column(COLUMN).to_pylist(), dtype=object)[hits]
    return Counter(name for name in names if name is not None)


def shares(finders: Mapping[str, int], cases: Outcomes) -> str | None:
    """Write the share of the cases that each finder broke: "apgd-ce 61.2 %, fab 1.0 %"; None if none is told.

    The cases are those that the success rate is over: classified correctly before, with an outcome.
    """
    among = int((cases.covered & cases.correct).sum())
    told = sorted(finders.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{name} {100 * count / among:.1f} %" for name, count in told) or None
