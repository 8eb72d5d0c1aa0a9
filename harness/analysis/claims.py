"""Claims are what a paper states; each is held against records, and gets a verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import pandas as pd

from harness.analysis import drawing
from harness.analysis.reading import typed
from harness.metrics import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HOLDS, FAILS, OPEN = "holds", "does not hold", "cannot be judged"
Form = Callable[[float], str]
"""How a number is told, such as ``drawing.percent``."""


class Basis(Protocol):
    """A basis is what a number is computed from, such as a model under an attack."""

    @property
    def name(self) -> str:
        """Return what details call it."""

    @property
    def coverage(self) -> float | None:
        """Return the share of its planned cases that have an outcome; None where the plan is not known."""

    @property
    def reason(self) -> str | None:
        """Return why a number of it is missing; None where none is."""


@dataclass(frozen=True, eq=False)
class Finding:
    """A finding is one comparison that the records allow."""

    text: str
    holds: bool
    clear: bool
    """Whether the 95 % interval leaves no doubt; without clear findings a claim cannot be judged."""
    used: tuple[Any, ...] = ()
    """What its numbers are of, each a ``Basis``."""


@dataclass(frozen=True)
class Missing:
    """A comparison is missing where the records do not allow it."""

    why: str


Judged = Iterable[Finding | Missing]


@dataclass(frozen=True)
class Claim:
    """A claim is a statement of a paper, with a judge."""

    name: str
    paper: str
    """The paper's figures, in words."""
    conditions: str
    """What it is judged on, and from where on it holds; names in braces stand for bars."""
    judge: Callable[[Any, Any], Judged]
    """(subject, bars) → one finding for each comparison."""
    missing: str
    """What is lacking where nothing can be compared."""
    short: str = ""
    """What a figure calls it; its name by default."""


@dataclass(frozen=True)
class Quote:
    """A quote is a number that others published."""

    name: str
    value: float
    of: str
    """The data that it is of."""
    source: str


# --- one comparison ---------------------------------------------------------------------------------------


def told(found: Estimate, form: Form = drawing.number, ends: Form | None = None) -> str:
    """Return an estimate in words, "0.52 [0.41, 0.63]".

    Args:
        ends: how the ends of the interval are told; as the number itself by default.
    """
    if found.value is None:
        return "none"
    if found.low is None or found.high is None:
        return f"{form(found.value)} (no interval)"
    ends = ends or form
    return f"{form(found.value)} [{ends(found.low)}, {ends(found.high)}]"


def within(
    found: Estimate,
    what: str,
    *,
    at_least: float = float("-inf"),
    at_most: float = float("inf"),
    strict: bool = False,
    form: Form = drawing.number,
    ends: Form | None = None,
    used: Iterable[Basis] = (),
) -> Finding | Missing:
    """Judge whether an estimate lies between two bounds; clearly, if its whole interval is inside or outside.

    Args:
        what: what is estimated; its number follows in the text.
        strict: it may not lie on a bound.
        form: how numbers are told, and ``ends`` those of the interval.
    """
    used = tuple(used)
    if found.value is None:
        return _missing(what, used)
    inside = at_least < found.value < at_most if strict else at_least <= found.value <= at_most
    text = f"{what} {told(found, form, ends)}"
    if found.low is None or found.high is None:
        return Finding(text, inside, False, used)
    clear = at_least < found.low <= found.high < at_most or found.high < at_least or found.low > at_most
    return Finding(text, inside, clear, used)


def larger(
    first: Estimate,
    second: Estimate,
    difference: Estimate,
    what: str,
    *,
    names: tuple[str, str] = ("first", "second"),
    form: Form = drawing.number,
    ends: Form | None = None,
    apart: Form | None = None,
    used: Iterable[Basis] = (),
) -> Finding | Missing:
    """Judge whether the first estimate is the larger one; clearly, if the interval of the difference says so.

    Args:
        difference: first - second. On shared cases it is that of ``metrics.paired``, whose interval is
            narrower than those of the two suggest.
        what: what both are of; ``names`` say in what they differ.
        form: how numbers are told, ``ends`` those of the intervals, and ``apart`` the difference.
    """
    used = tuple(used)
    if first.value is None or second.value is None or difference.value is None:
        return _missing(what, used)
    sides = [f"{name} {told(side, form, ends)}" for name, side in zip(names, (first, second), strict=True)]
    text = f"{what}: {' vs '.join(sides)}, difference {told(difference, apart or form, ends)}"
    clear = None not in (difference.low, difference.high) and not (
        float(difference.low or 0.0) <= 0 <= float(difference.high or 0.0)
    )
    return Finding(text, difference.value > 0, clear, used)


def _missing(what: str, used: Iterable[Basis]) -> Missing:
    reasons = dict.fromkeys(f"{item.name}: {item.reason}" for item in used if item.reason)
    told = "; ".join(reasons) or "there is nothing to measure"
    return Missing(f"{what.removesuffix(':')}: {told}")


# --- verdicts ---------------------------------------------------------------------------------------------


