"""Numbers of comparisons get their intervals by resampling identities, never comparisons.

Comparisons that share a person are alike: a face that is easily imitated is so in all of its comparisons, and
two comparisons may share a person on either side. An interval that takes them for independent is too narrow.
Here whole identities are drawn with replacement, as often as there are. A genuine comparison then counts as
often as its person was drawn, and an impostor comparison as often as the first person times as often as the
second. That is the pigeonhole bootstrap (Owen 2007), which Fogliato, Patil and Perona (2024, "Confidence
Intervals for Error Rates in 1:1 Matching Tasks") compare with others for verification. The interval lies
between two quantiles of the replications, moved outwards for the number of identities as Student's
distribution is (the expanded percentile interval of Hesterberg 2015).

Replications count comparisons in at most some 2,000 ranges of distance; there are more where few errors are.
Memory depends on the ranges and the identities, and by little more than a number on each comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from harness.metrics.estimates import BOOTSTRAP_SEED, FEWEST, GROUPS, NOTHING, RESAMPLES, Estimate
from harness.metrics.verification import Codes, Counts, Flags, Floats, counted

Measured = Callable[[Counts], Floats]
"""A metric, such as ``verification.auc_roc``."""

RANGES = 2000
"""With more distinct distances, replications count in about so many ranges of them."""
BLOCK = 4096
"""How many comparisons are weighted at once."""
LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class Compared:
    """Comparisons of images of persons, as arrays of one length."""

    distances: Floats  # (N,)
    same: Flags  # (N,) whether both images show one person
    probes: Codes  # (N,) the person in the image that is presented
    references: Codes  # (N,) the person in the image that it is compared with
    identities: int
    """Codes are below this number. Where two have the same numbers of persons, these are drawn alike, so
    that replications of models on the same persons can be subtracted."""

    def __len__(self) -> int:
        return self.distances.size

    def part(self, rows: Flags) -> Compared:
        """Return some of the comparisons."""
        sides = (self.distances, self.same, self.probes, self.references)
        distances, same, probes, references = (side[rows] for side in sides)
        return Compared(distances, same, probes, references, self.identities)

    def together(self, other: Compared) -> Compared:
        """Return these comparisons and others of the same persons."""
        return Compared(
            np.concatenate([self.distances, other.distances]),
            np.concatenate([self.same, other.same]),
            np.concatenate([self.probes, other.probes]),
            np.concatenate([self.references, other.references]),
            self.identities,
        )


class Resampled:
    """Comparisons with their replications, which are made when the first interval is asked for."""

    def __init__(
        self, compared: Compared, thresholds: Iterable[float] = (), seed: int = BOOTSTRAP_SEED
    ) -> None:
        """Take comparisons.

        Args:
            thresholds: at which rates are to be asked for; replications know others by the range they are in.
        """
        self.compared = compared
        self.counts = counted(compared.distances, compared.same)
        self._thresholds = tuple(thresholds)
        self._seed = seed

    @cached_property
    def persons(self) -> int:
        """Return of how many persons the comparisons are."""
        return int(np.union1d(self.compared.probes, self.compared.references).size)

    @cached_property
    def replications(self) -> Counts:
        """Return the counts (K, 1000) of resampled identities."""
        return _replications(self.compared, self.counts, self._thresholds, self._seed)

    def estimate(self, measured: Measured, *, share: bool = True) -> Estimate:
        """Return a number of the comparisons with its interval; ``n`` is the number of comparisons.

        Fewer than 5 persons have no interval. Where a share is 0 or 1 in all replications, the other end is
        that of as many independent cases as there are persons: nothing tells how alike their comparisons are.

        Args:
            share: whether the number cannot leave [0, 1].
        """
        value = float(measured(self.counts))
        if np.isnan(value):
            return NOTHING
        ends = self._ends(value, measured) if self.persons >= FEWEST else (None, None)
        if share and ends[0] == ends[1] and value in (0.0, 1.0) and self.persons >= FEWEST:
            none = 1 - (1 - LEVEL) ** (1 / self.persons)
            ends = (0.0, none) if value == 0 else (1 - none, 1.0)
        return Estimate(value, *ends, len(self.compared))

    def _ends(self, value: float, measured: Measured) -> tuple[float | None, float | None]:
        return interval(measured(self.replications), value, self.persons)


def difference(first: Resampled, second: Resampled, measured: Measured) -> Estimate:
    """Return by how much a number of the first comparisons is larger, with the interval of the difference.

    Both are of the same persons, who are drawn alike; so the interval is narrower than those of the two
    suggest. ``n`` is the smaller number of comparisons.
    """
    value = float(measured(first.counts) - measured(second.counts))
    if np.isnan(value):
        return NOTHING
    n, persons = min(len(first.compared), len(second.compared)), min(first.persons, second.persons)
    if persons < FEWEST or first.compared.identities != second.compared.identities:
        return Estimate(value, None, None, n)
    apart = measured(first.replications) - measured(second.replications)
    low, high = interval(apart, value, persons)
    # Where all replications agree, as for two perfect models, nothing tells how far they could be off.
    return Estimate(value, None, None, n) if low == high else Estimate(value, low, high, n)


def interval(replications: Floats, value: float, persons: int) -> tuple[float | None, float | None]:
    """Return the ends of the 95 % interval, which always holds the number itself.

    Replications in which a kind of comparison is missing say nothing; without any other there is no interval.
    """
    known = replications[~np.isnan(replications)]
    if not known.size:
        return None, None
    from scipy.special import ndtr, stdtrit  # here: the catalogue imports the metrics

    wide = np.sqrt(persons / (persons - 1)) * stdtrit(persons - 1, (1 + LEVEL) / 2)
    low, high = np.quantile(known, [ndtr(-wide), ndtr(wide)])
    return min(float(low), value), max(float(high), value)


# --- replications -----------------------------------------------------------------------------------------


def _replications(compared: Compared, counts: Counts, thresholds: Iterable[float], seed: int) -> Counts:
    firsts = _ranges(counts, thresholds)
    lower = counts.distances[firsts]
    each = counts.genuine + counts.impostor
    finite = np.where(np.isfinite(counts.distances), counts.distances, 0.0)
    means = np.add.reduceat(finite * each, firsts) / np.add.reduceat(each, firsts)
    if not np.isfinite(counts.distances[-1]):
        means[-1] = np.inf
    distances = np.where(np.isnan(compared.distances), np.inf, compared.distances)
    ranges = np.searchsorted(lower, distances, side="right") - 1
    drawn, codes = _drawn(compared, seed)
    sides = []
    for genuine in (True, False):
        rows = np.flatnonzero(compared.same == genuine)
        rows = rows[np.argsort(ranges[rows], kind="stable")]
        sides.append(_weighted(ranges, codes, rows, drawn, firsts.size))
    return Counts(lower, sides[0], sides[1], means)


def _drawn(compared: Compared, seed: int) -> tuple[npt.NDArray[np.float32], tuple[Codes, Codes]]:
    """Return how often each identity is drawn, (I, 1000), and the codes of both sides.

    More than 2,000 are dealt at random into 2,000 groups, and groups are drawn.
    """
    identities, held = compared.identities, min(compared.identities, GROUPS)
    rng = np.random.default_rng([seed, identities])
    codes = (compared.probes, compared.references)
    if identities > GROUPS:
        dealt = rng.permutation(identities) % GROUPS
        codes = (dealt[codes[0]], dealt[codes[1]])
    draws = rng.multinomial(held, np.full(held, 1 / held), size=RESAMPLES)
    return np.ascontiguousarray(draws.T, np.float32), codes


def _weighted(
    ranges: Codes, codes: tuple[Codes, Codes], rows: Codes, drawn: npt.NDArray[np.float32], held: int
) -> Floats:
    """Return (K, 1000) the sum of the weights of some comparisons by range, by which they are sorted."""
    summed = np.zeros((held, drawn.shape[1]))
    for start in range(0, rows.size, BLOCK):
        block = rows[start : start + BLOCK]
        first, second = codes[0][block], codes[1][block]
        weights = drawn[first]
        apart = np.flatnonzero(first != second)
        if apart.size == block.size:
            weights *= drawn[second]
        elif apart.size:
            weights[apart] *= drawn[second[apart]]
        own = ranges[block]
        starts = np.flatnonzero(np.diff(own, prepend=-1))
        summed[own[starts]] += np.add.reduceat(weights, starts, axis=0)
    return summed


def _ranges(counts: Counts, thresholds: Iterable[float]) -> Codes:
    """Return the place of the first distance of each range; thresholds never lie inside one.

    Where few errors are, among the nearest impostor and the farthest genuine comparisons, every distance is
    a range of its own; farther on ranges grow with the number of errors.
    """
    places = np.arange(counts.distances.size)
    if places.size > RANGES:
        quarter = RANGES // 4
        cuts = [
            np.searchsorted(counts.distances, list(thresholds), side="left"),
            _at_ranks(counts.impostors_below[1:], np.geomspace(1, counts.impostors_below[-1], quarter)),
            _at_ranks(counts.impostors_below[1:], np.linspace(0, counts.impostors_below[-1], quarter)),
            _at_ranks(counts.genuine_below[1:], np.linspace(0, counts.genuine_below[-1], quarter)),
            _at_ranks(
                counts.genuine_below[1:],
                counts.genuine_below[-1] - np.geomspace(1, max(counts.genuine_below[-1], 1), quarter),
            ),
        ]
        places = np.unique(np.concatenate([[0], *cuts]))
        places = places[places < counts.distances.size]
    return places


def _at_ranks(below: Floats, ranks: Floats) -> Codes:
    """Return the places after which so many comparisons lie below."""
    places: Codes = np.searchsorted(below, np.round(ranks), side="left") + 1
    return places
