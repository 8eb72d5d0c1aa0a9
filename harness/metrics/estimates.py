"""Estimates are numbers with 95 % intervals, which account for cases of one cluster: an image, or a person.

Rates of independent cases follow Wilson (1927). Where cases share clusters, rates follow the beta-binomial
model while few clusters have a hit or few have a miss, and beyond that Wilson with an effective sample size
(Kish 1965; Korn and Graubard 1998). Means follow Student's t on the sums of clusters, and with many clusters
the cluster bootstrap.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from harness.metrics import beta_binomial

if TYPE_CHECKING:
    import pandas as pd

Z = 1.959963984540054  # the normal distribution's 97.5 % quantile
RESAMPLES = 1000
GROUPS = 2000  # the most that the bootstrap resamples: with more images, whole groups of images
BOOTSTRAP_SEED = 0
FEW_EVENTS = 50
"""With as many clusters that have a hit, and that have a miss, the variance between them is known."""
FEWEST = 5
"""Fewer clusters give no interval of a mean: their spread says next to nothing."""
MANY = 50
"""From so many clusters on means are bootstrapped, which follows skewed data."""

Flags = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.floating[Any]]
Labels: TypeAlias = "npt.NDArray[Any] | pd.Series[Any]"
"""Which cluster each case is of: codes from 0, or any labels that are not integers, such as sample ids."""


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
    return _score(successes / n, n)


def _score(p: float, n: float) -> tuple[float, float]:
    """Return Wilson's interval around a share of ``n`` cases; at 0 and 1 it ends there exactly."""
    centre = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * sqrt(max(p * (1 - p), 0.0) / n + Z**2 / (4 * n**2))
    low = 0.0 if p <= 0 else max(0.0, centre - half)
    high = 1.0 if p >= 1 else min(1.0, centre + half)
    return min(low, p), max(high, p)


def effective_size(hits: Flags, clusters: Codes) -> float:
    """Return how many independent cases say as much about a rate as these, of which some share a cluster.

    It is n / deff, where the design effect deff is the cluster-robust variance of the rate over that of
    independent cases, at least 1. One case per cluster gives exactly n. With few clusters the variance is
    itself uncertain: the squared ratio of Student's quantiles, at n - 1 and at clusters - 1 degrees of
    freedom, accounts for that (Korn and Graubard). Where all cases agree, or one cluster has them all, the
    variance between clusters is not known, and each cluster counts as one case.
    """
    n = hits.size
    cases = np.bincount(clusters)
    held = cases > 0
    count = int(np.count_nonzero(held))
    if count == n:
        return float(n)
    p = np.count_nonzero(hits) / n
    if p in (0.0, 1.0) or count == 1:
        return float(count)
    from scipy.special import stdtrit  # here: the catalogue imports this module

    residuals = np.bincount(clusters, weights=hits)[held] - p * cases[held]
    variance = count / (count - 1) * float(residuals @ residuals) / n**2
    deff = max(1.0, variance * (n - 1) / (p * (1 - p)))
    shrink = (stdtrit(n - 1, 0.975) / stdtrit(count - 1, 0.975)) ** 2
    return n / deff * float(shrink)


def rate(hits: npt.ArrayLike, clusters: Labels | None = None) -> Estimate:
    """Return the share of cases that are hits; ``clusters`` say which cases share an image or a person."""
    flags = np.asarray(hits, np.bool_)
    n = flags.size
    if n == 0:
        return NOTHING
    successes = int(np.count_nonzero(flags))
    low, high = wilson(successes, n) if clusters is None else _clustered(flags, codes_of(clusters))
    return Estimate(successes / n, low, high, n)


def _clustered(flags: Flags, clusters: Codes) -> tuple[float, float]:
    """Return the interval of a rate whose cases share clusters."""
    sizes = np.bincount(clusters)
    hits = np.bincount(clusters, weights=flags).astype(np.int64)[sizes > 0]
    sizes = sizes[sizes > 0]
    if sizes.size == flags.size:
        return wilson(int(hits.sum()), flags.size)
    if min(np.count_nonzero(hits), np.count_nonzero(hits < sizes)) < FEW_EVENTS:
        return beta_binomial.interval(hits, sizes)
    return _score(flags.mean(), effective_size(flags, clusters))


def mean(values: npt.ArrayLike, clusters: Labels | None = None) -> Estimate:
    """Return the mean of the values that are not NaN, with an interval over clusters.

    Below 50 clusters it is Student's t on the residuals of whole clusters; from there on a percentile
    bootstrap. Clusters are resampled, not cases, since the cases of a cluster are alike. More than 2,000 are
    dealt at random into 2,000 groups, and groups are resampled: groups are exchangeable too, and the cost is
    bounded. The result is deterministic. Fewer than 5 clusters have no interval.
    """
    given = np.asarray(values)
    measured = ~np.isnan(given)
    numbers = given[measured].astype(np.float64)
    n = numbers.size
    if n == 0:
        return NOTHING
    value = float(numbers.mean())
    codes = np.arange(n) if clusters is None else _without_gaps(codes_of(clusters)[measured])
    count = int(codes.max()) + 1
    if count < FEWEST:
        return Estimate(value, None, None, n)
    if count < MANY:
        half = student_half(np.bincount(codes, weights=numbers - value).astype(np.float64), n)
        return Estimate(value, value - half, value + half, n)
    groups = min(count, GROUPS)
    if count > GROUPS:
        dealt = np.random.default_rng(BOOTSTRAP_SEED).permutation(count) % GROUPS
        codes = dealt[codes]
    weights = _resamples(groups)
    totals = weights @ np.bincount(codes, weights=numbers, minlength=groups)
    counts = weights @ np.bincount(codes, minlength=groups).astype(np.float64)
    low, high = np.quantile(totals / counts, [0.025, 0.975])
    return Estimate(value, float(low), float(high), n)


def _without_gaps(codes: Codes) -> Codes:
    """Return codes from 0 to their number, in the same order; quicker than sorting millions of them."""
    numbers = np.cumsum(np.bincount(codes) > 0) - 1
    found: Codes = numbers[codes]
    return found


def student_half(residuals: npt.NDArray[np.float64], n: int, reserve: float = 0.0) -> float:
    """Return half the width of the 95 % interval of a mean of ``n`` cases by Student's t.

    Args:
        residuals: (C,) the sum of value - mean over the cases of each cluster.
        reserve: what is added to the sum of their squares.
    """
    from scipy.special import stdtrit

    count = residuals.size
    squares = float(residuals @ residuals) + reserve
    return float(stdtrit(count - 1, 0.975)) * sqrt(count / (count - 1) * squares) / n


def codes_of(clusters: Labels) -> Codes:
    """Return codes from 0 in the order in which labels are met, so that a bootstrap depends on no names."""
    labels: npt.NDArray[Any] = np.asarray(clusters)
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
