"""Paired estimates compare cases that share images: differences, ratios, correlations and tests."""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from harness.metrics.estimates import (
    BOOTSTRAP_SEED,
    FEWEST,
    GROUPS,
    NOTHING,
    RESAMPLES,
    Estimate,
    Labels,
    codes_of,
    student_half,
)

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]
TESTS = ("mean_first", "mean_second", "mean_difference", "low", "high", "t", "t_p", "wilcoxon", "wilcoxon_p")


RESERVE = 3
"""By how many clusters of average weight the squares of a difference are increased.

Without, five clusters that happen to agree would leave no doubt. With three, six agreeing clusters are the
fewest that decide, as in an exact two-sided sign test at 5 %.
"""


def difference(first: npt.ArrayLike, second: npt.ArrayLike, clusters: Labels | None = None) -> Estimate:
    """Return the mean of first - second over the same cases, with Student's interval over clusters.

    It is meant for flags and shares, of which few may differ. Fewer than 5 clusters have no interval.
    """
    apart = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    n = apart.size
    if n == 0:
        return NOTHING
    value = float(apart.mean())
    codes = np.arange(n) if clusters is None else codes_of(clusters)
    sizes = np.bincount(codes)
    held = sizes > 0
    sums = np.bincount(codes, weights=apart).astype(np.float64)
    return _of_clusters(value, sums[held], sizes[held], n)


def difference_of_sums(sums: npt.NDArray[np.float64], sizes: npt.NDArray[np.int64]) -> Estimate:
    """Return what ``difference`` returns of clusters (C,) whose sums of first - second are whole numbers.

    Args:
        sums: (C,) over the cases of each cluster.
        sizes: (C,) how many cases each has, at least one.
    """
    n = int(sizes.sum())
    return _of_clusters(float(sums.sum()) / n, sums, sizes, n) if n else NOTHING


def _of_clusters(
    value: float, sums: npt.NDArray[np.float64], sizes: npt.NDArray[np.int64], n: int
) -> Estimate:
    if sizes.size < FEWEST:
        return Estimate(value, None, None, n)
    reserve = RESERVE * float(np.mean(sums[sums != 0] ** 2)) if sums.any() else 0.0
    half = student_half(sums - value * sizes, n, reserve)
    return Estimate(value, value - half, value + half, n)


def ratio_of_means(
    first: pd.DataFrame, second: pd.DataFrame, value: str = "l2", *, paired: bool = True
) -> Estimate:
    """Return the first mean over the second, with a percentile bootstrap over clusters.

    ``n`` is the smaller number of cases.

    Args:
        first: columns sample_id and ``value``; with a column ``cluster``, such as the person that an image
            shows, clusters are resampled, and images otherwise.
        second: the same.
        paired: a cluster of one name is the same in both, and is resampled in both at once.
    """
    import pandas as pd  # here: whoever names a metric needs no pandas

    if first.empty or second.empty:
        return NOTHING
    ratio = float(first[value].mean() / second[value].mean())
    n = min(len(first), len(second))
    if n == 1:
        return Estimate(ratio, None, None, n)
    drawn = "cluster" if "cluster" in first and "cluster" in second else "sample_id"
    if paired:
        codes, _ = pd.factorize(pd.concat([first[drawn], second[drawn]]))
        weights = _weights(int(codes.max()) + 1, 0)
        sides = [(codes[: len(first)], weights), (codes[len(first) :], weights)]
    else:
        apart = [pd.factorize(own[drawn])[0] for own in (first, second)]
        sides = [(codes, _weights(int(codes.max()) + 1, stream)) for stream, codes in enumerate(apart)]
    if max(len(weights[1][0]) for _, weights in sides) == 1:
        return Estimate(ratio, None, None, n)  # one cluster has no variance
    # A resample may hold no case of one side, where the sides share few clusters: it says nothing.
    above, below = (_means(own[value], *side) for own, side in zip((first, second), sides, strict=True))
    low, high = np.nanquantile(above / below, [0.025, 0.975])
    return Estimate(ratio, float(low), float(high), n)


def _weights(groups: int, stream: int) -> tuple[int, Floats]:
    """Return the number of groups, and how often each resample draws each, (1000, min(groups, 2000))."""
    held = min(groups, GROUPS)
    rng = np.random.default_rng([BOOTSTRAP_SEED, stream, groups])
    return groups, rng.multinomial(held, np.full(held, 1 / held), size=RESAMPLES).astype(np.float64)


def _means(values: pd.Series[Any], codes: npt.NDArray[np.intp], drawn: tuple[int, Floats]) -> Floats:
    """Return the mean of each resample, (1000,); NaN where it holds no case."""
    groups, weights = drawn
    held = weights.shape[1]
    if groups > held:
        codes = (np.random.default_rng(BOOTSTRAP_SEED).permutation(groups) % held)[codes]
    totals = weights @ np.bincount(codes, weights=values.to_numpy(float), minlength=held)
    counts = weights @ np.bincount(codes, minlength=held).astype(np.float64)
    found: Floats = np.divide(totals, counts, out=np.full_like(totals, np.nan), where=counts > 0)
    return found


