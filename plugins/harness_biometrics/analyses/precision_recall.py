"""The precision-recall curve shows how many intruders are rejected, and how many rejections are right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from harness.analysis import Analysis
from harness.analysis.comparisons import Verifier
from harness.metrics import verification as v
from harness.results import Results
from harness_biometrics.analyses.lines import Looks, Points, areas_text, figure_of, table_of, thinned
from harness_biometrics.analyses.study import Curve, read_study

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def run(results: Results) -> Analysis:
    """Return the points of the precision-recall curve of each model without an attack, and under each attack.

    Rows: model x attack x threshold, thinned to some 400 that keep the shape. Intruders are positive, as
    Arvinte et al. have it: ``recall`` is the share of impostor comparisons that are rejected, and
    ``precision`` the share of rejections that are of impostors. ``precision_of_rates`` is TPR / (TPR + FPR),
    the precision with as many genuine as impostor comparisons, whose area their tables give; it is drawn.

    Adversarials that were made on another model (transfers) are left out; the analysis "verification" has
    them in rows of their own.

    Raises:
        HarnessError: no comparisons are stored.
    """
    verifiers = read_study(results)
    title = "Rejections that are right, with as many genuine as impostor comparisons"
    return Analysis(table_of(verifiers, points), figure_of(verifiers, _draw, _arrange, title, 4.6))


def points(curve: Curve) -> Points:
    """Return the points of a curve, from the loosest threshold that rejects anything on."""
    counts = curve.counts
    intruders = counts.impostors_below[-1] - counts.impostors_below
    genuine = counts.genuine_below[-1] - counts.genuine_below
    rejected = (intruders + genuine) > 0
    intruders, genuine, thresholds = (
        side[rejected][::-1] for side in (intruders, genuine, counts.thresholds)
    )
    recall = intruders / counts.impostors_below[-1]
    others = genuine / counts.genuine_below[-1]
    found = {
        "threshold": thresholds,
        "recall": recall,
        "precision": intruders / (intruders + genuine),
        "precision_of_rates": recall / (recall + others),
    }
    return thinned(found, ("recall", "precision_of_rates"))


def _draw(axes: Axes, curve: Curve, look: dict[str, Any]) -> None:
    found = points(curve)
    axes.plot(np.asarray(found["recall"]), np.asarray(found["precision_of_rates"]), **look)


def _arrange(axes: Axes, verifier: Verifier, styles: Looks) -> None:
    axes.axhline(0.5, color="0.7", linewidth=0.8, zorder=0)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.set_xlabel(f"recall: intruders rejected\n\n{areas_text(verifier, v.pr_area_of_rates)}", fontsize=8)
    axes.set_ylabel("TPR / (TPR + FPR)", fontsize=9)
