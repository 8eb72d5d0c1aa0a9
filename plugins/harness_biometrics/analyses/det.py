"""The DET curve shows FNMR against FMR on probit axes, and under attack what an attacker gains on them.

On probit axes the curve of two normal distributions is a straight line, and small rates have room (Martin et
al. 1997, "The DET curve in assessment of detection task performance").
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.analysis import Analysis, drawing
from harness.analysis.comparisons import Attacked, Verifier
from harness.metrics import verification as v
from harness.results import Results
from harness_biometrics.analyses.lines import Looks, Points, figure_of, table_of, thinned
from harness_biometrics.analyses.numbers import keeping
from harness_biometrics.analyses.study import ENOUGH, Curve, attack_text, read_study, told

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEAST, MOST = 5e-4, 0.998
TICKS = (0.001, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99)


def run(results: Results, *, success: float = ENOUGH) -> Analysis:
    """Return the points of the DET curve of each model without an attack, and under each attack.

    Rows: model x attack x threshold, thinned to some 400 that keep the shape. ``fmr`` is the share of
    impostor comparisons that are accepted: without an attack those of zero effort, under an impersonation the
    attacked ones. ``fnmr`` is the share of genuine comparisons that are rejected, under an evasion of the
    attacked ones. Below each panel stands, for the attack that succeeds most, which FMR keeps its success
    at or below ``success``, and which FNMR that costs; ``sentence`` has it for each impersonation. An attack
    that stops at its goal goes no further, and is underrated at stricter thresholds; the sentence says so.

    Adversarials that were made on another model (transfers) are left out; the analysis "verification" has
    them in rows of their own.

    Args:
        success: the share of attacks that may succeed.

    Raises:
        HarnessError: no comparisons are stored.
    """
    verifiers = read_study(results)
    table = table_of(verifiers, points)
    sentences = {
        (attacked.verifier.dataset, attacked.verifier.model, attacked.attack, attacked.threat): sentence(
            attacked, success
        )
        for verifier in verifiers
        for attacked in verifier.of("impersonate")
        if len(attacked.cases)
    }
    keys = zip(*(table[name] for name in ("dataset", "model", "attack", "threat")), strict=True)
    is_attack = table["goal"] == "impersonate"
    table["sentence"] = [
        sentences.get(key) if wanted else None for key, wanted in zip(keys, is_attack, strict=True)
    ]

    def arrange(axes: Axes, verifier: Verifier, styles: Looks) -> None:
        _arrange(axes, verifier, success)

    title = "FNMR against FMR, and against the success of attacks"
    return Analysis(table, figure_of(verifiers, _draw, arrange, title, 4.9))


def points(curve: Curve) -> Points:
    """Return the points of a curve, from the strictest threshold on."""
    counts = curve.counts
    false_match, false_non_match = v.error_rates(counts)
    found = {"threshold": counts.thresholds, "fmr": false_match, "fnmr": false_non_match}
    return thinned(found, ("fmr", "fnmr"))


def sentence(attacked: Attacked, success: float = ENOUGH) -> str:
    """Return what keeping an attack's success at or below a share costs."""
    match, non_match = keeping(attacked.verifier, attacked, success)
    text = (
        f"Success of {attack_text(attacked)} is at most {100 * success:g} % at FMR {told(match)}, "
        f"which costs FNMR {told(non_match)}"
    )
    return f"{text}; the attack stops at its goal, so that this flatters" if attacked.stops_early else text


def _draw(axes: Axes, curve: Curve, look: dict[str, Any]) -> None:
    found = points(curve)
    axes.plot(*(_probit(found[name]) for name in ("fmr", "fnmr")), drawstyle="steps-post", **look)


def _probit(rates: Any) -> Any:
    from scipy.special import ndtri

    return ndtri(np.clip(rates, LEAST, MOST))


def _arrange(axes: Axes, verifier: Verifier, success: float) -> None:
    ends = _probit([LEAST, MOST])
    axes.plot(ends, ends, color="0.7", linewidth=0.8, zorder=0)
    axes.set(xlim=ends, ylim=ends, aspect="equal")
    names = [f"{100 * tick:g}" for tick in TICKS]
    axes.set_xticks(_probit(TICKS), names, fontsize=8)
    axes.set_yticks(_probit(TICKS), names, fontsize=8)
    tried = [attacked for attacked in verifier.of("impersonate") if len(attacked.cases)]
    label = "impostors accepted, % (FMR, or attack success)"
    axes.set_ylabel("genuine rejected, % (FNMR)", fontsize=9)
    if not tried:
        axes.set_xlabel(label, fontsize=9)
        return
    strongest = max(tried, key=lambda attacked: float(1 - v.auc_roc(Curve(verifier, attacked).counts)))
    below = "\n".join(textwrap.wrap(sentence(strongest, success), 58))
    axes.set_xlabel(f"{label}\n\n{below}", fontsize=8)
    for row in verifier.thresholds.head(1).to_dict("records"):
        counts = Curve(verifier, None).counts
        rates = [float(rate(counts, float(row["threshold"]))) for rate in (v.fmr, v.fnmr)]
        axes.plot(*_probit(rates), marker="o", color="black", markersize=5, zorder=5)
        axes.annotate(
            "operating point", _probit(rates), (5, 6), textcoords="offset points", fontsize=7.5, color="black"
        )
    drawing.plain_axes(axes)
