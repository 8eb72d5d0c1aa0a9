"""Intervals of verification metrics: over identities on both sides, seeded, and never without a doubt."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from harness.metrics import resampling, verification as v
from harness.metrics.resampling import Compared, Resampled, difference


def compared(persons: int, each: int = 40, spread: float = 1.0, seed: int = 0) -> Compared:
    """Comparisons whose persons are imitated more or less easily, by ``spread``."""
    random = np.random.default_rng([seed, persons])
    n = persons * each
    references = np.repeat(np.arange(persons), each)
    same = random.random(n) < 0.2
    probes = np.where(same, references, (references + random.integers(1, persons, n)) % persons)
    ease = spread * random.normal(size=persons)
    impostors = 1.5 - ease[references] - ease[probes]
    distances = (np.where(same, 0.0, impostors) + random.normal(size=n)).astype(np.float32)
    return Compared(distances, same, probes, references, persons)


def width(found: Any) -> float:
    return found.high - found.low


def test_replications_count_each_comparison_as_often_as_its_persons_were_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resampling, "BLOCK", 7)  # ranges reach from one block into the next
    some = compared(6, 9)
    replications = Resampled(some).replications
    drawn, _ = resampling._drawn(some, 0)
    assert (drawn.sum(axis=0) == 6).all()
    one = 17
    for row, distance in enumerate(replications.distances):
        at = some.distances == np.float32(distance)
        weights = np.where(
            some.probes == some.references,
            drawn[some.references, one],
            drawn[some.probes, one] * drawn[some.references, one],
        )
        assert replications.genuine[row, one] == weights[at & some.same].sum()
        assert replications.impostor[row, one] == weights[at & ~some.same].sum()


def test_intervals_are_over_persons_and_not_over_comparisons() -> None:
    alike = compared(20)
    shuffled = np.random.default_rng(1)
    n = len(alike)
    alone = replace(
        alike,
        probes=np.arange(n),
        references=np.where(alike.same, np.arange(n), n + np.arange(n)),
        identities=2 * n,
    )
    both = Resampled(alike).estimate(v.auc_roc)
    assert width(both) > 2 * width(Resampled(alone).estimate(v.auc_roc))
    # It is not enough to draw the references: the probes' persons count, too.
    one_sided = replace(
        alike, probes=np.where(alike.same, alike.references, 20 + shuffled.permutation(n)), identities=20 + n
    )
    assert width(both) > 1.2 * width(Resampled(one_sided).estimate(v.auc_roc))


def test_intervals_are_repeatable_and_hold_the_number() -> None:
    some = compared(12)
    for measured in (v.auc_roc, v.eer, v.average_precision, v.pr_area_of_rates):
        first, again = (Resampled(some).estimate(measured) for _ in range(2))
        assert first == again
        assert first.low < first.value < first.high
    assert Resampled(some, seed=1).estimate(v.auc_roc) != Resampled(some).estimate(v.auc_roc)


def test_ranges_change_intervals_little_and_thresholds_stay_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    some = compared(15, 100)
    threshold = float(np.median(some.distances))
    measures = (v.auc_roc, v.eer, v.d_prime, lambda counts: v.tar_at_fmr(counts, 0.01))
    fine = Resampled(some, [threshold])
    assert len(fine.replications.distances) == len(fine.counts.distances) > 1400
    monkeypatch.setattr(resampling, "RANGES", 200)
    coarse = Resampled(some, [threshold])
    assert len(coarse.replications.distances) < 210
    for measured in measures:
        one, other = (found.estimate(measured) for found in (fine, coarse))
        assert one.value == other.value
        assert other.low == pytest.approx(one.low, abs=0.02)
        assert other.high == pytest.approx(one.high, abs=0.02)
    for rate in (v.fmr, v.fnmr):
        np.testing.assert_allclose(
            rate(coarse.replications, threshold), rate(fine.replications, threshold), atol=1e-12
        )


def test_no_error_among_few_persons_is_no_certainty() -> None:
    same = np.arange(400) % 4 == 0
    references = np.arange(400) % 10
    perfect = Compared(
        np.where(same, 0.0, 1.0), same, np.where(same, references, (references + 1) % 10), references, 10
    )
    found = Resampled(perfect, [0.5])
    assert found.estimate(lambda counts: v.fmr(counts, 0.5)).high == pytest.approx(1 - 0.05**0.1)
    assert found.estimate(v.auc_roc).low == pytest.approx(0.05**0.1)
    few = Resampled(replace(perfect, probes=perfect.probes % 4, references=references % 4)).estimate(
        v.auc_roc
    )
    assert (few.value, few.low, few.high) == (1.0, None, None)


def test_a_difference_on_the_same_persons_is_narrower_than_its_sides() -> None:
    some = compared(20)
    worse = replace(some, distances=some.distances + np.where(some.same, 0.15, 0.0).astype(np.float32))
    first, second = Resampled(some), Resampled(worse)
    found = difference(first, second, v.auc_roc)
    assert 0 < found.low < found.value < found.high
    assert width(found) < 0.5 * width(first.estimate(v.auc_roc))
    assert difference(first, first, v.auc_roc).low is None


def test_many_persons_are_drawn_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    some = compared(300, 10)
    whole = Resampled(some).estimate(v.auc_roc)
    monkeypatch.setattr(resampling, "GROUPS", 100)
    grouped = Resampled(some)
    assert resampling._drawn(some, 0)[0].shape == (100, 1000)
    assert width(grouped.estimate(v.auc_roc)) == pytest.approx(width(whole), rel=0.3)
