"""The weights of the two combining layers are shown (Ding et al., figures 5 and 6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from harness.analysis import Analysis, drawing
from harness.errors import HarnessError
from harness.results import Results
from harness_paw.analyses.study import PAW, Net, read_studies

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]
EXTREMES = 8
"""So many of the strongest pairs are named at either end."""


@dataclass(frozen=True, eq=False)
class Layers:
    """Layers are the weights of the region switch and of the attribute relation layer of a model."""

    net: Net
    switch: Floats
    """(G + 1, M): row 0 is the whole image's subnet, the others are those of the parts."""
    relation: Floats
    """(M, M): what each attribute's final score, a row, weighs each switched score."""

    @property
    def own(self) -> Floats:
        """Return (M,) what the switch weighs the subnet of each attribute's own part."""
        weights: Floats = self.switch[1:].diagonal()
        return weights

    @property
    def whole(self) -> Floats:
        """Return (M,) what it weighs the subnet of the whole image."""
        weights: Floats = self.switch[0]
        return weights

    @property
    def together(self) -> Floats:
        """Return (M, M) the mean of both directions of each pair, without the diagonal."""
        found: Floats = (self.relation + self.relation.T) / 2
        np.fill_diagonal(found, np.nan)
        return found


def layers_of(net: Net) -> Layers | None:
    """Return the layers of a model; None where its card tells none."""
    told = [net.notes.get(name) for name in ("switch", "relation")]
    if not all(isinstance(one, Mapping) and "weight" in one for one in told):
        return None
    switch, relation = (np.asarray(one["weight"], np.float64) for one in told if one)
    count = len(net.outputs)
    if switch.ndim != 2 or switch.shape[1] != count or relation.shape != (count, count):
        return None
    return Layers(net, switch, relation)


def _found(results: Results) -> list[Layers]:
    nets = [net for study in read_studies(results) for net in study.nets if net.dataset == study.dataset]
    found = [one for net in nets if net.kind == PAW and (one := layers_of(net)) is not None]
    if not found:
        raise HarnessError(
            f"{results.path}: no card tells the layers of a `paw`; put that model into the suite"
        )
    return found


# --- the region switch (figure 5) -------------------------------------------------------------------------


def switch(results: Results) -> Analysis:
    """Compare what the region switch weighs each attribute's own part and the whole image (their subnets).

    Rows: model x attribute: both weights, ``difference``, the largest of all subnets (``largest`` names it:
    "own", "whole", or the attribute of another part), and ``rank``, that of the own part among all, from 1.

    Raises:
        HarnessError: no card tells the layers of `paw`.
    """
    found = _found(results)
    table = pd.DataFrame([row for one in found for row in _switch_rows(one)])
    return Analysis(table, _switch_figure(found))


def _switch_rows(one: Layers) -> list[dict[str, Any]]:
    rows = []
    names = one.net.outputs
    for place, name in enumerate(names):
        column = one.switch[:, place]
        best = int(column.argmax())
        largest = "whole" if best == 0 else "own" if best == place + 1 else names[best - 1]
        rows.append(
            {
                **one.net.identity,
                "attribute": name,
                "own": column[place + 1],
                "whole": column[0],
                "difference": column[place + 1] - column[0],
                "largest": largest,
                "rank": int((column > column[place + 1]).sum()) + 1,
            }
        )
    return rows


def _switch_figure(found: list[Layers]) -> Figure:
    widest = max(len(one.net.outputs) for one in found)
    figure = drawing.figure(0.26 * widest + 4.2, 3.9 * len(found) + 0.4)
    for axes, one in drawing.panels(figure, found, across=1):
        order = np.argsort(one.whole - one.own, kind="stable")
        places = np.arange(len(order))
        axes.bar(places - 0.2, one.own[order], 0.4, color=drawing.COLOURS[0])
        axes.bar(places + 0.2, one.whole[order], 0.4, color=drawing.COLOURS[1])
        drawing.category_axis(axes, [drawing.spaced(one.net.outputs[at]) for at in order])
        drawing.plain_axes(axes, "y")
        axes.axhline(0, color="0.4", linewidth=0.8)
        axes.set_ylabel("weight")
        axes.set_title(f"{_place(one.net)}: {one.net.name}", fontsize=10)
    drawing.legend_beside(
        figure, {"own part's subnet": drawing.COLOURS[0], "whole image's": drawing.COLOURS[1]}
    )
    drawing.title(figure, "What the region switch weighs the own part and the whole image, by difference")
    return figure


