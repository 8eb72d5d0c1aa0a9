"""Verification metrics: equal to scikit-learn's with ties, and right where nothing can be told apart."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import auc, average_precision_score, det_curve, roc_auc_score, roc_curve

from harness.metrics import verification as v
from harness.metrics.verification import Counts, counted

LEVELS = (5, 40, 10**6)
"""How many distinct distances: nearly all tied, many tied, hardly any."""


def drawn(levels: int, n: int = 3000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Random distances, those of impostors larger, rounded so that so many levels are left."""
    random = np.random.default_rng([seed, levels])
    same = random.random(n) < 0.3
    distances = random.beta(np.where(same, 2, 3), 3)
    return np.round(distances * levels).astype(np.float32) / np.float32(levels), same


@pytest.mark.parametrize("levels", LEVELS)
def test_areas_are_those_of_scikit_learn(levels: int) -> None:
    distances, same = drawn(levels)
    counts = counted(distances, same)
    assert v.auc_roc(counts) == pytest.approx(roc_auc_score(same, -distances), abs=1e-9)
    assert v.average_precision(counts) == pytest.approx(average_precision_score(same, -distances), abs=1e-9)
    assert v.average_precision(counts, "different") == pytest.approx(
        average_precision_score(~same, distances), abs=1e-9
    )


@pytest.mark.parametrize("levels", LEVELS)
def test_points_are_those_of_scikit_learn(levels: int) -> None:
    distances, same = drawn(levels)
    false_match, false_non_match = v.error_rates(counted(distances, same))
    fpr, tpr, _ = roc_curve(same, -distances, drop_intermediate=False)
    np.testing.assert_allclose(false_match, fpr, atol=1e-9)
    np.testing.assert_allclose(1 - false_non_match, tpr, atol=1e-9)
    # det_curve leaves out points beyond which an error rate no longer changes.
    fpr, fnr, _ = det_curve(same, -distances)
    ours = set(zip(np.round(false_match, 9), np.round(false_non_match, 9), strict=True))
    assert set(zip(np.round(fpr, 9), np.round(fnr, 9), strict=True)) <= ours


@pytest.mark.parametrize("levels", LEVELS)
def test_rates_at_thresholds_count_comparisons(levels: int) -> None:
    distances, same = drawn(levels)
    counts = counted(distances, same)
    for threshold in (0.0, float(distances[3]), 0.4, 2.0):
        accepted = distances < threshold
        assert v.fmr(counts, threshold) == v.far(counts, threshold) == accepted[~same].mean()
        assert v.fnmr(counts, threshold) == v.frr(counts, threshold) == (~accepted)[same].mean()
    for rate in (0.5, 0.1, 0.01):
        threshold = v.threshold_at_fmr(counts, rate)
        assert v.fmr(counts, threshold) <= rate
        assert v.fmr(counts, np.nextafter(threshold, 9)) > rate
        assert v.tar_at_fmr(counts, rate) == pytest.approx(1 - v.fnmr(counts, threshold))
        threshold = v.threshold_at_fnmr(counts, rate)
        assert v.fnmr(counts, threshold) <= rate
        below = distances[distances < threshold].max()
        assert v.fnmr(counts, below) > rate


def test_equal_error_is_where_the_rates_cross() -> None:
    distances, same = drawn(10**6)
    counts = counted(distances, same)
    rate, place = v.equal_error(counts)
    threshold = counts.threshold(int(place))
    assert v.fmr(counts, threshold) == pytest.approx(rate, abs=1 / (~same).sum())
    assert v.fnmr(counts, threshold) == pytest.approx(rate, abs=1 / same.sum())
    # Between two thresholds both rates are interpolated: FMR 0 to 1/2 meets FNMR 3/4 to 1/4 at 3/8.
    counts = Counts(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 1.0]), np.array([0.0, 1.0, 1.0]))
    assert v.eer(counts) == pytest.approx(0.375)


