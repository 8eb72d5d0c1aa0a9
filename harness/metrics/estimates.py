"""Estimates are numbers with 95 % intervals, which account for cases that share an image.

Rates follow Wilson (1927) on an effective sample size (Kish 1965; Korn and Graubard 1998), means the cluster
bootstrap.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

Z = 1.959963984540054  # the normal distribution's 97.5 % quantile
RESAMPLES = 1000
GROUPS = 2000  # the most that the bootstrap resamples: with more images, whole groups of images
BOOTSTRAP_SEED = 0

Flags = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.floating[Any]]
Labels: TypeAlias = "npt.NDArray[Any] | pd.Series[Any]"
"""Which image each case is of: codes from 0, or any labels that are not integers, such as sample ids."""


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval; None where there is nothing to estimate from."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    """The number of cases that it is computed from."""


NOTHING = Estimate(None, None, None, 0)


def wilson(successes: float, n: float) -> tuple[float, float]:
    """Return the 95 % Wilson interval of a proportion; ``n`` may be an effective, fractional sample size."""
    if n <= 0:
        raise ValueError(f"a proportion of {n} cases has no interval")
    p = successes / n
    centre = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
    # Exactly 0 and 1 at the ends, where rounding would leave 1e-17.
    return (0.0 if successes <= 0 else max(0.0, centre - half)), (
        1.0 if successes >= n else min(1.0, centre + half)
    )


def effective_size(hits: Flags, images: Codes) -> float:
    """Return how many independent cases say as much about a rate as these, of which some share an image.

    It is n / deff, where the design effect deff is the cluster-robust variance of the rate over that of
    independent cases, at least 1. One case per image gives exactly n. With few images the variance is itself
    uncertain: the squared ratio of Student's quantiles, at n - 1 and at images - 1 degrees of freedom,
    accounts for that (Korn and Graubard). At rates of 0 and 1 the variance between images is 0 and says
    nothing. Each image then counts as one case, as if its cases always agreed, which is conservative.
    """
    n = hits.size
    cases = np.bincount(images)
    held = cases > 0
    clusters = int(np.count_nonzero(held))
    if clusters == n:
        return float(n)
    p = np.count_nonzero(hits) / n
    if p in (0.0, 1.0) or clusters == 1:
        return float(clusters)
    from scipy.special import stdtrit  # here: the catalogue imports this module

    residuals = np.bincount(images, weights=hits)[held] - p * cases[held]
    variance = clusters / (clusters - 1) * float(residuals @ residuals) / n**2
    deff = max(1.0, variance * (n - 1) / (p * (1 - p)))
    shrink = (stdtrit(n - 1, 0.975) / stdtrit(clusters - 1, 0.975)) ** 2
    return n / deff * float(shrink)


def rate(hits: npt.ArrayLike, images: Labels | None = None) -> Estimate:
    """Return the share of cases that are hits; ``images`` say of which image each case is."""
    flags = np.asarray(hits, np.bool_)
    n = flags.size
    if n == 0:
        return NOTHING
    successes = int(np.count_nonzero(flags))
    size = float(n) if images is None else effective_size(flags, _codes(images))
    low, high = wilson(successes * (size / n), size)
    return Estimate(successes / n, low, high, n)


def mean(values: npt.ArrayLike, images: Labels | None = None) -> Estimate:
    """Return the mean of the values that are not NaN, with a percentile bootstrap over images.

    Images are resampled, not cases, since the cases of one image are alike. More than 2,000 images are dealt
    at random into 2,000 groups, and groups are resampled: groups are exchangeable too, and the cost is
    bounded. The result is deterministic. One image has no interval.
    """
    given = np.asarray(values)
    measured = ~np.isnan(given)
    numbers = given[measured].astype(np.float64)
    n = numbers.size
    if n == 0:
        return NOTHING
    value = float(numbers.mean())
    codes = np.arange(n) if images is None else np.unique(_codes(images)[measured], return_inverse=True)[1]
    clusters = int(codes.max()) + 1
    if clusters == 1:
        return Estimate(value, None, None, n)
    groups = min(clusters, GROUPS)
    if clusters > GROUPS:
        dealt = np.random.default_rng(BOOTSTRAP_SEED).permutation(clusters) % GROUPS
        codes = dealt[codes]
    weights = _resamples(groups)
    totals = weights @ np.bincount(codes, weights=numbers, minlength=groups)
    counts = weights @ np.bincount(codes, minlength=groups).astype(np.float64)
    low, high = np.quantile(totals / counts, [0.025, 0.975])
    return Estimate(value, float(low), float(high), n)


def _codes(images: Labels) -> Codes:
    """Return codes from 0 in the order in which labels are met, so that a bootstrap depends on no names."""
    labels: npt.NDArray[Any] = np.asarray(images)
    if labels.dtype.kind in "iu":
        return labels
    import pandas as pd  # here: whoever names a metric needs no pandas

    codes: Codes = pd.factorize(labels)[0]
    return codes


@lru_cache(maxsize=2)
def _resamples(groups: int) -> npt.NDArray[np.float64]:
    """Return how often each resample draws each group, (1000, groups); 16 MB, shared by a row's means."""
    rng = np.random.default_rng([BOOTSTRAP_SEED, groups])
    draws = rng.integers(groups, size=(RESAMPLES, groups)) + np.arange(RESAMPLES)[:, None] * groups
    counts = np.bincount(draws.ravel(), minlength=RESAMPLES * groups)
    return counts.reshape(RESAMPLES, groups).astype(np.float64)