def verdict(
    found: Iterable[Finding | Missing],
    missing: str,
    reservations: Callable[[Sequence[Any]], Iterable[str]] | None = None,
) -> dict[str, Any]:
    """Return the columns of a judged claim.

    It holds if every comparison that could be made clearly holds, and does not hold if one is clearly
    against it. What lies within the 95 % interval decides nothing: with such comparisons alone, or beside
    those that hold, it cannot be judged; the counts tell how near it is to either.

    Args:
        missing: what is lacking where there is nothing to compare.
        reservations: what is to be said of all that the findings used.
    """
    found = list(found)
    findings = [item for item in found if isinstance(item, Finding)]
    absent = [item.why for item in found if isinstance(item, Missing)]
    if not findings:
        open_: dict[str, Any] = {"ours": "", "comparisons": 0, "held": 0, "undecided": 0, "against": 0}
        return open_ | {"verdict": OPEN, "coverage": None, "detail": "; ".join(absent) or missing}
    against = [item for item in findings if item.clear and not item.holds]
    unclear = [item for item in findings if not item.clear]
    used = list({id(basis): basis for item in findings for basis in item.used}.values())
    covered = [basis.coverage or 0.0 for basis in used]
    return {
        "ours": "; ".join(item.text for item in findings),
        "comparisons": len(findings),
        "held": len(findings) - len(against) - len(unclear),
        "undecided": len(unclear),
        "against": len(against),
        "verdict": FAILS if against else OPEN if unclear else HOLDS,
        "coverage": min(covered) if covered else None,
        "detail": ". ".join([*_parts(findings, absent), *(reservations(used) if reservations else ())]),
    }


def _parts(findings: Sequence[Finding], absent: Sequence[str]) -> list[str]:
    against = [item.text for item in findings if item.clear and not item.holds]
    doubtful = [item.text for item in findings if not item.clear]
    held = len(findings) - len(against) - len(doubtful)
    parts = [f"{held} of {len(findings)} comparisons clearly hold"]
    if against:
        parts.append(f"{len(against)} clearly against it: " + "; ".join(against))
    if doubtful:
        parts.append(f"{len(doubtful)} within the 95 % interval: " + "; ".join(doubtful))
    if absent:
        parts.append("not compared: " + "; ".join(absent))
    return parts


def table(
    claims: Iterable[Claim],
    subjects: Iterable[Any],
    bars: Any = None,
    reservations: Callable[[Sequence[Any]], Iterable[str]] | None = None,
) -> pd.DataFrame:
    """Judge claims on subjects: one row per subject and claim; see ``verdict`` for the columns.

    Args:
        subjects: what claims are judged on, such as the cells of one data set; the mapping ``identity`` of
            each tells it from others.
        bars: from where on claims hold; the mapping ``told`` has what stands for the names in braces in
            their conditions. None where they have none.
    """
    claims = list(claims)
    rows = (
        {
            **subject.identity,
            "claim": claim.name,
            "paper": claim.paper,
            "conditions": claim.conditions.format(**bars.told if bars else {}),
            **verdict(claim.judge(subject, bars), claim.missing, reservations),
        }
        for subject in subjects
        for claim in claims
    )
    return typed(rows)


# --- figure -----------------------------------------------------------------------------------------------

TINTS = {HOLDS: "#0072B2", FAILS: "#D55E00", OPEN: "0.93"}


def figure(table: pd.DataFrame, claims: Iterable[Claim], columns: str = "task") -> Figure:
    """Draw a table of claims as a grid of verdicts, a line for each claim.

    Args:
        columns: the column of the table whose values stand side by side, with what they stand in for.
    """
    short = {claim.name: claim.short or claim.name for claim in claims}
    identity = list(table)[: list(table).index("claim")]
    subjects = list(table.groupby(identity, sort=False, dropna=False))
    drawn = drawing.figure(1.5 * len(subjects) + 5.6, 0.4 * len(short) + 1.4)
    axes: Any = drawn.subplots()
    for x, (_, rows) in enumerate(subjects):
        for y, row in enumerate(rows.to_dict("records")):
            _tile(axes, x, y, row)
    heads = [rows.iloc[0] for _, rows in subjects]
    stands = [row.get("stand_in_for") for row in heads]
    labels = [
        drawing.spaced(str(row[columns])) + (f"\n(stand-in\nfor {stand})" if isinstance(stand, str) else "")
        for row, stand in zip(heads, stands, strict=True)
    ]
    axes.set_xticks(range(len(labels)), labels, fontsize=8.5)
    drawing.category_axis(axes, short.values(), along="y")
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    axes.set_xlim(-0.5, len(labels) - 0.5)
    axes.spines[:].set_visible(False)
    drawing.legend_beside(drawn, TINTS)
    return drawn


def _tile(axes: Any, x: int, y: int, row: Mapping[Any, Any]) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((x - 0.48, y - 0.45), 0.96, 0.9, color=TINTS[row["verdict"]], linewidth=0))
    text = str(row["verdict"])
    if row["comparisons"]:
        text += f"\n{row['held']} of {row['comparisons']}"
        if row["against"]:
            text += f", {row['against']} against"
        if not row["coverage"] >= 1:
            text += " (incomplete)"
    colour = "black" if row["verdict"] == OPEN else "white"
    axes.text(x, y, text, ha="center", va="center", fontsize=7.5, color=colour)
