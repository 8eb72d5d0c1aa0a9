"""Evidence is what flags are raised on: counts of a row's cases, and its successes within a budget.

It is kept small, one bit per case and budget, since the rows of a model are compared with each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from harness.leaderboard.threats import TOLERANCE, Budget, threat_of
from harness.leaderboard.worst_case import Worst
from harness.metrics.estimates import rate
from harness.metrics.outcomes import Codebook, Flags, Floats, Keys, Outcomes, numbers
from harness.metrics.paired import sign_test

if TYPE_CHECKING:
    import pyarrow as pa

Bits = npt.NDArray[np.uint8]

COLUMNS = ("reached", "reached_unrounded", "zero_gradients", "found")
"""The record columns that flags need beside those of the metrics; what a folder lacks raises no flag."""
LAST = 0.1
"""A success is late where it is found in this last share of an attack's forward passes."""
SHORTEST = 10
"""An attack that spends fewer forward passes on its hardest case has no last tenth to speak of."""


@dataclass(frozen=True)
class Traces:
    """Counts of a row, over cases that were classified correctly before the attack and have an outcome."""

    cases: int = 0
    successes: int = 0
    not_reached: int = 0
    """The attack did not reach the goal, not even before rounding."""
    gradients_asked: int = 0
    """The attack made backward passes, and it is known how many of these gave a gradient of zero."""
    zero_gradients: int = 0
    """Of the cases that asked for gradients: every backward pass gave a gradient of zero."""
    rounded: int = 0
    """The image is valid, and it is known whether it reached the goal before rounding."""
    lost_by_rounding: int = 0
    """Of the rounded cases: the image reached the goal before rounding and not after."""
    late_images: int = 0
    """Images of late successes: found in the last tenth of the forward passes that the hardest case took."""
    late_share: float = 1.0
    """The lower end of the interval of the share of late successes; the lowest of several cells."""

    def __add__(self, other: Traces) -> Traces:
        counts = (one.name for one in fields(self) if one.name != "late_share")
        summed = {name: getattr(self, name) + getattr(other, name) for name in counts}
        return Traces(late_share=min(self.late_share, other.late_share), **summed)


def traces_of(table: pa.Table, cases: Outcomes) -> Traces:
    """Count the traces of a cell: ``table`` holds its records and ``cases`` are made of it."""
    held = table.column_names
    among = cases.covered & cases.correct
    success = among & cases.success
    counts = {"cases": among, "successes": success}
    reached = numbers(table, "reached") > 0 if "reached" in held else cases.success
    counts["not_reached"] = among & ~reached & ~cases.success
    if "reached_unrounded" in held:
        unrounded = numbers(table, "reached_unrounded")
        counts["not_reached"] &= ~(unrounded > 0)
        counts["rounded"] = among & ~np.isnan(unrounded) & ~(cases.values["valid"] == 0)
        counts["lost_by_rounding"] = counts["rounded"] & (unrounded > 0) & ~reached
    if "zero_gradients" in held:
        backwards, zero = cases.values["backwards"], numbers(table, "zero_gradients")
        counts["gradients_asked"] = among & (backwards > 0) & ~np.isnan(zero)
        counts["zero_gradients"] = counts["gradients_asked"] & (zero >= backwards)
    images, share = 0, 0.0
    if "found" in held:
        late = success & _late(cases.values["forwards"], numbers(table, "found"), among)
        images = np.unique(cases.images[late]).size
        share = rate(late[among], cases.clusters[among]).low or 0.0
    return Traces(
        late_images=images,
        late_share=share,
        **{name: int(np.count_nonzero(rows)) for name, rows in counts.items()},
    )


def _late(forwards: Floats, found: Floats, among: Flags) -> Flags:
    """Say which images were found in the last of the passes that the hardest of some cases took.

    None were where all cases took the same: an attack that goes on after its success reports when it found
    its best image, not its first.
    """
    spent = forwards[among]
    spent = spent[~np.isnan(spent)]
    if not spent.size or spent.max() < SHORTEST or spent.min() == spent.max():
        return np.zeros(found.size, np.bool_)
    late: Flags = found > (1 - LAST) * spent.max()
    return late


@dataclass(frozen=True)
class Evidence:
    """A row of an attack, as the flags see it."""

    norm: str | None
    eps: float | None
    access: str | None
    """"gradients", "scores" or "decisions"; None where not known, as in folders of earlier versions."""
    budget_kind: str | None
    """Whether the attack keeps to a "fixed" budget or looks for the "minimal" one; None as for access."""
    traits: frozenset[str]
    attack: str
    regional: bool
    """The attack is confined to some pixels."""
    region: str | None
    """Which pixels; None where not known, as in folders of earlier versions."""
    transferred: bool
    """It was made on another model: on this one it is a black-box attack, whatever it saw of the other."""
    traces: Traces
    keys: Keys
    """(N,) of the distinct cases, ascending."""
    clusters: Keys
    """(N,) the code of the person that each shows where that is known, else of the image."""
    usable: Bits
    """The case was classified correctly before the attack, and has an outcome."""
    succeeded: Mapping[Budget | None, Bits]
    """The attack succeeded, and its nearest image lies within the budget, whichever the attack was given."""

    @property
    def budget(self) -> Budget | None:
        """Return the attack's own budget; None where it has none, or is confined to a region."""
        return None if self.norm is None or self.eps is None or self.regional else (self.norm, self.eps)

    @property
    def bounds(self) -> tuple[Any, ...] | None:
        """Return what bounds the attack, a budget or some pixels; None where nothing does, or unknown."""
        if not self.regional:
            return self.budget
        return None if self.region is None else (self.norm, self.eps, self.region)

    @property
    def sees_gradients(self) -> bool:
        """Return whether it is a white-box attack on the model that is judged."""
        return self.access == "gradients" and not self.transferred

    @property
    def is_black_box(self) -> bool:
        """Return whether it looks for a direction, and never sees this model's gradients."""
        return "random" not in self.traits and (self.transferred or self.access in ("scores", "decisions"))

    def within(self, budget: Budget | None) -> Flags:
        """Say (N,) on which cases the attack succeeded within a budget."""
        return self._bits(self.succeeded[budget])

    def measured(self) -> Flags:
        """Say (N,) which cases were classified correctly before the attack and have an outcome."""
        return self._bits(self.usable)

    def _bits(self, packed: Bits) -> Flags:
        return np.unpackbits(packed, count=self.keys.size).view(np.bool_)


