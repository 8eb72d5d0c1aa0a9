"""The worst case combines attacks under one threat: a case counts as a success once any of them succeeded.

An adversarial belongs to every threat whose bounds it keeps to. Numbers of different threats are never
pooled, unless a suite asks for a worst case over everything.

The worst case has the cases that every attack was tried on which is asked about the threat. Were it over all
cases of any attack, those that only a weak attack was tried on would make the model look robust.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.leaderboard.threats import OVERALL, TOLERANCE, BoardThreat
from harness.metrics.outcomes import Codebook, Flags, Floats, Keys, Outcomes

CLOSEST = {"l2": np.fmin, "linf": np.fmin, "pass": np.fmax}
"""Which of several adversarials is nearest to its image, by each measure; PASS is a similarity."""


@dataclass(frozen=True)
class Worst:
    """What some attacks together did, one entry per distinct case, by ascending key.

    Whether a case was classified correctly before the attack does not depend on the attack. Should cells
    disagree, the one that says misclassified is believed, so that disagreement never counts as robust.
    """

    keys: Keys
    known: Flags
    correct: Flags
    """The case was classified correctly before the attack; True where that is not known."""
    success: Flags
    unresolved: Flags
    """Some attack on the case has no outcome."""
    values: dict[str, Floats]
    """Columns of CLOSEST, of the nearest successful adversarial; NaN where there is none."""


NO_CASES = Worst(
    keys=np.zeros(0, np.int64),
    **{name: np.zeros(0, np.bool_) for name in ("known", "correct", "success", "unresolved")},
    values={name: np.zeros(0, np.float32) for name in CLOSEST},
)
"""Before any cell was read."""


def worst_of(cases: Outcomes) -> Worst:
    """Return the distinct cases of one cell."""
    if (cases.keys[1:] > cases.keys[:-1]).all():  # each case once, in order
        keys, at = cases.keys, np.arange(cases.keys.size)
    else:
        keys, at = np.unique(cases.keys, return_inverse=True)
    values = {}
    for name, nearer in CLOSEST.items():
        values[name] = np.full(keys.size, np.nan, np.float32)
        nearer.at(values[name], at[cases.success], cases.values[name][cases.success])
    correct = np.ones(keys.size, np.bool_)
    correct[at[cases.known & ~cases.correct]] = False
    flags = {}
    for name, rows in (("known", cases.known), ("success", cases.success), ("unresolved", ~cases.covered)):
        flags[name] = np.zeros(keys.size, np.bool_)
        flags[name][at[rows]] = True
    return Worst(keys=keys, correct=correct, values=values, **flags)


def worse(one: Worst, other: Worst) -> Worst:
    """Return the pointwise worst case of two, over the union of their cases."""
    if not one.keys.size:
        return other
    if not np.array_equal(one.keys, other.keys):
        keys = np.union1d(one.keys, other.keys)
        one, other = _spread(one, keys), _spread(other, keys)
    return Worst(
        keys=one.keys,
        known=one.known | other.known,
        correct=one.correct & other.correct,
        success=one.success | other.success,
        unresolved=one.unresolved | other.unresolved,
        values={name: CLOSEST[name](one.values[name], other.values[name]) for name in other.values},
    )


def _spread(worst: Worst, keys: Keys) -> Worst:
    """Return the same over more cases, on which nothing was tried."""
    at = np.searchsorted(keys, worst.keys)

    def over(values: npt.NDArray[Any], filled: Any) -> npt.NDArray[Any]:
        spread = np.full(keys.size, filled, values.dtype)
        spread[at] = values
        return spread

    return Worst(
        keys=keys,
        known=over(worst.known, False),
        correct=over(worst.correct, True),
        success=over(worst.success, False),
        unresolved=over(worst.unresolved, False),
        values={name: over(values, np.nan) for name, values in worst.values.items()},
    )


def under(threat: BoardThreat, cases: Worst, own: BoardThreat) -> Worst | None:
    """Return what an attack under its own threat contributes to the worst case of another; None if nothing.

    A perturbation that may change every pixel belongs to each budget that it keeps to. An attack without a
    budget is asked about every budget: where it has no outcome, the case is open under all of them.
    """
    if threat in (own, OVERALL):
        return cases
    if own.regional or threat.budget is None:
        return None
    norm, eps = threat.budget
    inside = cases.success & (cases.values[norm] <= eps + TOLERANCE)
    asked = own.asks(threat)
    if not asked and not inside.any():
        return None
    return replace(
        cases,
        success=inside,
        unresolved=cases.unresolved & asked,
        values={name: np.where(inside, values, np.nan) for name, values in cases.values.items()},
    )


class WorstCase:
    """The worst case of one threat grows with each attack that is added."""

    def __init__(self, threat: BoardThreat) -> None:
        self.threat = threat
        self._all = NO_CASES
        """Over the cases of any attack."""
        self._shared: Keys | None = None
        """The cases of every attack that is asked and has all its records; None before the first."""
        self._unfinished: list[Keys] = []
        self._planned: list[int] = []
        self._asked = 0

    def add(self, own: BoardThreat, tried: Worst, unfinished: Sequence[Keys], planned: int | None) -> None:
        """Add an attack under its own threat.

        Args:
            unfinished: of each of its cells that lacks records, the keys of those it has.
            planned: its cases; None where that is not known.
        """
        share = under(self.threat, tried, own)
        if share is not None:
            self._all = worse(self._all, share)
        if self.threat != OVERALL and not own.asks(self.threat):
            return
        self._asked += 1
        self._unfinished += unfinished
        self._planned += [] if planned is None else [planned]
        if unfinished:  # what it will have been tried on is not known: nothing is left out on its account
            return
        if self._shared is None:
            self._shared = tried.keys
        elif not np.array_equal(self._shared, tried.keys):
            self._shared = np.intersect1d(self._shared, tried.keys, assume_unique=True)

    def concluded(self, codebook: Codebook) -> tuple[Outcomes, int]:
        """Return the cases, and how many there will be once all attacks are finished, as far as is known.

        A case is covered once an attack succeeded on it, or when every attack on it has an outcome: with an
        attack in error and no success it is not known to be robust. Nor is it where an unfinished cell has no
        record of it: which cases that one planned is not stored, so it may be any.
        """
        worst = self._all
        if self._shared is not None and self._shared.size < worst.keys.size:
            worst = _some(worst, np.searchsorted(worst.keys, self._shared))
        unresolved = worst.unresolved.copy()
        for seen in self._unfinished:
            unresolved |= ~np.isin(worst.keys, seen)
        cases = Outcomes(
            keys=worst.keys,
            clusters=codebook.clusters(worst.keys),
            covered=worst.known & (worst.success | ~unresolved),
            known=worst.known,
            correct=worst.known & worst.correct,
            success=worst.success,
            values=worst.values,
        )
        least = min(self._planned, default=0) if self._shared is None else 0
        return cases, max(least, worst.keys.size)

    @property
    def error(self) -> str | None:
        """Say why there is no case; None where there is one, or no attack was asked."""
        if self._shared is None or self._shared.size or not self._all.keys.size:
            return None
        return (
            f"no case was tried by all {self._asked} attacks that count under this threat; name the same "
            "attributes for all of them, or exclude some"
        )


def _some(worst: Worst, at: npt.NDArray[np.intp]) -> Worst:
    """Return some of the cases."""
    names = ("keys", "known", "correct", "success", "unresolved")
    values = {name: column[at] for name, column in worst.values.items()}
    return Worst(values=values, **{name: getattr(worst, name)[at] for name in names})
