"""Thresholds at stated false match rates: the largest at which no more impostors are accepted than stated."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

FEWEST = 30
"""A rate that rests on fewer errors than this is not known to a third of it (the rule of 30)."""
FEW_FALSE_MATCHES = "few-false-matches"

Distances = npt.NDArray[np.float32]


@dataclass(frozen=True)
class OperatingPoint:
    """An operating point is a threshold of a model, what it rests on and its rates: one row of the file."""

    fmr: float | None
    """The false match rate that was asked for; None: the threshold was given."""
    threshold: float
    """In the model's own distance: accepted is what lies below."""
    squared_euclidean: float
    """The threshold in the squared Euclidean distance that accepts as many of the same impostors."""
    cosine: float
    """Likewise the cosine of the angle between embeddings: accepted is what lies above."""
    false_matches: int
    """Impostor comparisons of the calibration that are accepted."""
    impostors: int
    genuine: int
    identities: int
    """Persons of the calibration."""
    empirical_fmr: float
    empirical_fnmr: float | None
    fmr_here: float | None
    """The share of the impostor comparisons of the attacked persons that are accepted; None without any."""
    fnmr_here: float | None
    flag: str
    """``few-false-matches``, or empty."""


def allowed(fmr: float, impostors: int) -> int:
    """Return how many of so many impostors may be accepted at a false match rate, exactly."""
    return int(Fraction(repr(fmr)) * impostors)


def threshold_at(impostors: Distances, accepted: int) -> float:
    """Return the largest threshold below which at most so many distances lie.

    Args:
        impostors: (N,) sorted; equal distances are all accepted, or none of them.
    """
    if accepted >= len(impostors):
        return float(np.nextafter(impostors[-1], np.float32(np.inf))) if len(impostors) else 0.0
    return float(impostors[accepted])


def share_below(distances: Distances, threshold: float) -> float | None:
    """Return the share of distances that are accepted; None without any."""
    return float(np.count_nonzero(distances < threshold)) / len(distances) if len(distances) else None


def share_not_below(distances: Distances, threshold: float) -> float | None:
    """Return the share of distances that are not accepted; None without any."""
    below = share_below(distances, threshold)
    return None if below is None else 1 - below
