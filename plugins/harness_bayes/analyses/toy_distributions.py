"""Toy distributions show in the plane what makes an optimal or a learned boundary brittle (figures 3, 5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from annotated_types import Ge

from harness.analysis import Analysis, drawing
from harness.analysis.reading import estimate_columns, typed
from harness.metrics import mean, rate
from harness.results import Results
from harness_bayes.analyses.toys import (
    CELLS,
    EDGE,
    Classes,
    Floats,
    Toy,
    distances,
    one_sided,
    squares,
    toys,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OPTIMAL, BRITTLE = "optimal", "one-sided"
LEARNED = {"3f": "5 left", "3b": "5 right"}
"""Toys of figure 3 that stand for the two explanations of figure 5."""


@dataclass(frozen=True, eq=False)
class Panel:
    """A panel shows points of a toy and how one classifier decides."""

    place: str
    toy: Toy
    classifier: str
    decide: Callable[[Floats], Classes]
    points: tuple[Floats, Floats]

    @cached_property
    def decided(self) -> Classes:
        """The class (CELLS²,) of each square of the plane."""
        return self.decide(squares(CELLS))

    @cached_property
    def right(self) -> tuple[Any, Any]:
        """Whether each point (N,) of either class is classified correctly."""
        return self.decide(self.points[0]) == 0, self.decide(self.points[1]) == 1

    @cached_property
    def far(self) -> tuple[Floats, Floats]:
        """The distances (M,) of the points that are right, of either class."""
        own = [points[right] for points, right in zip(self.points, self.right, strict=True)]
        return distances(own[0], 0, self.decided), distances(own[1], 1, self.decided)


def run(
    results: Results, *, points: Annotated[int, Ge(2)] = 400, seed: Annotated[int, Ge(0)] = 0
) -> Analysis:
    """Tell how far points in the plane are from a boundary, where classes are symmetric and where not.

    No record is read: the distributions are known, and the optimal boundary is found on a grid. Rows: panel
    x class, over ``n`` points. ``symmetric`` says whether the least variances of both classes are alike;
    ``accuracy`` is that of the classifier, and ``mean_distance`` that of points which are right. The last
    panels are the two explanations of figure 5: the optimum itself is brittle, or it is robust, and another
    classifier that is as accurate is not. That stands for learned ones: ``classifier`` "one-sided" knows the
    density of the first class alone, and takes what is no less dense than the least dense of its points.

    Args:
        points: of each class.
        seed: decides which points are drawn.
    """
    panels = list(_panels(points, seed))
    return Analysis(typed([row for panel in panels for row in _rows(panel)]), _figure(panels))


def _panels(points: int, seed: int) -> Sequence[Panel]:
    found, last = [], {}
    for number, toy in enumerate(toys()):
        random = np.random.default_rng([seed, number])
        drawn = toy.classes[0].draw(points, random), toy.classes[1].draw(points, random)
        found.append(Panel(toy.place, toy, OPTIMAL, toy.optimal, drawn))
        if toy.place in LEARNED:
            learned = (BRITTLE, one_sided(toy, drawn[0])) if toy.symmetric else (OPTIMAL, toy.optimal)
            last[toy.place] = Panel(LEARNED[toy.place], toy, *learned, drawn)
    return [*found, *(last[place] for place in LEARNED)]


def _rows(panel: Panel) -> list[dict[str, Any]]:
    rows = []
    for side, points in enumerate(panel.points):
        far = panel.far[side]
        rows.append(
            {
                "panel": panel.place,
                "what": panel.toy.what,
                "symmetric": panel.toy.symmetric,
                "classifier": panel.classifier,
                "class": side,
                **estimate_columns("accuracy", rate(panel.right[side])),
                "n": len(points),
                **estimate_columns("mean_distance", mean(far)),
                "median_distance": float(np.median(far)) if len(far) else None,
                "reason": None if len(far) > 1 else "fewer than two points are right",
            }
        )
    return rows


# --- figure -----------------------------------------------------------------------------------------------

SIDES = (drawing.COLOURS[0], drawing.COLOURS[1])


def _figure(panels: Sequence[Panel]) -> Figure:
    figure = drawing.figure(13.2, 9.2)
    for axes, panel in drawing.panels(figure, panels, 4, sharex=True, sharey=True):
        _panel(axes, panel)
    entries = {f"class {side + 1}": colour for side, colour in enumerate(SIDES)}
    drawing.legend_beside(figure, {**entries, "boundary": {"color": "black", "linewidth": 1.2}})
    drawing.title(figure, "Points of two known distributions in the plane, and what decides between them")
    return figure


def _panel(axes: Axes, panel: Panel) -> None:
    decided = panel.decided.reshape(CELLS, CELLS).T
    shown: dict[str, Any] = {"extent": (-EDGE, EDGE, -EDGE, EDGE), "origin": "lower"}
    axes.imshow(decided[::4, ::4], cmap=_tints(), vmin=0, vmax=1, interpolation="nearest", **shown)
    axes.contour(decided[::2, ::2], levels=[0.5], colors="black", linewidths=1.2, **shown)
    far = []
    for side, points in enumerate(panel.points):
        axes.plot(*points.T, ".", color=SIDES[side], markersize=2)
        far.append(drawing.number(panel.far[side].mean()) if len(panel.far[side]) else "none")
    kind = "symmetric" if panel.toy.symmetric else "asymmetric"
    axes.set_title(f"{panel.place}: {panel.toy.what}, {kind}\n{panel.classifier}; mean distance "
                   f"{far[0]} and {far[1]}", fontsize=8.5, loc="left")  # fmt: skip
    axes.set_xlim(-EDGE, EDGE)
    axes.set_ylim(-EDGE, EDGE)
    axes.set_xticks([])
    axes.set_yticks([])


def _tints() -> Any:
    from matplotlib.colors import ListedColormap

    return ListedColormap(["#DCEAF5", "#FBE6D8"])
