"""Evidence is what the records of a row say to its flags: counts, and one bit per case and budget."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from harness.leaderboard.worst_case import Worst
from harness.metrics.outcomes import Flags, Floats, Keys, Outcomes, image_codes, numbers
from harness.metrics.paired import sign_test

if TYPE_CHECKING:
    import pyarrow as pa

Ball = tuple[str, float]
"""A norm and a budget in it; None in its place is no budget at all."""
Bits = npt.NDArray[np.uint8]

COLUMNS = ("reached", "reached_unrounded", "zero_gradients", "found")
"""The record columns that flags need beside those of the board; what a folder lacks raises no flag."""
LAST = 0.1
"""The share of an attack's passes in which a success comes late."""
SHORTEST = 10
"""Passes of the hardest case below which an attack has no last tenth to speak of."""
TOLERANCE = 1e-5
"""By how much a judged image may exceed its budget: the judge's own tolerance."""


@dataclass(frozen=True)
class Traces:
    """Counts of a row, over the cases that were right before the attack and have an outcome."""

    cases: int = 0
    broken: int = 0
    """Successes."""
    short: int = 0
    """Did not reach the goal, not even before rounding."""
    asked: int = 0
    """At least one backward pass, and how many of them were zero is known."""
    blind: int = 0
    """Of these, every backward pass was zero."""
    rounded: int = 0
    """Valid, and it is known whether the image reached the goal before rounding."""
    lost: int = 0
    """Of these, reached it before and not after."""
    late: int = 0
    """Successes found in the last tenth of the passes that the hardest case spent."""
    late_images: int = 0

    def __add__(self, other: Traces) -> Traces:
        return Traces(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))


def traces_of(table: pa.Table, cases: Outcomes) -> Traces:
    """The counts of a cell: ``table`` holds its records and ``cases`` are made of it."""
    held = table.column_names
    among = cases.covered & cases.correct
    success = among & cases.success
    counts = {"cases": among, "broken": success}
    reached = numbers(table, "reached") > 0 if "reached" in held else cases.success
    counts["short"] = among & ~reached & ~cases.success
    if "reached_unrounded" in held:
        unrounded = numbers(table, "reached_unrounded")
        counts["short"] &= ~(unrounded > 0)
        counts["rounded"] = among & ~np.isnan(unrounded) & ~(cases.values["valid"] == 0)
        counts["lost"] = counts["rounded"] & (unrounded > 0) & ~reached
    if "zero_gradients" in held:
        backwards, zero = cases.values["backwards"], numbers(table, "zero_gradients")
        counts["asked"] = among & (backwards > 0) & ~np.isnan(zero)
        counts["blind"] = counts["asked"] & (zero >= backwards)
    images = 0
    if "found" in held:
        counts["late"] = success & _late(cases.values["forwards"], numbers(table, "found"), among)
        images = np.unique(cases.images[counts["late"]]).size
    return Traces(late_images=images, **{name: int(np.count_nonzero(rows)) for name, rows in counts.items()})


def _late(forwards: Floats, found: Floats, among: Flags) -> Flags:
    """Which images were found in the last of the passes that the hardest of some cases spent.

    None where all cases spent the same: an attack that goes on after its success tells when it found its
    best image, not its first.
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
    budget: str | None
    traits: frozenset[str]
    attack: str
    regional: bool
    """Confined to some pixels."""
    transferred: bool
    """Made on another model: on this one it is a black-box attack, whatever it saw of the other."""
    traces: Traces
    keys: Keys
    """(N,) of the distinct cases, ascending."""
    usable: Bits
    """Right before the attack, and it has an outcome."""
    broken: Mapping[Ball | None, Bits]
    """Succeeded, and the nearest image lies within the budget, whichever the attack was given."""

    @property
    def ball(self) -> Ball | None:
        """Its own budget; None where it has none, or is confined to a region."""
        return None if self.norm is None or self.eps is None or self.regional else (self.norm, self.eps)

    @property
    def sees_gradients(self) -> bool:
        """A white-box attack on the model that is judged."""
        return self.access == "gradients" and not self.transferred

    @property
    def is_black_box(self) -> bool:
        """It looks for a direction, and never sees this model's gradients."""
        return "random" not in self.traits and (self.transferred or self.access in ("scores", "decisions"))

    def within(self, ball: Ball | None) -> Flags:
        """(N,) which cases it broke within a budget."""
        return self._bits(self.broken[ball])

    def measured(self) -> Flags:
        """(N,) which cases were right before the attack and have an outcome."""
        return self._bits(self.usable)

    def _bits(self, packed: Bits) -> Flags:
        return np.unpackbits(packed, count=self.keys.size).view(np.bool_)


