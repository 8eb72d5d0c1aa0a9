"""A rate of cases that share images or persons gets its interval from the beta-binomial model here.

The rate of a cluster varies from cluster to cluster as a beta distribution (Skellam 1948; Williams 1975):
with an intra-class correlation of 0 all clusters have the same rate, with 1 all cases of a cluster agree. How
alike they are is not known, and with few hits the records hardly tell; the interval is therefore averaged
over the correlation, by how well each value explains the counts. No variance has to be estimated.
``tests/benchmarks/test_coverage.py`` measures how often the intervals cover.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.integer[Any]]

CORRELATIONS = np.array(
    [0, 0.01, 0.02, 0.04, 0.07, 0.11, 0.16, 0.22, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.98]
)
"""The intra-class correlations that are averaged over."""
INDEPENDENT = 0.5
"""The prior weight of a correlation of 0."""
SMALL = 0.03
"""The prior density of other correlations is 1 / (correlation + this): attacked images are little alike."""
TILT = 0.25
"""By how many cases Jeffreys' half is moved, to each side, against the end that is computed.

Half a case would give Clopper's and Pearson's ends, which cover too much, and 0 those of Jeffreys, which
cover too little where few clusters agree within themselves.
"""
LEVEL = 0.95
_SPREAD = (1 - CORRELATIONS[1:]) / CORRELATIONS[1:]
"""α + β of the beta distribution of each correlation but 0."""
_TERMS_PER_KIND = 12
"""As many logarithms take as long as the beta functions of one kind of cluster."""
_COARSE, _FINE = 120, 200
_NEGLIGIBLE = 18.0
"""Log density below the highest at which nothing is left: e^-18."""


def interval(hits: Counts, sizes: Counts) -> tuple[float, float]:
    """Return the 95 % interval of the rate of clusters with so many hits (C,) of so many cases (C,)."""
    pairs, counts = np.unique(np.stack([hits, sizes]), axis=1, return_counts=True)
    return _interval(*(tuple(side.tolist()) for side in (*pairs, counts)))


@lru_cache(4096)  # a table of flips has thousands of rates, most with the same few counts
def _interval(
    each_hits: tuple[int, ...], each_size: tuple[int, ...], times: tuple[int, ...]
) -> tuple[float, float]:
    """Return the interval of clusters of some kinds, each of which occurs so many times."""
    pairs, counts = np.array([each_hits, each_size]), np.array(times)
    hits, sizes = np.repeat(pairs, counts, axis=1)
    total, found = int(sizes.sum()), int(hits.sum())
    # As many independent cases as the clusters are if all cases of a cluster agree (Kish 1965).
    clusters = total**2 / float(sizes.astype(np.float64) @ sizes)
    if found in (0, total):
        # Nothing tells how alike the cases of a cluster are: they may always agree, and as the other end
        # cannot be missed, this one may be as often as both ends together.
        none = 1 - (1 - LEVEL) ** (1 / clusters)
        return (0.0, none) if found == 0 else (1 - none, 1.0)
    # The posterior is no wider than with that many; in arcsin √p its width is the same everywhere.
    centre, reach = np.arcsin(np.sqrt(found / total)), 6 / np.sqrt(clusters)
    edges = np.linspace(max(0.0, centre - reach), min(np.pi / 2, centre + reach), _COARSE + 1)
    density = _log_density(edges, pairs, counts)
    held = np.flatnonzero(density > density.max() - _NEGLIGIBLE)
    edges = np.linspace(edges[max(held[0] - 1, 0)], edges[min(held[-1] + 2, _COARSE)], _FINE + 1)
    density = _log_density(edges, pairs, counts)
    angles = (edges[1:] + edges[:-1]) / 2
    tilt = 2 * TILT * (np.log(np.sin(angles)) - np.log(np.cos(angles)))
    ends = np.array([
        _quantile((1 - LEVEL) / 2, edges, density - tilt), _quantile((1 + LEVEL) / 2, edges, density + tilt)
    ])  # fmt: skip
    ends = centre + (ends - centre) * _widening(hits, sizes)
    low, high = np.sin(np.clip(ends, 0, np.pi / 2)) ** 2
    return float(low), float(high)


def _widening(hits: Counts, sizes: Counts) -> float:
    """Return by how much few clusters widen an interval: Student's quantile over the normal distribution's.

    Averaging over correlations allows for what few hits do not tell, but not for how little few clusters do.
    The fewer clusters with a hit or with a miss there are, the more the former does already.
    """
    from scipy.special import ndtri, stdtrit

    share = min(np.count_nonzero(hits), np.count_nonzero(hits < sizes)) / sizes.size
    ratio = stdtrit(sizes.size - 1, (1 + LEVEL) / 2) / ndtri((1 + LEVEL) / 2) if sizes.size > 1 else 1.0
    return float(ratio ** (share**2))


def _log_density(edges: Floats, pairs: Counts, counts: Counts) -> Floats:
    """Return the log posterior density (N,) of arcsin √p between N + 1 edges, up to a constant.

    It is averaged over correlations; a uniform density in arcsin √p is Jeffreys' prior of p.
    """
    p = np.sin((edges[1:] + edges[:-1]) / 2)[:, None] ** 2
    hits, misses = pairs[0], pairs[1] - pairs[0]
    few = hits.max() + misses.max() <= _TERMS_PER_KIND * counts.size
    alike = (_likelihood_by_terms if few else _likelihood_by_kinds)(p, hits, misses, counts)
    equal = float(hits @ counts) * np.log(p) + float(misses @ counts) * np.log1p(-p)
    weighted = np.concatenate([equal, alike], axis=1) + np.log(_prior())
    highest = weighted.max(axis=1)
    summed: Floats = highest + np.log(np.exp(weighted - highest[:, None]).sum(axis=1))
    return summed


def _likelihood_by_kinds(p: Floats, hits: Counts, misses: Counts, counts: Counts) -> Floats:
    """Return the log likelihood of rates p (N, 1) for each correlation but 0, (N, R), by beta functions.

    Args:
        hits, misses, counts: (K,) of each kind of cluster, and how many clusters are of that kind.
    """
    from scipy.special import betaln  # here: the catalogue imports the metrics

    alpha, beta = p * _SPREAD, (1 - p) * _SPREAD
    each = betaln(hits[:, None, None] + alpha, misses[:, None, None] + beta) - betaln(alpha, beta)
    return np.tensordot(counts.astype(np.float64), each, 1)


def _likelihood_by_terms(p: Floats, hits: Counts, misses: Counts, counts: Counts) -> Floats:
    """Return the same, B(h + α, m + β) / B(α, β) written as products of α + i, β + i and α + β + i.

    These products share their factors among all kinds, and logarithms are faster than beta functions.
    """
    summed = -_rising(_SPREAD, hits + misses, counts)
    return summed + _rising(p * _SPREAD, hits, counts) + _rising((1 - p) * _SPREAD, misses, counts)


def _rising(start: Floats, lengths: Counts, counts: Counts) -> Floats:
    """Return the sum of log start (start + 1) … over so many factors, of all clusters."""
    longer = np.arange(lengths.max())[:, None] < lengths  # (most, K)
    summed = np.zeros_like(start)
    for step, clusters in enumerate(longer @ counts):
        summed += clusters * np.log(start + step)
    return summed


def _prior() -> Floats:
    weights: Floats = np.gradient(np.log(CORRELATIONS + SMALL))
    weights *= (1 - INDEPENDENT) / weights.sum()
    weights[0] += INDEPENDENT
    return weights


def _quantile(share: float, edges: Floats, density: Floats) -> float:
    """Return arcsin √p at a quantile of its log density."""
    summed = np.concatenate([[0.0], np.cumsum(np.exp(density - density.max()))])
    return float(np.interp(share, summed / summed[-1], edges))
