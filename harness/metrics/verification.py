"""Verification metrics are numbers of comparisons: how well distances tell one person from two.

Accepted means distance < threshold. A genuine comparison shows one person twice, an impostor comparison two
persons. FMR, the false match rate, is the share of impostor comparisons that are accepted; FNMR, the false
non-match rate, that of genuine comparisons that are rejected. FAR and FRR are other names for them.

Every function takes ``Counts``, works along their first axis, and gives a number, or as many as there are
columns of counts; NaN where a kind of comparison is missing. All distinct distances are thresholds, so that
nothing is rounded, and equal distances are accepted or rejected together.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Flags = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.integer[Any]]
Positive = Literal["same", "different"]

NEARLY = 1e-12
"""A rate of 0.3 of 10 comparisons allows three, though 0.3 * 10 may be rounded below 3."""


@dataclass(frozen=True, eq=False)
class Counts:
    """Counts say how many comparisons of each kind lie at each distance."""

    distances: Floats  # (K,) distinct, ascending
    genuine: Floats  # (K,), or (K, R)
    impostor: Floats  # the same
    means: Floats | None = None
    """(K,) the mean distance, where ``distances`` are the lower ends of ranges."""

    @cached_property
    def genuine_below(self) -> Floats:
        """Return (K + 1, …) how many genuine comparisons the first 0, 1, … K distances hold."""
        return _running(self.genuine)

    @cached_property
    def impostors_below(self) -> Floats:
        """Return (K + 1, …) how many impostor comparisons the first 0, 1, … K distances hold."""
        return _running(self.impostor)

    @cached_property
    def thresholds(self) -> Floats:
        """Return (K + 1,) the largest thresholds that accept just the first 0, 1, … K distances."""
        end = np.nextafter(self.distances[-1], np.inf) if self.distances.size else np.nan
        return np.append(self.distances, end)

    def threshold(self, place: int) -> float:
        """Return the largest threshold that accepts just the first ``place`` distances."""
        return float(self.thresholds[place])


def counted(distances: npt.ArrayLike, same: npt.ArrayLike) -> Counts:
    """Count comparisons by their distance. One that is not a number is infinite: it is never accepted.

    Args:
        distances: (N,).
        same: (N,) whether the comparison is genuine.
    """
    found = np.asarray(distances)
    found = np.where(np.isnan(found), np.inf, found)
    distinct, at = np.unique(found, return_inverse=True)
    genuine = np.asarray(same, np.bool_)
    each = np.bincount(at, minlength=distinct.size).astype(np.float64)
    own = np.bincount(at[genuine], minlength=distinct.size).astype(np.float64)
    return Counts(distinct.astype(np.float64), own, each - own)


# --- at a threshold ---------------------------------------------------------------------------------------


def fmr(counts: Counts, threshold: float) -> Floats:
    """Return the false match rate at a threshold: the share of impostor comparisons that are accepted."""
    below = counts.impostors_below
    return _share(below[_place(counts, threshold)], below[-1])


def fnmr(counts: Counts, threshold: float) -> Floats:
    """Return the false non-match rate at a threshold: the share of genuine comparisons that are rejected."""
    below = counts.genuine_below
    return _share(below[-1] - below[_place(counts, threshold)], below[-1])


far, frr = fmr, fnmr


def threshold_at_fmr(counts: Counts, rate: float) -> float:
    """Return the largest threshold whose FMR is at most ``rate``; NaN without impostor comparisons.

    Args:
        counts: of shape (K,).
    """
    total = float(counts.impostors_below[-1])
    return counts.threshold(int(_at_fmr(counts, rate))) if total else float("nan")


def threshold_at_fnmr(counts: Counts, rate: float) -> float:
    """Return the smallest threshold whose FNMR is at most ``rate``; NaN without genuine comparisons.

    Of all thresholds that accept the same comparisons it is the largest.
    """
    below = counts.genuine_below
    total = float(below[-1])
    if not total:
        return float("nan")
    return counts.threshold(int(np.argmax(total - below <= rate * total * (1 + NEARLY))))


# --- over all thresholds ----------------------------------------------------------------------------------


def error_rates(counts: Counts) -> tuple[Floats, Floats]:
    """Return FMR and FNMR (K + 1, …) when the first 0, 1, … K distances are accepted: the DET curve."""
    genuine, impostors = counts.genuine_below, counts.impostors_below
    return _share(impostors, impostors[-1]), 1 - _share(genuine, genuine[-1])


def auc_roc(counts: Counts) -> Floats:
    """Return the area under the ROC curve: how often a genuine comparison is nearer than an impostor one.

    A tie counts half.
    """
    farther = counts.impostors_below[-1] - counts.impostors_below[1:] + counts.impostor / 2
    pairs = counts.genuine_below[-1] * counts.impostors_below[-1]
    return _share((counts.genuine * farther).sum(axis=0), pairs)


def average_precision(counts: Counts, positive: Positive = "same") -> Floats:
    """Return the average precision: the mean of the precision at each positive comparison.

    Args:
        positive: what is to be found: genuine comparisons ("same"), by small distances, as the field has
            it, or impostor comparisons ("different"), by large ones, as in detection of intruders.
    """
    found, others = counts.genuine, counts.impostor
    if positive == "different":
        found, others = others[::-1], found[::-1]
    hits, misses = np.cumsum(found, axis=0), np.cumsum(others, axis=0)
    precision = np.divide(hits, hits + misses, out=np.zeros_like(hits), where=hits > 0)
    area = _share((found * precision).sum(axis=0), found.sum(axis=0))
    return np.where(others.sum(axis=0) > 0, area, np.nan)


def pr_area_of_rates(counts: Counts) -> Floats:
    """Return the area under a curve of rates that Arvinte et al. call the precision-recall curve.

    Intruders are positive. In place of the precision it has TPR / (TPR + FPR), which is the precision if
    there were as many genuine as impostor comparisons; the area is summed by trapezoids, from the first
    threshold on at which anything is rejected. Arvinte et al. take 1,000 thresholds; here they are all.
    """
    intruders, genuine = (
        np.cumsum(side[::-1], axis=0) / _positive(side.sum(axis=0))
        for side in (counts.impostor, counts.genuine)
    )
    rejected = intruders + genuine
    precision = np.divide(intruders, rejected, out=np.zeros_like(rejected), where=rejected > 0)
    steps = np.diff(intruders, axis=0) * (rejected[:-1] > 0)
    area: Floats = (steps * (precision[1:] + precision[:-1]) / 2).sum(axis=0)
    return np.where((counts.genuine_below[-1] > 0) & (counts.impostors_below[-1] > 0), area, np.nan)


class EqualError(NamedTuple):
    """The equal error rate is where FMR and FNMR are the same."""

    rate: Floats
    """Interpolated between the two neighbouring thresholds."""
    place: Codes
    """How many distances are accepted at the nearer of these thresholds."""


def equal_error(counts: Counts) -> EqualError:
    """Return the equal error rate (EER), and where it is; see ``Counts.threshold``."""
    false_match, false_non_match = error_rates(counts)
    apart = false_match - false_non_match  # from -1 to 1, never falling
    after = np.argmax(apart >= 0, axis=0)[None]
    (low,), (high,) = (np.take_along_axis(apart, at, 0) for at in (after - 1, after))
    (start,), (end,) = (np.take_along_axis(false_match, at, 0) for at in (after - 1, after))
    share = np.divide(-low, high - low, out=np.zeros_like(low), where=high > low)
    rate = np.where(np.isnan(apart).any(axis=0), np.nan, start + share * (end - start))
    return EqualError(rate, np.where(-low < high, after[0] - 1, after[0]))


def eer(counts: Counts) -> Floats:
    """Return the equal error rate."""
    return equal_error(counts).rate


def tar_at_fmr(counts: Counts, rate: float) -> Floats:
    """Return the share of genuine comparisons that are accepted at ``threshold_at_fmr``.

    NaN where there are fewer than 1 / ``rate`` impostor comparisons: they cannot tell such a rate from 0.
    """
    total = counts.impostors_below[-1]
    accepted = np.take_along_axis(counts.genuine_below, _at_fmr(counts, rate)[None], 0)[0]
    enough = total * rate * (1 + NEARLY) >= 1
    return np.where(enough, _share(accepted, counts.genuine_below[-1]), np.nan)


def d_prime(counts: Counts) -> Floats:
    """Return d′: the difference of the mean distances over the root of the mean of their two variances."""
    places = counts.distances if counts.means is None else counts.means
    if places.size and not np.isfinite(places[-1]):
        return np.full(counts.genuine.shape[1:], np.nan)
    centre = places - (places.mean() if places.size else 0.0)  # squares of large distances would lose digits
    found = []
    for side in (counts.genuine, counts.impostor):
        total = _positive(side.sum(axis=0))
        mean = centre @ side / total
        found.append((mean, np.maximum(centre**2 @ side / total - mean**2, 0.0)))
    (near, spread), (far_, other) = found
    root = np.sqrt((spread + other) / 2)
    return np.divide(far_ - near, root, out=np.full_like(root, np.nan), where=root > NEARLY)


class FoldAccuracy(NamedTuple):
    """The accuracy over folds, with thresholds that were chosen on the other folds."""

    mean: float
    standard_error: float
    """The standard deviation of the folds' accuracies over the root of their number, not the deviation."""
    folds: int