def evidence_of(
    cell: Mapping[str, Any], cases: Worst, traces: Traces, balls: Iterable[Ball], shared: Keys | None
) -> Evidence:
    """The evidence of a row.

    Args:
        cell: a cell of the row, as cells.parquet has it.
        cases: the distinct cases of all cells of the row.
        balls: budgets that the rows of this model are to be compared within.
        shared: keys of another row, which are kept where these are the same.
    """
    norm, eps = cell.get("norm"), cell.get("eps")
    same = shared is not None and np.array_equal(shared, cases.keys)
    broken: dict[Ball | None, Bits] = {None: np.packbits(cases.success)}
    for ball in balls:
        name, radius = ball
        # What is valid keeps to its own budget; whether it keeps to another's is measured.
        inside = cases.success if ball == (norm, eps) else cases.values[name] <= radius + TOLERANCE
        broken[ball] = np.packbits(cases.success & inside)
    return Evidence(
        norm=norm,
        eps=eps,
        access=cell.get("access"),
        budget=cell.get("budget"),
        traits=frozenset(filter(None, (cell.get("traits") or "").split(","))),
        attack=cell["attack"],
        # Beside norm and budget, "linf 8/255", a threat's label names the region.
        regional=len(cell["threat"].split()) > 2 if norm else cell["threat"] != "unbounded",
        transferred=cell.get("surrogate") is not None,
        traces=traces,
        keys=shared if same and shared is not None else cases.keys,
        usable=np.packbits(cases.known & cases.correct & ~cases.unresolved),
        broken=broken,
    )


def balls_of(cells: Iterable[Mapping[str, Any]]) -> list[Ball]:
    """The budgets that some cells have, each once."""
    found = ((cell.get("norm"), cell.get("eps")) for cell in cells)
    return list(dict.fromkeys((norm, eps) for norm, eps in found if norm is not None and eps is not None))


@dataclass(frozen=True)
class Pair:
    """One attack against another, or against the best of several, on the cases that both have outcomes of."""

    images: Keys
    """(K,) of the cases, ascending."""
    one: Flags
    """(K,) broken by the one."""
    other: Flags

    def wins(self) -> tuple[int, int]:
        """Images of which the one breaks more cases than the other, and of which it breaks fewer.

        Images are counted and not cases, since the cases of an image are alike.
        """
        if not self.images.size:
            return 0, 0
        starts = np.flatnonzero(np.concatenate([[True], np.diff(self.images) != 0]))
        net = np.add.reduceat(self.one.astype(np.int64) - self.other, starts)
        return int(np.count_nonzero(net > 0)), int(np.count_nonzero(net < 0))

    def open_images(self) -> int:
        """Images of which the other leaves a case unbroken."""
        return int(np.unique(self.images[~self.other]).size)


def paired(one: Evidence, others: Iterable[Evidence], ball: Ball | None = None) -> Pair:
    """One row against the best of others: within a budget, or under the threat of each where None."""
    usable, best = one.measured(), np.zeros(one.keys.size, np.bool_)
    tried = np.zeros(one.keys.size, np.bool_)
    for there, at, other in _aligned(one.keys, others):
        measured = other.measured()
        # An attack in error might have broken the case.
        usable[there] &= measured[at]
        tried[there] |= measured[at]
        best[there] |= other.within(ball)[at]
    kept = usable & tried
    return Pair(image_codes(one.keys[kept]), one.within(ball)[kept], best[kept])


def _aligned(keys: Keys, others: Iterable[Evidence]) -> Iterator[tuple[Any, Any, Evidence]]:
    """Each row with the places of its cases among some keys, and the places of these among its own."""
    for other in others:
        if other.keys is keys:
            yield slice(None), slice(None), other
        else:
            _, there, at = np.intersect1d(keys, other.keys, assume_unique=True, return_indices=True)
            yield there, at, other


def clearly_more(wins: int, losses: int, level: float) -> bool:
    """Whether so many wins against so many losses are no chance: the one-sided exact sign test."""
    return wins > losses and sign_test(wins, losses) <= level
