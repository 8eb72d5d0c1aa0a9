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
    """Whether the 95 % interval leaves no doubt."""
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
    what: str,
    *,
    names: tuple[str, str] = ("first", "second"),
    strict: bool = False,
    form: Form = drawing.number,
    ends: Form | None = None,
    used: Iterable[Basis] = (),
) -> Finding | Missing:
    """Judge whether the first estimate is at least the second; clearly, if their intervals lie apart.

    Args:
        what: what both are of; ``names`` say in what they differ.
        strict: it has to be larger.
    """
    used = tuple(used)
    if first.value is None or second.value is None:
        return _missing(what, used)
    holds = first.value > second.value or (first.value == second.value and not strict)
    sides = [f"{name} {told(side, form, ends)}" for name, side in zip(names, (first, second), strict=True)]
    return Finding(f"{what}: {' vs '.join(sides)}", holds, _apart(first, second), used)


def _apart(first: Estimate, second: Estimate) -> bool:
    ends = (first.low, first.high, second.low, second.high)
    if any(end is None for end in ends):
        return False
    low, high, under, over = (float(end or 0.0) for end in ends)
    return low > over or high < under


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
    """Return the columns of a judged claim: it holds if each comparison that could be made does.

    Args:
        missing: what is lacking where there is nothing to compare.
        reservations: what is to be said of all that the findings used.
    """
    found = list(found)
    findings = [item for item in found if isinstance(item, Finding)]
    absent = [item.why for item in found if isinstance(item, Missing)]
    if not findings:
        open_: dict[str, Any] = {"ours": "", "comparisons": 0, "held": 0, "verdict": OPEN, "clear": None}
        return open_ | {"coverage": None, "detail": "; ".join(absent) or missing}
    against = [item for item in findings if not item.holds]
    unclear = [item for item in findings if not item.clear]
    used = list({id(basis): basis for item in findings for basis in item.used}.values())
    covered = [basis.coverage or 0.0 for basis in used]
    return {
        "ours": "; ".join(item.text for item in findings),
        "comparisons": len(findings),
        "held": len(findings) - len(against),
        "verdict": FAILS if against else HOLDS,
        # One clear failure decides; else a claim is as clear as its least clear part.
        "clear": any(item.clear for item in against) if against else not unclear,
        "coverage": min(covered) if covered else None,
        "detail": ". ".join([*_parts(findings, absent), *(reservations(used) if reservations else ())]),
    }


def _parts(findings: Sequence[Finding], absent: Sequence[str]) -> list[str]:
    against = [item for item in findings if not item.holds]
    doubtful = [item.text for item in findings if item.holds and not item.clear]
    parts = [f"{len(findings) - len(against)} of {len(findings)} comparisons hold"]
    if doubtful:
        parts.append(f"{len(doubtful)} of these only within the 95 % interval: " + "; ".join(doubtful))
    if against:
        doubt = [item.text if item.clear else f"{item.text} (within the interval)" for item in against]
        parts.append("against it: " + "; ".join(doubt))
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
    return typed(rows).astype({"clear": "boolean"})


# --- figure -----------------------------------------------------------------------------------------------

# The lighter tints are within the interval.
TINTS = {
    (HOLDS, True): "#0072B2", (HOLDS, False): "#9CCBE8", (FAILS, True): "#D55E00", (FAILS, False): "#F4C09A",
}  # fmt: skip
UNJUDGED = "0.93"


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
    words = {True: "", False: ", within the\n95 % interval"}
    entries = {f"{word}{words[clear]}": tint for (word, clear), tint in TINTS.items()}
    drawing.legend_beside(drawn, entries | {OPEN: UNJUDGED})
    return drawn


def _tile(axes: Any, x: int, y: int, row: Mapping[Any, Any]) -> None:
    from matplotlib.patches import Rectangle

    judged = row["verdict"] != OPEN
    clear = judged and bool(row["clear"])
    tint = TINTS[row["verdict"], clear] if judged else UNJUDGED
    axes.add_patch(Rectangle((x - 0.48, y - 0.45), 0.96, 0.9, color=tint, linewidth=0))
    text = f"{row['verdict']}\n{row['held']} of {row['comparisons']}" if judged else "not judged"
    if judged and not row["coverage"] >= 1:
        text += " (incomplete)"
    axes.text(
        x, y, text, ha="center", va="center", fontsize=7.5, color="white" if clear else "black"
    )  # fmt: skip
