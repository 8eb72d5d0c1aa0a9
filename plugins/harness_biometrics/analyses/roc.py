"""The ROC curve shows genuine comparisons accepted against impostors accepted, at every threshold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.analysis import Analysis
from harness.analysis.comparisons import Verifier
from harness.metrics import verification as v
from harness.results import Results
from harness_biometrics.analyses.lines import Looks, Points, areas_text, figure_of, table_of, thinned
from harness_biometrics.analyses.study import Curve, read_study

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def run(results: Results) -> Analysis:
    """Return the points of the ROC curve of each model without an attack, and under each attack.

    Rows: model x attack x threshold, thinned to some 400 that keep the shape. ``fmr`` is the share of
    impostor comparisons that are accepted, under an impersonation that of the attacked ones; ``tar`` the
    share of genuine comparisons that are accepted, under an evasion of the attacked ones.

    Adversarials that were made on another model (transfers) are left out; the analysis "verification" has
    them in rows of their own.

    Raises:
        HarnessError: no comparisons are stored.
    """
    verifiers = read_study(results)
    return Analysis(
        table_of(verifiers, points),
        figure_of(verifiers, _draw, _arrange, "Genuine comparisons accepted against impostors accepted", 4.6),
    )


def points(curve: Curve) -> Points:
    """Return the points of a curve, from the strictest threshold on."""
    counts = curve.counts
    false_match, false_non_match = v.error_rates(counts)
    found = {"threshold": counts.thresholds, "fmr": false_match, "tar": 1 - false_non_match}
    return thinned(found, ("fmr", "tar"))


def _draw(axes: Axes, curve: Curve, look: dict[str, Any]) -> None:
    found = points(curve)
    axes.plot(found["fmr"], found["tar"], **look)


def _arrange(axes: Axes, verifier: Verifier, styles: Looks) -> None:
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=0.8, zorder=0)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.set_xlabel(
        f"impostors accepted (FMR, or attack success)\n\n{areas_text(verifier, v.auc_roc)}", fontsize=8
    )
    axes.set_ylabel("genuine accepted (TAR)", fontsize=9)
