"""Evidence: rates and paired differences of one data set's models, as the paper's claims need them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import pandas as pd

from harness.metrics import Estimate, mean, rate
from harness_attributes.analyses.drawing import SEARCH_TEXT, SIGN_TEXT, method_text
from harness_attributes.analyses.selections import Cell, Study, hits, of_sign

KEY = ["sample_id", "target"]
YES, NO, OPEN = "yes", "no", "not measured"


@dataclass(frozen=True)
class Finding:
    """What the records say on one part of a claim."""

    ours: str
    holds: bool
    clear: bool
    """Whether the intervals leave no doubt."""


@dataclass(frozen=True)
class Evidence:
    """The cells of one data set."""

    study: Study
    dataset: str

    @property
    def cells(self) -> list[Cell]:
        """Cells in which the model itself was attacked."""
        return [cell for cell in self.study.cells if cell.dataset == self.dataset]

    @property
    def converged(self) -> list[Cell]:
        """Those of converged networks; the trivial classifier is none."""
        return [cell for cell in self.cells if not cell.early and cell.model_kind != "majority"]

    def pairs(self, first: Iterable[Cell], second: Iterable[Cell], *same: str) -> list[tuple[Cell, Cell]]:
        """Cells of ``first`` and of ``second`` that agree in the named fields."""
        others = list(second)
        return [
            (one, other)
            for one in first
            for other in others
            if all(getattr(one, name) == getattr(other, name) for name in same)
        ]

    def rate(
        self, cell: Cell, sign: str, threshold: float, attributes: Collection[str] | None = None
    ) -> Estimate:
        """The share of a cell's cases that are flipped with PASS >= threshold, of these attributes."""
        cases = of_sign(self.study.cases[cell.id], sign)
        if attributes is not None:
            cases = cases[cases["target"].isin(list(attributes))]
        return rate(hits(cases, threshold).to_numpy(bool), pd.factorize(cases["sample_id"])[0])

    def common(self, one: Cell, other: Cell) -> set[str]:
        """The attributes that both cells attack."""
        return set(self.study.cases[one.id]["target"]) & set(self.study.cases[other.id]["target"])

    def larger(
        self,
        one: tuple[Cell, str],
        other: tuple[Cell, str],
        threshold: float,
        *,
        shared: bool = False,
        strict: bool = False,
    ) -> Finding | None:
        """Whether the first cell's rate on cases of a sign is at least the second's; see ``at_least``.

        Args:
            one: cell and sign.
            other: cell and sign.
            shared: only of the attributes that both cells attack.
        """
        attributes = self.common(one[0], other[0]) if shared else None
        first, second = (self.rate(*side, threshold, attributes) for side in (one, other))
        return at_least(first, second, *_apart(one, other, threshold), strict=strict)

    def joined(self, one: Cell, other: Cell) -> pd.DataFrame:
        """Cases with an outcome in both: sign_x and success_x, pass_x of the first, _y of the second."""
        return self.study.cases[one.id].merge(self.study.cases[other.id], on=KEY)


def at_least(
    first: Estimate, second: Estimate, same: str, one: str, other: str, *, strict: bool = False
) -> Finding | None:
    """Whether one estimate is at least the other, and clearly so; None where either is of nothing.

    Args:
        same: what both are of; ``one`` and ``other`` say in what they differ.
        strict: it has to be larger.
    """
    if first.value is None or second.value is None:
        return None
    clear = first.low is not None and second.high is not None and first.low > second.high
    contrary = first.high is not None and second.low is not None and first.high < second.low
    holds = first.value > second.value or (first.value == second.value and not strict)
    told = f"{same}: {one} {percent(first)} vs {other} {percent(second)}"
    return Finding(told, holds, clear or contrary)


def above(
    found: Estimate, bound: float, what: str, *, unit: str = "%", strict: bool = False
) -> Finding | None:
    """Whether an estimate is at least a bound, or larger, and clearly so; None where it is of nothing."""
    if found.value is None:
        return None
    low = found.value if found.low is None else found.low
    high = found.value if found.high is None else found.high
    holds = found.value > bound or (found.value == bound and not strict)
    return Finding(f"{what}: {percent(found, unit)}", holds, low > bound or high < bound)


def difference(values: pd.Series[float], images: pd.Series[str]) -> Estimate:
    """The mean of paired differences, with a bootstrap over images."""
    return mean(values.to_numpy(float), pd.factorize(images)[0])


def first_hit(joined: pd.DataFrame, side: str, threshold: float) -> pd.Series[bool]:
    """Which joined cases one side ("x" or "y") flips with PASS >= threshold."""
    own = joined[[f"success_{side}", f"pass_{side}"]].set_axis(["success", "pass"], axis=1)
    return hits(own, threshold)


def named(cell: Cell, sign: str, threshold: float) -> str:
    """A cell in few words."""
    return " ".join(_words(cell, sign, threshold))


def percent(found: Estimate, unit: str = "%") -> str:
    """ "36.6 % [36.1, 37.1]"; the interval is left out where there is none."""
    if found.value is None:
        return "none"
    told = f"{100 * found.value:.1f} {unit}"
    if found.low is None or found.high is None:
        return told
    return f"{told} [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def _words(cell: Cell, sign: str, threshold: float) -> list[str]:
    searched = SEARCH_TEXT.get(cell.search, cell.search) if cell.search else cell.threat
    return [cell.model, method_text(cell.method) + SIGN_TEXT[sign], searched, f"τ = {threshold:g}"]


def _apart(one: tuple[Cell, str], other: tuple[Cell, str], threshold: float) -> tuple[str, str, str]:
    """What two cells with a sign have in common, and in what each differs."""
    sides = list(zip(_words(*one, threshold), _words(*other, threshold), strict=True))
    same = ", ".join(first for first, second in sides if first == second)
    first, second = (" ".join(side[at] for side in sides if side[0] != side[1]) for at in (0, 1))
    return same, first, second


def verdict(found: list[Finding | None], missing: str) -> dict[str, str | int]:
    """The columns ours, holds and detail of a claim: it holds if each of its parts does.

    Args:
        missing: what is lacking where nothing was measured.
    """
    told = [finding for finding in found if finding is not None]
    if not told:
        return {"ours": "", "comparisons": 0, "held": 0, "holds": OPEN, "detail": missing}
    against = [finding for finding in told if not finding.holds]
    doubtful = [finding for finding in told if not finding.clear]
    parts = [f"{len(told) - len(against)} of {len(told)} comparisons hold"]
    if against:
        parts.append("against it: " + "; ".join(_told(finding) for finding in against))
    within = [finding for finding in doubtful if finding.holds]
    if within:
        parts.append(
            f"{len(within)} only within the interval: " + "; ".join(finding.ours for finding in within)
        )
    return {
        "ours": "; ".join(finding.ours for finding in told),
        "comparisons": len(told),
        "held": len(told) - len(against),
        "holds": NO if against else YES,
        "detail": ". ".join(parts),
    }


def _told(finding: Finding) -> str:
    return finding.ours if finding.clear else f"{finding.ours} (within the interval)"