def fold_accuracy(distances: npt.ArrayLike, same: npt.ArrayLike, folds: npt.ArrayLike) -> FoldAccuracy | None:
    """Return the mean accuracy over folds, each at the threshold that is best on all others.

    The best threshold lies midway between two distances; of equally good ones it is the smallest. None with
    fewer than two folds.

    Args:
        folds: (N,) numbers; a comparison whose fold is negative has none, and is left out.
    """
    found, genuine, of = np.asarray(distances, np.float64), np.asarray(same, np.bool_), np.asarray(folds)
    names = np.unique(of[of >= 0])
    if names.size < 2:
        return None
    shares = []
    for name in names:
        own, others = of == name, (of >= 0) & (of != name)
        accepted = found[own] < _best_threshold(counted(found[others], genuine[others]))
        shares.append(float((accepted == genuine[own]).mean()))
    error = float(np.std(shares, ddof=1)) / np.sqrt(names.size)
    return FoldAccuracy(float(np.mean(shares)), float(error), int(names.size))


def _best_threshold(counts: Counts) -> float:
    right = counts.genuine_below + counts.impostors_below[-1] - counts.impostors_below
    place = int(np.argmax(right))
    if place in (0, counts.distances.size):
        return counts.threshold(place)
    return float(counts.distances[place - 1 : place + 1].mean())


# --- parts ------------------------------------------------------------------------------------------------


def _running(side: Floats) -> Floats:
    """Return sums of the first 0, 1, … K rows."""
    summed: Floats = np.concatenate([np.zeros_like(side[:1]) if len(side) else side, np.cumsum(side, axis=0)])
    return summed if len(summed) else np.zeros((1, *side.shape[1:]))


def _place(counts: Counts, threshold: float) -> int:
    """Return how many distances lie below a threshold."""
    return int(np.searchsorted(counts.distances, threshold, side="left"))


def _at_fmr(counts: Counts, rate: float) -> Codes:
    """Return how many distances are accepted by the largest threshold whose FMR is at most ``rate``."""
    below = counts.impostors_below
    places: Codes = np.asarray((below <= rate * below[-1] * (1 + NEARLY)).sum(axis=0) - 1)
    return places


def _positive(total: Floats) -> Floats:
    """Return a divisor that is NaN in place of 0."""
    return np.where(total > 0, total, np.nan)


def _share(part: Floats, whole: Floats) -> Floats:
    share: Floats = part / _positive(whole)
    return share
