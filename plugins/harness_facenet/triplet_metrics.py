"""SA, RA and S&R are the shares of triplets that are right: clean, attacked, and both together (section 5).

A triplet is right where d(a, p) + m < d(a, n). The paper does not say what its accuracies are; here m is the
suite's margin, or 0. Of an adversarial that breaks a bound of the threat, the clean image counts, which can
always be presented. Triplets of one person are no independent evidence: intervals are over persons.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from harness.metrics import NOTHING, Estimate, rate

Which = Literal["standard", "robust", "both"]
COLUMNS = ("goal", "margin_clean", "margin_adv", "threshold", "valid", "error")
"""The record columns that are read: ``threshold`` is the margin of the triplets."""
Flags = npt.NDArray[np.bool_]


def right(records: pd.DataFrame, *, at_margin: bool) -> tuple[Flags, Flags, pd.DataFrame]:
    """Return which triplets are right, clean and attacked, and their records; those without outcome are left.

    Args:
        records: of any goals; those of triplets are taken.
        at_margin: whether the negative must be farther by the margin, or farther at all.
    """
    own = records[(records["goal"] == "triplet") & records["error"].isna() & records["margin_adv"].notna()]
    after = own["margin_adv"].where(own["valid"].fillna(False).astype(bool), own["margin_clean"])
    bound = 0.0 if at_margin else own["threshold"].to_numpy(float)
    clean: Flags = own["margin_clean"].to_numpy(float) < bound
    robust: Flags = after.to_numpy(float) < bound
    return clean, robust, own


def accuracy(records: pd.DataFrame, *, which: Which, at_margin: bool) -> Estimate:
    """Return the share of triplets that are right; NOTHING where there are none."""
    if not len(records) or "goal" not in records:
        return NOTHING
    clean, robust, own = right(records, at_margin=at_margin)
    if not len(own):
        return NOTHING
    clusters = own["cluster" if "cluster" in own else "sample_id"].to_numpy()
    if which == "both":
        return rate(np.concatenate([clean, robust]), np.concatenate([clusters, clusters]))
    return rate(clean if which == "standard" else robust, clusters)


def _metric(which: Which, at_margin: bool) -> Callable[[Any], Estimate]:
    return partial(accuracy, which=which, at_margin=at_margin)


standard_accuracy = _metric("standard", True)
robust_accuracy = _metric("robust", True)
both_accuracy = _metric("both", True)
standard_accuracy_at_zero = _metric("standard", False)
robust_accuracy_at_zero = _metric("robust", False)
both_accuracy_at_zero = _metric("both", False)
