"""Distances of real and of generated pairs of two persons are compared (Arvinte et al., figure 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness.analysis import Analysis, drawing
from harness.results import Results
from harness_verification.analyses.training_notes import Trained, trained

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = {"real": drawing.COLOURS[0], "generated": drawing.COLOURS[1]}


def run(results: Results) -> Analysis:
    """Compare distances of pairs of two persons, where the second image is real or generated.

    Rows: data set x model x kind of pair: number, mean and quantiles of the distance in the model's own
    units, and ``nearer``, the share of pairs in which the generated image is nearer than the real one. The
    pairs are the same for both kinds, (t, x) and (t, u): u has the class of x and the content of t.

    Raises:
        HarnessError: no verifier has measured such pairs.
    """
    found = trained(results, "pairs", "set generated_pairs = true for a verifier in the suite")
    return Analysis(pd.DataFrame([row for one in found for row in _rows(one)]), _figure(found))


def _rows(one: Trained) -> list[dict[str, Any]]:
    distances = {kind: np.asarray(one.note[kind], np.float64) for kind in KINDS}
    nearer = float((distances["generated"] < distances["real"]).mean())
    return [
        {
            **one.columns,
            "pairs": kind,
            "n": len(values),
            "mean": float(values.mean()),
            **{f"quantile_{share:02d}": float(np.quantile(values, share / 100)) for share in (5, 50, 95)},
            "nearer": nearer,
        }
        for kind, values in distances.items()
    ]


def _figure(found: list[Trained]) -> Figure:
    figure = drawing.figure(3.6 * min(len(found), 3) + 1.8, 3.0 * -(-len(found) // 3) + 0.5)
    for axes, one in drawing.panels(figure, found, across=3):
        top = max(max(one.note[kind]) for kind in KINDS)
        for kind, colour in KINDS.items():
            axes.hist(one.note[kind], bins=30, range=(0, top), color=colour, alpha=0.55)
        drawing.plain_axes(axes)
        axes.set_xlabel("distance")
        axes.set_ylabel("pairs")
        axes.set_title(f"{one.dataset}: {one.model}", fontsize=9, loc="left")
    drawing.legend_beside(figure, dict(KINDS))
    drawing.title(figure, "Pairs of two persons whose second image is real or generated")
    return figure
