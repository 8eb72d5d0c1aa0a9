"""The cost curve shows on what share of cases an attack has succeeded after so many passes.

Cases on which it never succeeds are censored: all that is known of them is that the passes spent on them were
not enough. They stay in the denominator, and a curve ends, with a mark, at the most that was spent on a case.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from harness.analysis import drawing
from harness.analysis.analysis import Analysis
from harness.errors import HarnessError
from harness.metrics import rate
from harness.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    Numbers = npt.NDArray[np.floating[Any]]

CELL = ("dataset", "goal", "model", "attack", "threat", "stand_in_for")
PANEL = ("dataset", "goal", "model", "stand_in_for")
RECORD = ("cluster", "clean_correct", "success", "error", "forwards", "backwards", "found", "seconds")
LINES = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)))
"""One for each threat of an attack; its colour and marker are the attack's."""
ACROSS = 3
"""Panels side by side."""


@dataclass(frozen=True)
class Spent:
    """Spent is the cost of the cases of a cell that were classified correctly before the attack."""

    clusters: npt.NDArray[np.intp]  # (N,) codes
    passes: Numbers  # (N,) forward and backward, until the returned image was found or else in all
    whole: Numbers  # (N,) in all
    seconds: Numbers  # (N,)
    success: npt.NDArray[np.bool_]  # (N,)


def run(results: Results, *, points: int = 200) -> Analysis:
    """Return the share of cases on which an attack has succeeded after so many passes, per model and attack.

    Rows: cell x passes; those at which the share rises, at most ``points`` of them, and one at the most that
    was spent on a case (``last``). Over correctly classified cases that have an outcome;
    transferred adversarials cost this model nothing and are left out. An attack that says when it found its
    image is charged until then, its backward passes in proportion; another is charged all that it spent on
    the case. ``mean_passes`` is what a case costs on average if every attack is stopped after ``passes``.

    Args:
        points: rows per cell.

    Raises:
        HarnessError: nothing has been attacked.
    """
    cells = results.cells()
    cells = cells[(cells["status"] != "skipped") & cells["surrogate"].isna()]
    rows: list[dict[str, Any]] = []
    for place, same in cells.groupby(list(CELL), dropna=False):  # a row of the board at a time
        spent = _spent(results.samples(RECORD, {"cell": list(same["cell"])}))
        if spent.success.size:
            rows += [dict(zip(CELL, place, strict=True)) | row for row in curve(spent, points)]
    if not rows:
        raise HarnessError(
            f"{results.path}: no case that was classified correctly before an attack has an outcome"
        )
    table = pd.DataFrame(rows)
    table["stand_in_for"] = table["stand_in_for"].astype(object).where(table["stand_in_for"].notna(), None)
    return Analysis(table, _figure(table))


def _spent(cases: pd.DataFrame) -> Spent:
    """Return what was spent on the cases that were right and have an outcome and a cost."""
    kept = cases["error"].isna() & cases["clean_correct"].eq(True) & cases["success"].notna()
    cases = cases[kept & cases["forwards"].notna()]
    forwards, backwards = (cases[name].fillna(0).to_numpy(np.float64) for name in ("forwards", "backwards"))
    found = cases["found"].to_numpy(np.float64, na_value=np.nan)  # null in folders of earlier versions
    success = cases["success"].to_numpy(bool)
    until = np.where(success & ~np.isnan(found), np.minimum(found, forwards), forwards)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(forwards > 0, until / forwards, 1.0)
    return Spent(
        clusters=np.unique(cases["cluster"].to_numpy(str), return_inverse=True)[1],
        passes=until + np.round(backwards * share),
        whole=forwards + backwards,
        seconds=cases["seconds"].fillna(0).to_numpy(np.float64),
        success=success,
    )


def curve(spent: Spent, points: int) -> list[dict[str, Any]]:
    """Return the rows of one cell, by rising passes; the last is at the most that was spent on a case."""
    n = spent.success.size
    ends = float(max(spent.whole.max(), spent.passes.max()))
    at = np.sort(spent.passes[spent.success])
    steps = np.unique(at)
    if steps.size > points:  # those that keep the shape: equal parts of the successes
        steps = np.unique(at[np.linspace(0, at.size - 1, points).round().astype(int)])
    steps = np.append(steps[steps < ends], ends)
    # A case is charged until the attack succeeds; otherwise until the attack gave up or is stopped.
    charged = np.sort(np.where(spent.success, spent.passes, spent.whole))
    summed = np.concatenate([[0.0], np.cumsum(charged)])
    rows = []
    for passes in steps.tolist():
        fooled = spent.success & (spent.passes <= passes)
        under = int(np.searchsorted(charged, passes, side="right"))
        estimate = rate(fooled, spent.clusters)
        rows.append(
            {
                "passes": int(passes),
                "successes": int(np.count_nonzero(fooled)),
                "n": n,
                "rate": estimate.value,
                "low": estimate.low,
                "high": estimate.high,
                "mean_passes": (summed[under] + (n - under) * passes) / n,
                "mean_seconds": float(spent.seconds.mean()),
                "last": passes == ends,
            }
        )
    return rows