def test_a_constant_embedding_guesses_and_a_perfect_one_is_right() -> None:
    same = np.arange(40) < 10
    constant = counted(np.zeros(40), same)
    assert v.auc_roc(constant) == v.eer(constant) == 0.5
    assert v.average_precision(constant) == 0.25
    assert v.tar_at_fmr(constant, 0.1) == 0.0
    assert np.isnan(v.d_prime(constant))
    perfect = counted(np.where(same, 0.25, 0.75), same)
    assert v.auc_roc(perfect) == v.average_precision(perfect) == v.tar_at_fmr(perfect, 0.1) == 1.0
    assert v.eer(perfect) == 0.0
    assert 0.25 < perfect.threshold(int(v.equal_error(perfect).place)) <= 0.75


def test_d_prime_is_the_distance_of_the_means_in_deviations() -> None:
    distances, same = drawn(10**6)
    spread = np.sqrt((distances[same].var() + distances[~same].var()) / 2)
    expected = (distances[~same].mean() - distances[same].mean()) / spread
    assert v.d_prime(counted(distances, same)) == pytest.approx(expected, abs=1e-5)
    # Far from 0, where squares lose digits, it is the same.
    far = distances.astype(np.float64) + 1e6
    assert v.d_prime(counted(far, same)) == pytest.approx(expected, abs=1e-5)


def test_the_area_of_rates_is_that_of_equally_many_comparisons() -> None:
    distances, same = drawn(40)
    thresholds = [-1.0, *np.unique(distances)]
    tpr = np.array([(distances > t)[~same].mean() for t in thresholds])
    fpr = np.array([(distances > t)[same].mean() for t in thresholds])
    held = tpr + fpr > 0
    area = auc(tpr[held], (tpr / np.maximum(tpr + fpr, 1e-9))[held])
    assert v.pr_area_of_rates(counted(distances, same)) == pytest.approx(area, abs=1e-9)
    # It is not changed by more comparisons of one kind; the average precision is.
    more = counted(
        np.concatenate([distances, *[distances[same]] * 9]), np.concatenate([same, *[same[same]] * 9])
    )
    assert v.pr_area_of_rates(more) == pytest.approx(area, abs=1e-9)
    assert v.average_precision(more, "different") < v.average_precision(counted(distances, same), "different")


def test_few_impostors_cannot_tell_a_small_rate_from_none() -> None:
    counts = counted([0.1, 0.2, *[0.5] * 99], [True, True, *[False] * 99])
    assert np.isnan(v.tar_at_fmr(counts, 0.01))
    assert v.tar_at_fmr(counted([0.1, *[0.5] * 100], [True, *[False] * 100]), 0.01) == 1.0


def test_a_distance_that_is_not_a_number_is_never_accepted() -> None:
    counts = counted([0.1, np.nan, 0.5, np.nan], [True, True, False, False])
    assert v.fnmr(counts, 1e30) == v.fmr(counts, 1e30) * 1 == 0.5
    assert np.isnan(v.d_prime(counts))


@pytest.mark.parametrize("same", [[], [True, True], [False, False]])
def test_one_kind_of_comparison_has_no_curve(same: list[bool]) -> None:
    counts = counted(np.arange(len(same)), np.array(same, bool))
    found = [
        measure(counts) for measure in (v.auc_roc, v.average_precision, v.pr_area_of_rates, v.eer, v.d_prime)
    ]
    assert np.isnan(found).all()
    assert np.isnan(v.threshold_at_fmr(counts, 0.1)) or np.isnan(v.threshold_at_fnmr(counts, 0.1))


def test_folds_choose_their_threshold_on_the_others() -> None:
    # In fold 0 genuine pairs are far: the threshold of folds 1 and 2 is wrong on all of them.
    distances = [0.8, 0.9, 0.1, 0.9, 0.1, 0.9, 0.0]
    same = [True, False, True, False, True, False, False]
    folds = [0, 0, 1, 1, 2, 2, -1]
    found = v.fold_accuracy(distances, same, folds)
    assert found is not None
    shares = [0.5, 1.0, 1.0]
    assert found.folds == 3
    assert found.mean == pytest.approx(np.mean(shares))
    assert found.standard_error == pytest.approx(np.std(shares, ddof=1) / np.sqrt(3))
    assert v.fold_accuracy(distances, same, [0] * 7) is None
