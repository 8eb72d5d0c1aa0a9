"""All figures of analyses share these colours, axes, legends and titles."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from harness.metrics import Estimate

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Thing = TypeVar("Thing")
Along = Literal["x", "y"]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
"""Colour-blind readers can tell them apart too (Okabe and Ito 2008); the strongest come first."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
GRID: dict[str, Any] = {"color": "0.92", "linewidth": 0.8}
BESIDE = 2.9
"""Inches that a legend beside the panels takes of a figure's width."""


# --- words ------------------------------------------------------------------------------------------------


def number(value: float) -> str:
    """Return a number as people read it: "0.52"."""
    return f"{value:.2f}"


def percent(value: float) -> str:
    """Return a share in percent: "97.5 %"."""
    return f"{100 * value:.1f} %"


def points(value: float) -> str:
    """Return a difference of shares in percentage points: "+1.5 points"."""
    return f"{100 * value:+.1f} points"


def spaced(name: str) -> str:
    """Return an attribute's name as people read it: "Wearing Hat"."""
    return name.replace("_", " ")


def dataset_text(dataset: object, stand_in_for: object) -> str:
    """Return name a data set, and what it stands in for."""
    return f"{dataset}, a stand-in for {stand_in_for}" if isinstance(stand_in_for, str) else str(dataset)


def range_text(numbers: Iterable[int]) -> str:
    """Return "1,000", or "990 to 1,000" where the numbers differ."""
    values = sorted(set(numbers)) or [0]
    return f"{values[0]:,}" if len(values) == 1 else f"{values[0]:,} to {values[-1]:,}"


# --- figures and axes -------------------------------------------------------------------------------------


def style(position: int) -> dict[str, Any]:
    """Return colour and marker of a series by its position; after eight, colours come with other markers."""
    turn, place = divmod(position, len(COLOURS))
    return {"color": COLOURS[place], "marker": MARKERS[(place + turn) % len(MARKERS)]}


def figure(width: float, height: float, **options: Any) -> Figure:
    """Return an empty figure of width x height inches, whose parts make room for each other."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), **({"layout": "constrained"} | options))


def panels(
    figure: Figure, things: Iterable[Thing], across: int = 4, **options: Any
) -> list[tuple[Axes, Thing]]:
    """Return axes for each thing, in rows of at most ``across``; the rest of the grid is hidden.

    Args:
        options: of ``Figure.subplots``, such as sharex or height_ratios.
    """
    things = list(things)
    across = min(across, len(things))
    grid = figure.subplots(-(-len(things) // across), across, squeeze=False, **options)
    for axes in grid.flat[len(things) :]:
        axes.set_visible(False)
    return list(zip(grid.flat, things, strict=False))


def plain_axes(axes: Axes, grid: Literal["x", "y", "both"] | None = None) -> None:
    """Remove the frame above and to the right; draw a light grid along "x", "y" or "both"."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if grid:
        axes.grid(axis=grid, **GRID)
        axes.set_axisbelow(True)


def percent_axis(axes: Axes, label: str = "%", *, top: float = 100.0) -> None:
    """Make the vertical axis one of percent, with a light grid."""
    axes.set_ylim(-0.02 * top, 1.03 * top)
    axes.set_ylabel(label)
    plain_axes(axes, "y")


def category_axis(axes: Axes, names: Iterable[str], along: Along = "x") -> None:
    """Give each name a place on an axis: 0, 1, … from the left, or from the top."""
    names = list(names)
    if along == "y":
        axes.set_yticks(range(len(names)), names, fontsize=8)
        axes.set_ylim(len(names) - 0.45, -0.55)
        return
    axes.set_xticks(range(len(names)), names)
    axes.tick_params(axis="x", labelrotation=90 if len(names) > 10 else 45)
    if len(names) <= 10:
        for label in axes.get_xticklabels():
            label.set(horizontalalignment="right", rotation_mode="anchor")
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.grid(axis="x", **GRID)


def interval(
    axes: Axes, at: float, found: Estimate, *, scale: float = 1.0, along: Along = "x", **look: Any
) -> None:
    """Draw an estimate as a mark on a line from end to end of its interval; nothing where there is none.

    Args:
        at: the place on the other axis.
        scale: what numbers are multiplied with, such as 100 for percent.
        along: the axis of the numbers.
        look: of the mark, as ``Axes.plot`` takes it; the line has its colour, and its linewidth.
    """
    if found.value is None:
        return
    if found.low is not None and found.high is not None:
        line = axes.hlines if along == "x" else axes.vlines
        thin = {"color": look.get("color"), "linewidth": look.get("linewidth", 1)}
        line(at, scale * found.low, scale * found.high, **thin)
    place = (scale * found.value, at) if along == "x" else (at, scale * found.value)
    axes.plot(*([value] for value in place), **{"linestyle": "none", "markersize": 5, **look})


# --- around the panels ------------------------------------------------------------------------------------

Entries = Mapping[str, "Mapping[str, Any] | str | Artist"]


def legend_beside(where: Figure | Axes, entries: Entries | None = None, **options: Any) -> None:
    """Draw a legend to the right of all panels, or of one, where it covers nothing.

    Args:
        where: the figure, or one of its panels.
        entries: by text the look of a mark or line, the colour of an area, or an artist; by default what
            the panel's artists are labelled with.
        options: of ``Figure.legend``, such as title.
    """
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    place: dict[str, Any] = {"loc": "outside right upper"}
    if isinstance(where, Axes):
        place = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0), "borderaxespad": 0.0}
    place |= {"frameon": False, "fontsize": 9, "alignment": "left"} | options
    if entries is None:
        handles, labels = where.get_legend_handles_labels()  # type: ignore[union-attr]
        entries = dict(zip(labels, handles, strict=True))
    drawn: list[Any] = []
    for look in entries.values():
        if isinstance(look, str):
            drawn.append(Patch(color=look))
        else:
            drawn.append(Line2D([], [], **look) if isinstance(look, Mapping) else look)
    if drawn:
        where.legend(drawn, list(entries), **place)


def title(figure: Figure, text: str) -> None:
    """Write a title above all panels, from the left, no wider than what a legend beside them leaves.

    Call it last: a legend has to be there.
    """
    room = figure.get_size_inches()[0] - (BESIDE if figure.legends else 0.2)
    figure.suptitle(textwrap.fill(text, max(int(12 * room), 30)), x=0.01, ha="left", fontsize=11)


def write(figure: Figure, x: float, y: float, text: str, **look: Any) -> None:
    """Write a text at a place in inches from the lower left corner."""
    width, height = figure.get_size_inches()
    figure.text(x / width, y / height, text, **look)
