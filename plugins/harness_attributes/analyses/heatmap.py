"""Heat maps show shares of one set of attributes against another, be they 8 or 40."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.analysis import drawing
from harness_attributes.analyses.flips import Flips

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FEW = 14
"""Up to so many attributes, cells carry their number."""


@dataclass(frozen=True)
class Panel:
    """A panel is one heat map of a figure, and what stands around it."""

    flips: Flips
    title: str
    down: str
    """What the rows are."""
    across: str
    """What the columns are."""


def draw(grid: Sequence[Sequence[Panel | None]], title: str) -> Figure:
    """Draw heat maps in rows and columns, with one colour scale; a place that is None stays empty."""
    from matplotlib import colormaps

    held = [panel for line in grid for panel in line if panel is not None]
    across = max(len(panel.flips.made_for) for panel in held)
    down = max(len(panel.flips.networks) for panel in held)
    step = 0.46 if max(across, down) <= FEW else 0.215
    columns = max(map(len, grid))
    longest = max(len(line) for panel in held for line in _title(panel).split("\n"))
    wide, tall = (max(3.6, step * number + 2.0) for number in (across, down))
    width = columns * (max(wide, 0.078 * longest) + 0.5) + 1.0
    figure = drawing.figure(width, len(grid) * (tall + 0.9) + 0.5)
    colours = colormaps["YlGnBu"].with_extremes(bad="white")
    everywhere = figure.subplots(len(grid), columns, squeeze=False)
    image: Any = None
    for line, places in zip(grid, everywhere, strict=True):
        for number, axes in enumerate(places):
            panel = line[number] if number < len(line) else None
            if panel is None:
                axes.set_axis_off()
            else:
                image = _fill(axes, panel, colours)
    label = "% of adversarials that flip the decision"
    figure.colorbar(image, ax=everywhere, label=label, shrink=0.7, aspect=30)
    drawing.title(figure, title)
    return figure


def _fill(axes: Any, panel: Panel, colours: Any) -> Any:
    flips = panel.flips
    rates = 100 * flips.rates
    certain = flips.diagonal & flips.by_definition & ~np.isnan(rates)
    shown = np.where(certain, np.nan, rates)
    image = axes.imshow(shown, cmap=colours, vmin=0, vmax=100, aspect="equal", interpolation="nearest")
    rows, columns = len(flips.networks), len(flips.made_for)
    small = 9 if max(rows, columns) <= FEW else 7.5
    for row, column in zip(*np.nonzero(certain), strict=True):
        _square(axes, int(row), int(column), facecolor="0.65")
    for column in np.flatnonzero(flips.n == 0):
        for row in range(rows):
            _square(axes, row, int(column), facecolor="white", hatch="////")
    if max(rows, columns) <= FEW:
        for row in range(rows):
            for column in range(columns):
                if not np.isnan(shown[row, column]):
                    dark = shown[row, column] > 55
                    axes.text(column, row, f"{shown[row, column]:.0f}", ha="center", va="center", fontsize=8,
                              color="white" if dark else "black")  # fmt: skip
    axes.set_xticks(range(columns), map(drawing.spaced, flips.made_for), rotation=90, fontsize=small)
    axes.set_yticks(range(rows), map(drawing.spaced, flips.networks), fontsize=small)
    axes.set_xticks(np.arange(columns + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(rows + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="0.85", linewidth=0.5)
    axes.tick_params(which="both", length=0)
    axes.set_xlabel(panel.across, fontsize=10)
    axes.set_ylabel(panel.down, fontsize=10)
    axes.set_title(_title(panel), fontsize=9.5)
    return image


def _title(panel: Panel) -> str:
    return f"{panel.title}\n{means_text(panel.flips)}"


def means_text(flips: Flips) -> str:
    """Return what stands under a panel's title: its means and its count."""
    diagonal, others = (
        "none" if value is None else drawing.percent(value)
        for value in (flips.mean_diagonal, flips.mean_off_diagonal)
    )
    own = "grey, by definition" if flips.by_definition else diagonal
    return f"mean diagonal: {own}; off-diagonal: {others}; n = {int(flips.n.sum()):,}"


def _square(axes: Any, row: int, column: int, **look: Any) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, edgecolor="0.75", linewidth=0, **look))
