"""Differences, ratios and tests of paired cases, against numbers by another route."""

from __future__ import annotations

from itertools import product
from math import comb, sqrt
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

from harness.metrics import NOTHING, Estimate, mean, wilson
from harness.metrics.paired import (
    correlation,
    difference,
    holm,
    mean_of,
    mean_over_groups,
    newcombe,
    paired_tests,
    ratio_of_means,
    sign_test,
)


def frame(values: np.ndarray, prefix: str = "i") -> pd.DataFrame:
    return pd.DataFrame({"sample_id": [f"{prefix}{n}" for n in range(len(values))], "l2": values})


def test_a_ratio_of_means_and_its_interval() -> None:
    rng = np.random.default_rng(3)
    base = rng.uniform(1, 5, 200)
    first, second = frame(base * rng.normal(0.5, 0.02, 200)), frame(base)
    paired = ratio_of_means(first, second)
    assert paired.value == pytest.approx(first["l2"].mean() / second["l2"].mean())
    own = stats.bootstrap(
        (first["l2"], second["l2"]),
        lambda a, b, axis: a.mean(axis=axis) / b.mean(axis=axis),
        paired=True,
        vectorized=True,
        method="percentile",
        rng=1,
    ).confidence_interval
    assert (paired.low, paired.high) == pytest.approx((own.low, own.high), abs=0.001)
    apart = ratio_of_means(first, second, paired=False)
    free = stats.bootstrap(
        (first["l2"], second["l2"]),
        lambda a, b, axis: a.mean(axis=axis) / b.mean(axis=axis),
        vectorized=True,
        method="percentile",
        rng=1,
    ).confidence_interval
    assert (apart.low, apart.high) == pytest.approx((free.low, free.high), abs=0.01)
    # by the delta method
    spread = paired.value * np.hypot(*(own["l2"].std() / own["l2"].mean() for own in (first, second)))
    width = 2 * 1.96 * spread / np.sqrt(200)
    assert free.high - free.low == pytest.approx(width, rel=0.08)
    assert np.ptp([apart.low, apart.high]) == pytest.approx(width, rel=0.08)
    assert free.high - free.low > 4 * (own.high - own.low)  # what pairing is for


def test_a_ratio_of_means_resamples_persons_where_they_are_known() -> None:
    rng = np.random.default_rng(5)
    person = np.repeat(np.arange(20), 10)
    of_person = rng.lognormal(0, 0.4, 20)
    first = frame(of_person[person] * rng.normal(1, 0.01, 200)).assign(cluster=[f"p{n}" for n in person])
    second = frame(np.ones(200)).assign(cluster=first["cluster"])
    found = ratio_of_means(first, second)
    means = first.groupby("cluster")["l2"].mean()
    interval = stats.bootstrap((means,), np.mean, method="percentile", rng=1).confidence_interval
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=0.03)
    by_image = ratio_of_means(first.drop(columns="cluster"), second)
    assert by_image.value == found.value
    assert found.high - found.low > 2.5 * (by_image.high - by_image.low)
    # a person of the same name is the same in both, though the images are others
    same = ratio_of_means(first, first.assign(sample_id=first["sample_id"] + "b"))
    assert (same.low, same.high) == pytest.approx((1.0, 1.0))
    apart = ratio_of_means(first, first, paired=False)
    assert apart.high - apart.low > 1.2 * (found.high - found.low)
    alone = ratio_of_means(first.assign(cluster="p"), second.assign(cluster="p"))
    assert (alone.low, alone.high, alone.n) == (None, None, 200)


def test_a_ratio_of_few_and_of_many_cases() -> None:
    assert ratio_of_means(frame(np.array([])), frame(np.array([1.0]))).value is None
    one = ratio_of_means(frame(np.array([2.0])), frame(np.array([1.0])))
    assert (one.value, one.low, one.n) == (2.0, None, 1)
    many = np.random.default_rng(0).uniform(1, 2, 5000)  # more than are resampled one by one
    found = ratio_of_means(frame(many), frame(2 * many))
    assert (found.low, found.value, found.high) == pytest.approx((0.5, 0.5, 0.5))