def newcombe(first: Estimate, second: Estimate) -> Estimate:
    """Return the difference of two independent proportions, by their Wilson intervals.

    Newcombe 1998, method 10.
    """
    bounds = (first.value, first.low, first.high, second.value, second.low, second.high)
    if any(bound is None for bound in bounds):
        return NOTHING
    p, low, high, q, under, over = (float(bound or 0.0) for bound in bounds)
    return Estimate(
        p - q, p - q - hypot(p - low, over - q), p - q + hypot(high - p, q - under), min(first.n, second.n)
    )


def correlation(first: pd.Series[float], second: pd.Series[float]) -> float | None:
    """Return Pearson's correlation over cases; None of fewer than three, or where one side is all alike.

    Of ranks (``Series.rank``) it is Spearman's.
    """
    if len(first) < 3 or min(np.ptp(first), np.ptp(second)) == 0:
        return None
    return float(np.corrcoef(first, second)[0, 1])


def paired_tests(first: Floats, second: Floats) -> dict[str, float | None]:
    """Return paired two-sided tests of first - second by the names of ``TESTS``; None where not defined.

    Args:
        first: (n,) values, paired with
        second: (n,) values.
    """
    from scipy import stats

    difference = first - second
    found: dict[str, float | None] = dict.fromkeys(TESTS)
    found |= {
        "mean_first": float(first.mean()),
        "mean_second": float(second.mean()),
        "mean_difference": float(difference.mean()),
    }
    # Rounding leaves differences of equal pairs at 1e-17, which would be "very significant".
    difference = np.where(np.isclose(difference, 0, atol=1e-12), 0.0, difference)
    if np.any(difference != 0):
        ranked = stats.wilcoxon(difference)
        found |= {"wilcoxon": float(ranked.statistic), "wilcoxon_p": float(ranked.pvalue)}
    if difference.size > 1 and float(np.ptp(difference)) > 1e-12:
        tested = stats.ttest_1samp(difference, 0.0)
        interval = tested.confidence_interval(0.95)
        found |= {"t": float(tested.statistic), "t_p": float(tested.pvalue)}
        found |= {"low": float(interval.low), "high": float(interval.high)}
    return found


def holm(p: pd.Series[float]) -> pd.Series[float]:
    """Correct p values for their number by Holm's step-down method; null ones are no tests, and stay."""
    import pandas as pd

    tested = p.dropna().astype(float).sort_values(kind="stable")
    factors = np.arange(len(tested), 0, -1)
    corrected = np.minimum(1.0, np.maximum.accumulate(tested.to_numpy() * factors))
    return pd.Series(corrected, index=tested.index, dtype=float).reindex(p.index)


def sign_test(wins: int, losses: int) -> float:
    """Return the chance of at least so many wins if both are as likely: the one-sided exact sign test."""
    from scipy.special import bdtrc  # here: naming the flags needs no scipy

    return float(bdtrc(wins - 1, wins + losses, 0.5))


def mean_of(estimates: Sequence[Estimate]) -> Estimate:
    """Return the mean of independent estimates, each of equal weight, with an interval from theirs.

    Zou and Donner 2008: the distances from the values to the ends of the intervals add up in squares, as in
    Newcombe's interval of a difference. It has none if one of them has none.
    """
    if not estimates or any(one.value is None for one in estimates):
        return NOTHING
    values = np.array([one.value for one in estimates], np.float64)
    value, n = float(values.mean()), sum(one.n for one in estimates)
    if any(one.low is None or one.high is None for one in estimates):
        return Estimate(value, None, None, n)
    below, above = (
        float(np.linalg.norm(values - np.array(ends, np.float64))) / len(values)
        for ends in ([one.low for one in estimates], [one.high for one in estimates])
    )
    return Estimate(value, value - below, value + above, n)


def mean_over_groups(first: pd.DataFrame, second: pd.DataFrame | None = None) -> Estimate:
    """Return the mean of the groups' means, in which each group counts alike; less that of the second.

    The interval is Student's, of the sums that each cluster contributes; a cluster may have cases in several
    groups, and in both frames. There is none for one cluster, and none where nothing varies: values that are
    all the same do not tell how far they could be off.

    Args:
        first: columns value, group and cluster, without nulls.
        second: the same; its mean is subtracted.
    """
    import pandas as pd  # here: whoever names a metric needs no pandas
    from scipy.special import stdtrit

    sides = [first] if second is None else [first, second]
    if any(side.empty for side in sides):
        return NOTHING
    found, n = 0.0, min(map(len, sides))
    parts = []
    for sign, side in zip((1.0, -1.0), sides, strict=False):
        values = side["value"].astype(float)
        grouped = values.groupby(side["group"])
        means, sizes = grouped.transform("mean"), grouped.transform("size")
        found += sign * float(grouped.mean().mean())
        parts.append((sign * (values - means) / (sizes * grouped.ngroups)).groupby(side["cluster"]).sum())
    sums = pd.concat(parts).groupby(level=0).sum().to_numpy()
    clusters = len(sums)
    error = float(np.sqrt(sums @ sums * clusters / max(clusters - 1, 1)))
    if clusters == 1 or error < 1e-12:
        return Estimate(found, None, None, n)
    half = float(stdtrit(clusters - 1, 0.975)) * error
    return Estimate(found, found - half, found + half, n)
