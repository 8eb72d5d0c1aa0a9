"""Evidence: what the records say on a claim, and the verdict that follows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from harness.metrics import Estimate
from harness_bayes.analyses import drawing
from harness_bayes.analyses.study import CNN, Attacked, Data, Study, baseline

HOLDS, FAILS, OPEN = "holds", "does not hold", "cannot be judged"
WITHSTOOD = 0.95
"""A mean L2 over fewer of the right cases says so: those that withstood are in no mean."""


@dataclass(frozen=True, eq=False)
class Finding:
    """One comparison that the records allow."""

    ours: str
    holds: bool
    clear: bool
    """Whether the 95 % interval leaves no doubt."""
    used: tuple[Attacked, ...]


@dataclass(frozen=True)
class Missing:
    """One comparison that they do not allow, and why."""

    why: str


@dataclass(frozen=True, eq=False)
class Family:
    """All data sets that are made of the same images and classes."""

    study: Study
    items: tuple[Attacked, ...]
    """Of the attack that is judged by, on these data sets."""
    data: tuple[Data, ...]

    def of(self, group: str, kind: str) -> list[Attacked]:
        """What a kind of model did on data sets of a group; of CNNs those that others are variants of."""
        found = []
        for data in self.data:
            own = [item for item in self.items if item.data == data and item.model.kind == kind]
            if kind == CNN:
                plain = baseline([item.model for item in own])
                own = [item for item in own if plain is not None and item.model.label == plain.label]
            found += own if data.group == group else []
        return found

    def pairs(self, group: str, one: str, other: str) -> list[tuple[Attacked, Attacked]]:
        """Two kinds of models on the same data set of a group, under the same attack."""
        return [
            (first, second)
            for first in self.of(group, one)
            for second in self.of(group, other)
            if (first.data, first.attack, first.threat) == (second.data, second.attack, second.threat)
            or (first.data == second.data and first.attack == second.attack == "closest")
        ]


def families(study: Study, items: Sequence[Attacked]) -> list[Family]:
    """Data sets by what they are made of, in the order of the suite."""
    groups: dict[Any, list[Data]] = {}
    for data in study.datasets:
        groups.setdefault(data.family, []).append(data)
    return [
        Family(study, tuple(item for item in items if item.data in own), tuple(own))
        for own in groups.values()
    ]


def within(
    found: Estimate,
    what: str,
    used: Iterable[Attacked],
    *,
    at_least: float = float("-inf"),
    at_most: float = float("inf"),
    strict: bool = False,
    form: Callable[[float], str] = "{:.2f}".format,
) -> Finding | Missing:
    """Whether an estimate lies between two bounds; clearly, if all of its interval is inside or outside.

    Args:
        strict: it may not lie on a bound.
        form: how numbers are told.
    """
    used = tuple(used)
    if found.value is None:
        reasons = dict.fromkeys(f"{_named(item)}: {item.reason}" for item in used if item.reason)
        return Missing(f"{what}: " + ("; ".join(reasons) or "there is nothing to measure"))
    inside = at_least < found.value < at_most if strict else at_least <= found.value <= at_most
    told = f"{what} {form(found.value)}"
    if found.low is None or found.high is None:
        return Finding(f"{told} (no interval)", inside, False, used)
    clear = at_least < found.low <= found.high < at_most or found.high < at_least or found.low > at_most
    return Finding(f"{told} [{form(found.low)}, {form(found.high)}]", inside, clear, used)


def verdict(found: Sequence[Finding | Missing], missing: str) -> dict[str, Any]:
    """The columns of a judged claim: it holds if each comparison that could be made does.

    Args:
        missing: what is lacking where there is nothing to compare.
    """
    told = [finding for finding in found if isinstance(finding, Finding)]
    absent = [finding.why for finding in found if isinstance(finding, Missing)]
    if not told:
        empty: dict[str, Any] = {"ours": "", "comparisons": 0, "held": 0, "verdict": OPEN, "clear": None}
        return empty | {"coverage": None, "detail": "; ".join(absent) or missing}
    against = [finding for finding in told if not finding.holds]
    unclear = [finding for finding in told if not finding.clear]
    # One clear failure decides; else a claim is as clear as its least clear part.
    clear = any(finding.clear for finding in against) if against else not unclear
    parts = [f"{len(told) - len(against)} of {len(told)} comparisons hold"]
    doubtful = [finding.ours for finding in unclear if finding.holds]
    if doubtful:
        parts.append(f"{len(doubtful)} of these only within the 95 % interval: " + "; ".join(doubtful))
    if against:
        parts.append("against it: " + "; ".join(_told(finding) for finding in against))
    if absent:
        parts.append("not compared: " + "; ".join(absent))
    used = list({id(item): item for finding in told for item in finding.used}.values())
    parts += _reservations(used)
    covered = [item.coverage if item.coverage is not None else 0.0 for item in used]
    return {
        "ours": "; ".join(finding.ours for finding in told),
        "comparisons": len(told),
        "held": len(told) - len(against),
        "verdict": FAILS if against else HOLDS,
        "clear": clear,
        "coverage": min(covered) if covered else None,
        "detail": ". ".join(parts),
    }


def _told(finding: Finding) -> str:
    return finding.ours if finding.clear else f"{finding.ours} (within the interval)"


def _reservations(used: Sequence[Attacked]) -> list[str]:
    """What the numbers do not cover: cases without outcome, and cases that withstood."""
    told = [
        f"{_named(item)}: incomplete, {len(item.cases):,} of {item.planned:,} planned cases have an outcome"
        for item in used
        if item.coverage is None or item.coverage < 1
    ]
    for item in used:
        found = item.success
        if item.unlimited and found.value is not None and found.value < WITHSTOOD:
            told.append(
                f"{_named(item)}: {drawing.percent(found.value)} of the right cases were broken, those that "
                "withstood are in no mean"
            )
    return told


def _named(item: Attacked) -> str:
    return f"{item.model.label} on {item.data.label}"