# --- the attribute relation layer (figure 6) --------------------------------------------------------------


def relation(results: Results) -> Analysis:
    """Show what the relation layer weighs each attribute for each other, and the strongest pairs.

    Rows: model x attribute (whose final score it is) x ``from_attribute`` (whose switched score is weighed):
    ``weight``; ``back``, that in the other direction; ``mean`` of both, and its ``rank`` among all pairs,
    from the largest on (null on the diagonal).

    Raises:
        HarnessError: no card tells the layers of `paw`.
    """
    found = _found(results)
    table = pd.concat([_relation_rows(one) for one in found], ignore_index=True)
    return Analysis(table, _relation_figure(found))


def _relation_rows(one: Layers) -> pd.DataFrame:
    names, count = one.net.outputs, len(one.net.outputs)
    row, column = np.indices((count, count)).reshape(2, -1)
    mean = one.together[row, column]
    table = pd.DataFrame(
        {
            "attribute": [names[at] for at in row],
            "from_attribute": [names[at] for at in column],
            "weight": one.relation[row, column],
            "back": one.relation[column, row],
            "mean": mean,
            "rank": pd.Series(mean).rank(method="dense", ascending=False),
        }
    )
    for place, (name, value) in enumerate(one.net.identity.items()):
        table.insert(place, name, value)
    return table


def pairs_of(one: Layers) -> list[tuple[str, str, float]]:
    """Return the pairs of attributes with the mean weight of both directions, the largest first."""
    names = one.net.outputs
    rows, columns = np.triu_indices(len(names), 1)
    order = np.argsort(-one.together[rows, columns], kind="stable")
    return [(names[rows[at]], names[columns[at]], float(one.together[rows[at], columns[at]])) for at in order]


def _relation_figure(found: list[Layers]) -> Figure:
    widest = max(len(one.net.outputs) for one in found)
    side = 0.21 * widest + 2.2
    figure = drawing.figure(side + 4.6, (side + 0.5) * len(found) + 0.3)
    grid = figure.subplots(len(found), 2, squeeze=False, width_ratios=(side, 3.6))
    for (axes, beside), one in zip(grid, found, strict=True):
        most = float(np.nanmax(np.abs(one.together))) or 1.0
        shown = one.relation.copy()
        np.fill_diagonal(shown, np.nan)
        from matplotlib import colormaps

        colours = colormaps["RdBu_r"].with_extremes(bad="0.75")
        image = axes.imshow(shown, cmap=colours, vmin=-most, vmax=most, interpolation="nearest")
        names = [drawing.spaced(name) for name in one.net.outputs]
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
        axes.set_yticks(range(len(names)), names, fontsize=7)
        axes.tick_params(length=0)
        axes.set_xlabel("switched score that is weighed")
        axes.set_ylabel("final score")
        axes.set_title(f"{_place(one.net)}: {one.net.name}\n(diagonal left out)", fontsize=10)
        figure.colorbar(image, ax=axes, shrink=0.6, aspect=30, label="weight")
        _name_extremes(beside, one)
    drawing.title(figure, "What the attribute relation layer weighs each score for each other")
    return figure


def _name_extremes(axes: Any, one: Layers) -> None:
    axes.set_axis_off()
    pairs = pairs_of(one)
    few = min(EXTREMES, len(pairs) // 2)
    lines = ["strongest pairs, mean of both directions", ""]
    lines += [f"{_sign(weight)}  {drawing.spaced(a)}, {drawing.spaced(b)}" for a, b, weight in pairs[:few]]
    lines += ["…"]
    lines += [
        f"{_sign(weight)}  {drawing.spaced(a)}, {drawing.spaced(b)}"
        for a, b, weight in pairs[len(pairs) - few :]
    ]
    axes.text(0, 0.98, "\n".join(lines), transform=axes.transAxes, va="top", fontsize=8.5, linespacing=1.5)


def _sign(weight: float) -> str:
    return f"{weight:+.3f}".replace("-", "−")


def _place(net: Net) -> str:
    return drawing.dataset_text(net.dataset, net.stand_in_for)