def evidence_of(
    cell: Mapping[str, Any],
    cases: Worst,
    traces: Traces,
    budgets: Iterable[Budget],
    codebook: Codebook,
    shared: Evidence | None,
) -> Evidence:
    """Gather the evidence of a row.

    Args:
        cell: a cell of the row, as cells.parquet has it.
        cases: the distinct cases of all cells of the row.
        budgets: within which the rows of this model are to be compared.
        codebook: the codes of the cases.
        shared: another row, whose arrays of cases are used again where the cases are the same.
    """
    norm, eps = cell.get("norm"), cell.get("eps")
    if shared is not None and np.array_equal(shared.keys, cases.keys):
        keys, clusters = shared.keys, shared.clusters
    else:
        keys, clusters = cases.keys, codebook.clusters(cases.keys)
    succeeded: dict[Budget | None, Bits] = {None: np.packbits(cases.success)}
    for budget in budgets:
        name, radius = budget
        # What is valid keeps to its own budget; whether it keeps to another's is measured.
        inside = cases.success if budget == (norm, eps) else cases.values[name] <= radius + TOLERANCE
        succeeded[budget] = np.packbits(cases.success & inside)
    return Evidence(
        norm=norm,
        eps=eps,
        access=cell.get("access"),
        budget_kind=cell.get("budget"),
        traits=frozenset(filter(None, (cell.get("traits") or "").split(","))),
        attack=cell["attack"],
        regional=threat_of(cell).regional,
        region=cell.get("region"),
        transferred=cell.get("surrogate") is not None,
        traces=traces,
        keys=keys,
        clusters=clusters,
        usable=np.packbits(cases.known & cases.correct & ~cases.unresolved),
        succeeded=succeeded,
    )


def budgets_of(cells: Iterable[Mapping[str, Any]]) -> list[Budget]:
    """Return the budgets that some cells have, each once."""
    found = ((cell.get("norm"), cell.get("eps")) for cell in cells)
    return list(dict.fromkeys((norm, eps) for norm, eps in found if norm is not None and eps is not None))


@dataclass(frozen=True)
class Pair:
    """One attack against another, or against the best of several, on the cases that both have outcomes of."""

    clusters: Keys
    """(K,) the person that each case shows where that is known, else its image."""
    one: Flags
    """(K,) on which cases the one succeeded."""
    other: Flags

    def wins(self) -> tuple[int, int]:
        """Count the clusters on which the one has more successes than the other, and those with fewer.

        Clusters are counted and not cases, since the cases of one are alike.
        """
        _, at = np.unique(self.clusters, return_inverse=True)
        net = np.bincount(at, weights=self.one.astype(np.int8) - self.other.astype(np.int8))
        return int(np.count_nonzero(net > 0)), int(np.count_nonzero(net < 0))

    def open_clusters(self) -> int:
        """Count the clusters with a case on which the other does not succeed."""
        return int(np.unique(self.clusters[~self.other]).size)


def paired(one: Evidence, others: Iterable[Evidence], budget: Budget | None = None) -> Pair:
    """Compare a row with the best of others: within a budget, or under the threat of each where None."""
    usable, best = one.measured(), np.zeros(one.keys.size, np.bool_)
    tried = np.zeros(one.keys.size, np.bool_)
    for there, at, other in _aligned(one.keys, others):
        measured = other.measured()
        # An attack in error might have succeeded on the case.
        usable[there] &= measured[at]
        tried[there] |= measured[at]
        best[there] |= other.within(budget)[at]
    kept = usable & tried
    return Pair(one.clusters[kept], one.within(budget)[kept], best[kept])


def _aligned(keys: Keys, others: Iterable[Evidence]) -> Iterator[tuple[Any, Any, Evidence]]:
    """Give each row with the places of its cases among some keys, and the places of these among its own."""
    for other in others:
        if other.keys is keys:
            yield slice(None), slice(None), other
        else:
            _, there, at = np.intersect1d(keys, other.keys, assume_unique=True, return_indices=True)
            yield there, at, other


def clearly_more(wins: int, losses: int, level: float) -> bool:
    """Say whether so many wins against so many losses are no chance, by the one-sided exact sign test."""
    return wins > losses and sign_test(wins, losses) <= level