def test_a_difference_is_paired_and_over_clusters() -> None:
    first, second = np.array([1, 1, 0, 1, 1, 0, 1, 1]), np.array([0, 0, 0, 1, 0, 0, 0, 0])
    found = difference(first, second, np.arange(8) // 4)
    assert found == Estimate(5 / 8, None, None, 8)  # two clusters tell nothing
    assert difference([], []) == NOTHING
    same = difference([True] * 30, [True] * 30)
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(("discordant", "clear"), [(4, False), (5, False), (6, True)])
def test_six_cases_that_agree_decide(discordant: int, clear: bool) -> None:
    """Of 22 clusters, as in a two-sided sign test: 5 of 5 have p = .06, 6 of 6 p = .03."""
    found = difference(np.arange(22) < discordant, np.zeros(22))
    assert found.low is not None
    assert (found.low > 0) == clear


def test_intervals_of_differences_cover() -> None:
    """Flags of two models on 25 persons with four images each; few differ."""
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(600):
        ease = np.repeat(rng.random(25), 4)
        first, second = (rng.random(100) < 0.9 * ease + shift for shift in (0.05, 0.0))
        found = difference(first, second, np.repeat(np.arange(25), 4))
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0.05 <= found.high
    assert covered / 600 >= 0.93


def test_newcombes_interval_is_the_published_example() -> None:
    # Newcombe 1998, table II, (a): 56/70 − 48/80, method 10: 0.0524, 0.3339
    found = newcombe(Estimate(0.8, *wilson(56, 70), 70), Estimate(0.6, *wilson(48, 80), 80))
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert newcombe(Estimate(0.8, None, None, 1), Estimate(0.6, 0.5, 0.7, 9)) == NOTHING


def test_a_correlation_is_scipys_and_needs_three_cases_that_differ() -> None:
    rng = np.random.default_rng(1)
    one, other = pd.Series(rng.random(20)), pd.Series(rng.random(20))
    assert correlation(one, other) == pytest.approx(stats.pearsonr(one, other).statistic)
    assert correlation(one.rank(), other.rank()) == pytest.approx(stats.spearmanr(one, other).statistic)
    assert correlation(one[:2], other[:2]) is None
    assert correlation(one, pd.Series(np.ones(20))) is None


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (0, 5), (5, 5), (9, 2), (12, 0)])
def test_the_sign_test_counts_coins(wins: int, losses: int) -> None:
    n = wins + losses
    chance = sum(comb(n, heads) for heads in range(wins, n + 1)) / 2**n
    assert sign_test(wins, losses) == pytest.approx(chance)


FIRST = np.array([0.10, 0.20, 0.31, 0.05, 0.17, 0.26, 0.40])
SECOND = np.array([0.12, 0.15, 0.20, 0.06, 0.10, 0.29, 0.31])


def counted_wilcoxon(difference: Any) -> tuple[float, float]:
    """Signed-rank statistic, and its two-sided p from all 2^n patterns of signs."""
    ranks = np.argsort(np.argsort(np.abs(difference))) + 1.0
    statistic = min(ranks[difference > 0].sum(), ranks[difference < 0].sum())
    sums = [ranks[np.array(signs)].sum() for signs in product([False, True], repeat=len(ranks))]
    return float(statistic), min(1.0, 2 * float(np.mean(np.array(sums) <= statistic)))


def test_the_t_test_is_students() -> None:
    found = paired_tests(FIRST, SECOND)
    difference = FIRST - SECOND
    n = len(difference)
    t = difference.mean() / (difference.std(ddof=1) / sqrt(n))
    # Two-sided tail of Student's distribution as an incomplete beta function.
    p = special.betainc((n - 1) / 2, 0.5, (n - 1) / ((n - 1) + t**2))
    assert found["t"] == pytest.approx(t)
    assert found["t_p"] == pytest.approx(p)
    assert found["mean_difference"] == pytest.approx(difference.mean())
    half = special.stdtrit(n - 1, 0.975) * difference.std(ddof=1) / sqrt(n)
    assert (found["low"], found["high"]) == pytest.approx(
        (difference.mean() - half, difference.mean() + half)
    )