def _figure(table: pd.DataFrame) -> Figure | None:
    """Draw a panel per model, a line per attack and threat; None where no attack asked the model anything."""
    drawn = table[table.groupby(list(CELL), dropna=False)["passes"].transform("max") > 0]
    if drawn.empty:
        return None
    panels = list(drawn.groupby(list(PANEL), dropna=False))
    places = [f"{drawing.dataset_text(key[0], key[3])}, {key[1]}" for key, _ in panels]
    several = len(set(places)) > 1
    styles = _styles(drawn)
    across = 2 if len(panels) == 4 else min(ACROSS, len(panels))
    longest = max(len(f"{attack}, {threat}") for attack, threat in styles)
    height = max(3.5 * -(-len(panels) // across) + 0.5, 0.24 * len(styles) + 0.6)
    figure = drawing.figure(4.4 * across + 0.9 + 0.075 * longest, height)
    placed = drawing.panels(figure, panels, across, sharex=True, sharey=True)
    for at, (axes, (key, rows)) in enumerate(placed):
        for (attack, threat), line in rows.groupby(["attack", "threat"]):
            _draw(axes, line, styles[str(attack), str(threat)])
        axes.set_title(f"{key[2]}\n{places[at]}" if several else str(key[2]), fontsize=10)
        _arrange(axes, left=at % across == 0, bottom=at + across >= len(panels))
        axes.xaxis.set_major_locator(_ticks(drawn["passes"]))
    entries = {f"{attack}, {threat}": look for (attack, threat), look in styles.items()}
    drawing.legend_beside(figure, entries, handlelength=3.5)
    # A single data set and goal stand above all panels.
    told = ["Cases fooled, of those classified correctly", *([] if several else places[:1])]
    drawing.title(figure, ": ".join(told))
    return figure


def _styles(drawn: pd.DataFrame) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the look of each attack and threat in all panels: a colour by attack, a line by threat."""
    styles = {}
    for place, (attack, rows) in enumerate(drawn.groupby("attack", sort=True)):
        for turn, threat in enumerate(sorted(rows["threat"].unique(), key=_by_number)):
            line = {"linestyle": LINES[turn % len(LINES)], "linewidth": 1.5, "markersize": 5.5}
            styles[str(attack), str(threat)] = drawing.style(place) | line
    return styles


def _by_number(threat: str) -> tuple[Any, ...]:
    """Return a key that sorts threats by norm and budget, 2/255 before 16/255."""
    norm, _, rest = threat.partition(" ")
    top, _, bottom = rest.partition(" ")[0].partition("/")
    try:
        return norm, 0, float(top) / float(bottom or 1), threat
    except (ValueError, ZeroDivisionError):
        return norm, 1, 0.0, threat


def _draw(axes: Axes, line: pd.DataFrame, style: dict[str, Any]) -> None:
    """Draw a step for each success, and a mark where the attack ended."""
    # A logarithmic axis has no 0: what cost nothing stands at 1.
    passes = line["passes"].to_numpy(float).clip(1)
    shares = 100 * line["rate"].to_numpy(float)
    steps = np.concatenate([passes[:1], passes]), np.concatenate([[0.0], shares])
    axes.plot(*steps, drawstyle="steps-post", **(style | {"marker": None}))
    axes.plot(passes[-1:], shares[-1:], **style)


def _ticks(passes: pd.Series[int]) -> LogLocator:
    """Place ticks at powers of ten, and at their threefold where there is room for that."""
    from matplotlib.ticker import LogLocator

    return LogLocator(subs=(1.0, 3.0) if passes.max() < 100 * max(passes.min(), 1) else (1.0,))


def _arrange(axes: Axes, *, left: bool, bottom: bool) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_ylim(-3, 103)
    drawing.plain_axes(axes, "both")
    axes.tick_params(labelbottom=bottom, labelleft=left)
    if left:
        axes.set_ylabel("% fooled")
    if bottom:
        axes.set_xlabel("passes per case, forward and backward")
