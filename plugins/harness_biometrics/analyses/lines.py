"""Lines are curves as tables and panels show them: few points that keep the shape, and a panel per model."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.analysis import drawing
from harness.analysis.comparisons import Verifier
from harness.analysis.reading import typed
from harness.metrics.verification import Counts
from harness_biometrics.analyses.study import Curve, curves, looks, place_text

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POINTS = 400
ACROSS = 3
Looks = Mapping[str, Mapping[str, Any]]
Points = dict[str, Any]
"""Columns of numbers, one for each point."""


def table_of(verifiers: Iterable[Verifier], points: Callable[[Curve], Points]) -> pd.DataFrame:
    """Return a row for each point of each curve; points are columns of numbers."""
    rows = []
    for verifier in verifiers:
        for curve in curves(verifier):
            found = points(curve)
            lists = [np.asarray(column).tolist() for column in found.values()]
            rows += [
                curve.identity | dict(zip(found, values, strict=True)) for values in zip(*lists, strict=True)
            ]
    return typed(rows, ("attack", "threat", "goal"))


def thinned(columns: Points, along: Sequence[str], most: int = POINTS) -> Points:
    """Return at most some of the points: both ends, and what keeps the shape along each of some columns.

    Half of the points are spread over what each column changes by, half over its logarithm, so that the ends
    of a curve on probit or logarithmic axes keep theirs.
    """
    size = len(next(iter(columns.values())))
    if size <= most:
        return columns
    kept = [np.array([0, size - 1])]
    for name in along:
        values = np.asarray(columns[name], float)
        order = np.argsort(values, kind="stable")
        lowest = max(float(values[values > 0].min(initial=1.0)), 1e-9)
        part = max(most // (3 * len(along)), 2)
        for wanted in (
            np.linspace(0, 1, part),
            np.geomspace(lowest, 1, part),
            1 - np.geomspace(lowest, 1, part),
        ):
            at = np.searchsorted(values[order], wanted).clip(0, size - 1)
            kept.append(order[at])
    rows = np.unique(np.concatenate(kept))
    return {name: np.asarray(values)[rows] for name, values in columns.items()}


def figure_of(
    verifiers: Sequence[Verifier],
    draw: Callable[[Axes, Curve, dict[str, Any]], None],
    arrange: Callable[[Axes, Verifier, Looks], None],
    title: str,
    height: float = 4.0,
) -> Figure:
    """Draw a panel for each model, with a line for each of its curves, and one legend for all.

    Args:
        draw: draws one curve with a look.
        arrange: names axes, and adds what stands below.
    """
    styles = looks(list(verifiers))
    across = 2 if len(verifiers) == 4 else min(ACROSS, len(verifiers))
    down = -(-len(verifiers) // across)
    longest = max(len(name) for name in styles)
    figure = drawing.figure(
        4.0 * across + 0.9 + 0.085 * longest, max(height * down + 0.5, 0.24 * len(styles) + 0.8)
    )
    places = {place_text(verifier) for verifier in verifiers}
    for axes, verifier in drawing.panels(figure, verifiers, across):
        for curve in reversed(list(curves(verifier))):
            draw(axes, curve, styles[curve.label] | {"linewidth": 1.6})
        name = verifier.model if len(places) == 1 else f"{verifier.model}\n{place_text(verifier)}"
        axes.set_title(name, fontsize=10)
        drawing.plain_axes(axes, "both")
        arrange(axes, verifier, styles)
    drawing.legend_beside(figure, styles, handlelength=2.6)
    if any(verifier.transfers for verifier in verifiers):
        title += " (without transfers)"
    drawing.title(figure, title if len(places) > 1 else f"{title}: {next(iter(places))}")
    return figure


def areas_text(verifier: Verifier, measured: Callable[[Counts], Any]) -> str:
    """Return the area under each curve of a panel in words, to stand below it."""
    areas = [f"{curve.label} {drawing.number(float(measured(curve.counts)))}" for curve in curves(verifier)]
    return "\n".join(textwrap.wrap(f"area: {', '.join(areas)}", 58))