def test_the_signed_rank_test_counts_patterns() -> None:
    found = paired_tests(FIRST, SECOND)
    assert (found["wilcoxon"], found["wilcoxon_p"]) == pytest.approx(counted_wilcoxon(FIRST - SECOND))


def test_tests_that_are_not_defined_are_null() -> None:
    same = paired_tests(FIRST, FIRST)
    assert same["mean_difference"] == 0
    assert [same[name] for name in ("t", "t_p", "wilcoxon", "wilcoxon_p", "low", "high")] == [None] * 6
    one = paired_tests(FIRST[:1], SECOND[:1])
    assert one["t_p"] is None
    assert one["wilcoxon_p"] == 1.0
    constant = paired_tests(np.array([0.3, 0.5, 0.7]), np.array([0.2, 0.4, 0.6]))
    assert constant["t_p"] is None
    assert constant["wilcoxon_p"] == pytest.approx(0.25)


def test_holm_steps_down() -> None:
    corrected = holm(pd.Series([0.01, 0.04, None, 0.03, 0.5]))
    assert corrected.drop(2).tolist() == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert np.isnan(corrected[2])
    assert holm(pd.Series([0.6, 0.9])).tolist() == [1.0, 1.0]


def test_a_mean_of_independent_estimates() -> None:
    rng = np.random.default_rng(0)
    samples = [rng.normal(2, 1, 400), rng.normal(5, 0.3, 100), rng.normal(3, 2, 200)]
    found = mean_of([mean(sample) for sample in samples])
    assert (found.value, found.n) == (pytest.approx(np.mean([own.mean() for own in samples])), 700)
    error = sqrt(sum(own.var(ddof=1) / len(own) for own in samples)) / 3
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.05)
    one = Estimate(0.4, 0.3, 0.6, 10)
    assert mean_of([one]) == Estimate(0.4, pytest.approx(0.3), pytest.approx(0.6), 10)
    assert mean_of([one, Estimate(0.6, None, None, 1)]) == Estimate(0.5, None, None, 11)
    assert mean_of([]) == mean_of([one, NOTHING]) == NOTHING


def test_the_mean_over_groups_counts_each_group_alike() -> None:
    """The interval covers the mean of the groups' means as often as it says; groups share clusters."""
    rng = np.random.default_rng(3)

    def draw(lift: float = 0.0) -> pd.DataFrame:
        rows = []
        for cluster, own in enumerate(rng.normal(size=20)):
            for group, (level, size) in enumerate(((0.0, 6), (3.0, 1))):
                rows += [(level + lift + own + rng.normal(), group, cluster) for _ in range(size)]
        return pd.DataFrame(rows, columns=["value", "group", "cluster"])

    covered = np.zeros(2, int)
    for _ in range(400):
        first, second = draw(), draw(1.0)
        second["value"] += first.groupby("cluster")["value"].mean().reindex(second["cluster"]).to_numpy()
        single = mean_over_groups(first)
        assert single.value == pytest.approx(first.groupby("group")["value"].mean().mean())
        gap = mean_over_groups(second, first)
        expected = second.groupby("group")["value"].mean().mean() - float(single.value or 0.0)
        assert gap.value == pytest.approx(expected)
        # By construction the second is 1 higher, and has the cluster's mean of the first, 3/7, on top.
        truths = (1.5, 1.0 + 3.0 / 7.0)
        covered += [
            float(found.low or 0.0) <= truth <= float(found.high or 0.0)
            for found, truth in zip((single, gap), truths, strict=True)
        ]
    assert np.all((covered / 400 > 0.92) & (covered / 400 < 0.98)), covered


def test_what_does_not_vary_has_no_interval() -> None:
    same = pd.DataFrame({"value": [1.0, 1.0], "group": ["a", "b"], "cluster": ["x", "y"]})
    assert mean_over_groups(same) == Estimate(1.0, None, None, 2)
    one = same.assign(value=[0.0, 1.0], cluster="x")
    assert mean_over_groups(one) == Estimate(0.5, None, None, 2)
    assert mean_over_groups(same, same.iloc[:0]) == NOTHING
