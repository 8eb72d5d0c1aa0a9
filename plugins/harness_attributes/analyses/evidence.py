"""Evidence is what the paper's claims are judged on: rates and paired cases of one data set's models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import pandas as pd

from harness.analysis import claims
from harness.analysis.claims import Finding, Missing
from harness.analysis.drawing import percent
from harness.metrics import Estimate, rate
from harness.metrics.paired import difference, newcombe
from harness_attributes.analyses.errors import Scored, scored
from harness_attributes.analyses.names import SIGN_TEXT, method_text, search_text
from harness_attributes.analyses.progress import pairs
from harness_attributes.analyses.study import EUCLIDEAN, KEY, Cell, Study, hits, of_sign

SAME_RUN = ("search", "threat")
Judged = Iterator[Finding | Missing]
Side = tuple[Cell, str]
"""A cell, and the sign of its cases."""


def hundredths(value: float) -> str:
    """Return a share in percent, without the sign: the ends of intervals."""
    return f"{100 * value:.1f}"


def points(value: float) -> str:
    """Return a difference of shares in percentage points."""
    return f"{hundredths(value)} points"


@dataclass(frozen=True)
class Bars:
    """The thresholds of PASS that claims are judged at."""

    threshold: float
    every: Sequence[float]
    """For what is claimed of every threshold, ascending."""

    @property
    def told(self) -> dict[str, str]:
        """What the conditions of claims call them."""
        return {"tau": f"{self.threshold:g}"}


within = partial(claims.within, form=percent, ends=hundredths)
larger = partial(claims.larger, form=percent, ends=hundredths, apart=points)


@dataclass(frozen=True)
class Evidence:
    """Evidence holds the cells of one data set."""

    study: Study
    dataset: str
    stand_in_for: str | None

    @property
    def identity(self) -> dict[str, Any]:
        """The columns that tell it from others in the table of claims."""
        return {"dataset": self.dataset, "stand_in_for": self.stand_in_for}

    def of(self, model: str = "", attack: str = "", loss: str = "") -> list[Cell]:
        """Return the cells of converged networks, of these alone.

        The trivial classifier is no network, and other readings of an attack are not the paper's.
        """
        return [
            cell
            for cell in self.study.cells
            if cell.dataset == self.dataset
            and not cell.early
            and not cell.reading
            and cell.model_kind != "majority"
            and model in cell.model_kind
            and attack in ("", cell.attack_kind)
            and loss in ("", cell.loss)
        ]

    @cached_property
    def scored(self) -> list[Scored]:
        """The networks that tell their errors."""
        return scored(self.study.results, self.dataset)

    def pairs(self, first: Iterable[Cell], second: Iterable[Cell], *same: str) -> list[tuple[Cell, Cell]]:
        """Return cells of ``first`` and of ``second`` that agree in the named fields."""
        others = list(second)
        return [
            (one, other)
            for one in first
            for other in others
            if all(getattr(one, name) == getattr(other, name) for name in same)
        ]

    @property
    def ffa_and_fgs(self) -> list[tuple[Cell, Cell]]:
        """FFA beside FGS, on the same separate networks with Euclidean loss."""
        ffa, fgs = (self.of("separate", attack, EUCLIDEAN) for attack in ("ffa", "fgs"))
        return self.pairs(ffa, fgs, "model", *SAME_RUN)

    @property
    def moon_and_separate(self) -> list[tuple[Cell, Cell]]:
        """MOON beside separate networks with Euclidean loss, both attacked by FFA."""
        alone = self.of("separate", "ffa", EUCLIDEAN)
        return self.pairs(self.of("moon", "ffa"), alone, "method", *SAME_RUN)

    @property
    def checkpoints(self) -> list[tuple[Cell, Cell]]:
        """Early and converged checkpoints of the same model under the same attack."""
        searches = dict.fromkeys(cell.search for cell in self.study.cells if cell.dataset == self.dataset)
        found = [pair for search in searches for pair in pairs(self.study, search)]
        return [(early, late) for early, late in found if late.dataset == self.dataset]

    def larger(self, one: Side, other: Side, threshold: float) -> Finding | Missing:
        """Judge whether the first cell's rate is the larger one, on cases that have the sign in both.

        Cases are paired by image and attribute, so that models are compared on the attributes of both.
        """
        both = joined(one[0], other[0])
        both = both[(both["sign_x"] == one[1]) & (both["sign_y"] == other[1])]
        one_hit, other_hit = (first_hit(both, side, threshold) for side in ("x", "y"))
        first, second = (rate(own, both["cluster"]) for own in (one_hit, other_hit))
        gain = difference(one_hit, other_hit, both["cluster"])
        same, *names = _apart(one, other, threshold)
        what = f"{same}, {len(both):,} cases"
        return larger(first, second, gain, what, names=(names[0], names[1]), used=(one[0], other[0]))

    def wrong_above_right(self, cell: Cell, threshold: float) -> Finding | Missing:
        """Judge whether wrong cases are flipped more often than right ones; no case is both."""
        wrong, right = (rate_of(cell, sign, threshold) for sign in ("-", "+"))
        same, *names = _apart((cell, "-"), (cell, "+"), threshold)
        names = [f"{name} (n = {share.n:,})" for name, share in zip(names, (wrong, right), strict=True)]
        apart = newcombe(wrong, right)
        return larger(wrong, right, apart, same, names=(names[0], names[1]), used=(cell,))


def rate_of(cell: Cell, sign: str, threshold: float) -> Estimate:
    """Return the share of a cell's cases that are flipped with PASS >= threshold."""
    cases = of_sign(cell.cases, sign)
    return rate(hits(cases, threshold), cases["cluster"])


def shared_attributes(one: Cell, other: Cell) -> set[str]:
    """Return the attributes that both cells attack."""
    return set(one.cases["target"]) & set(other.cases["target"])


def joined(one: Cell, other: Cell) -> pd.DataFrame:
    """Return cases with an outcome in both: cluster; sign_x, success_x, pass_x of one, _y of the other."""
    return one.cases.merge(other.cases.drop(columns="cluster"), on=KEY)


def first_hit(joined: pd.DataFrame, side: str, threshold: float) -> pd.Series[bool]:
    """Return which joined cases one side ("x" or "y") flips with PASS >= threshold."""
    own = joined[[f"success_{side}", f"pass_{side}"]].set_axis(["success", "pass"], axis=1)
    return hits(own, threshold)


def named(cell: Cell, sign: str, threshold: float) -> str:
    """Describe a cell in few words."""
    return " ".join(_words(cell, sign, threshold))


def _words(cell: Cell, sign: str, threshold: float) -> list[str]:
    searched = search_text(cell.search) if cell.search else cell.threat
    return [cell.model, method_text(cell.method) + SIGN_TEXT[sign], searched, f"τ = {threshold:g}"]


def _apart(one: Side, other: Side, threshold: float) -> tuple[str, str, str]:
    """Return what two cells with a sign have in common, and in what each differs."""
    sides = list(zip(_words(*one, threshold), _words(*other, threshold), strict=True))
    same = ", ".join(first for first, second in sides if first == second)
    first, second = (" ".join(side[at] for side in sides if side[0] != side[1]) for at in (0, 1))
    return same, first, second
