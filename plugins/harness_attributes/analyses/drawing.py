"""Drawing: colours, names and titles that the figures of the study share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
"""Told apart by colour-blind readers too (Okabe and Ito 2008), the strongest first."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
SIGN_TEXT = {"+": "+", "-": "−", "both": "±"}
SEARCH_TEXT = {"line": "line search", "iterative": "iterative", "": "no search"}


def spaced(name: str) -> str:
    """An attribute's name as people read it."""
    return name.replace("_", " ")


def method_text(method: str) -> str:
    """An attack's name as people read it: "ffa" → "FFA", "ffa[max_steps=9]" → "FFA[max_steps=9]"."""
    name, bracket, rest = method.partition("[")
    head, blank, threat = name.partition(" ")
    return (head.upper() if len(head) <= 4 else head) + blank + threat + bracket + rest


def dataset_text(dataset: str, stand_in_for: str | None) -> str:
    """A data set, and what it stands in for."""
    return f"{dataset}, a stand-in for {stand_in_for}" if stand_in_for else dataset


def threshold_text(threshold: float) -> str:
    """ "PASS ≥ 0.95", or that any PASS will do."""
    return f"PASS ≥ {threshold:g}" if threshold > 0 else "any PASS"


def range_text(numbers: Iterable[int]) -> str:
    """ "1,000", or "990 to 1,000" where they differ."""
    values = sorted(set(numbers))
    if not values:
        return "0"
    return f"{values[0]:,}" if len(values) == 1 else f"{values[0]:,} to {values[-1]:,}"


def style(position: int) -> tuple[str, str]:
    """Colour and marker of a series by its position; after eight, the colours come with other markers."""
    turn, place = divmod(position, len(COLOURS))
    return COLOURS[place], MARKERS[(place + turn) % len(MARKERS)]


def new_figure(width: float, height: float) -> Figure:
    """A figure of width x height inches, whose parts make room for each other."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def panels(figure: Figure, rows: int, columns: int, **options: Any) -> list[list[Axes]]:
    """A grid of axes, always as rows of columns."""
    grid: list[list[Axes]] = figure.subplots(rows, columns, squeeze=False, **options).tolist()
    return grid


def percent_axis(axes: Axes, *, top: float = 100.0) -> None:
    """The vertical axis in percent, with a light grid."""
    axes.set_ylim(-0.02 * top, 1.03 * top)
    axes.set_ylabel("%")
    axes.grid(axis="y", color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def attribute_axis(axes: Axes, names: Sequence[str]) -> None:
    """The horizontal axis with a tick for each attribute."""
    axes.set_xticks(range(len(names)), [spaced(name) for name in names])
    axes.tick_params(axis="x", labelrotation=90 if len(names) > 10 else 45)
    if len(names) <= 10:
        for label in axes.get_xticklabels():
            label.set_horizontalalignment("right")
            label.set_rotation_mode("anchor")
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.grid(axis="x", color="0.95", linewidth=0.8)


def legend_beside(axes: Axes, title: str | None = None) -> None:
    """The legend to the right of a panel, where it covers nothing."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        axes.legend(
            handles,
            labels,
            title=title,
            loc="upper left",
            bbox_to_anchor=(1.01, 1.0),
            borderaxespad=0.0,
            frameon=False,
            fontsize=9,
            alignment="left",
        )
