"""Attack agreement sets the gradient attack beside CW-L2 (Richardson and Weiss, appendix C.2)."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness.analysis import Analysis, drawing
from harness.analysis.claims import told
from harness.analysis.reading import estimate_columns, typed
from harness.errors import HarnessError
from harness.metrics import Estimate, mean, rate
from harness.metrics.paired import correlation, ratio_of_means
from harness.results import Results
from harness_bayes.analyses.names import NAMES, attack_text, data_text, look, model_text
from harness_bayes.analyses.study import Attacked, Study, read_study, reasons

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GRADIENT = ("component-gradient", "gradient-descent")
CARLINI = "cw-l2"
ALIKE = 0.02
"""By how much a ratio may differ from 1 to be told with others."""
ACROSS = 4
"""Panels side by side."""


@dataclass(frozen=True, eq=False)
class Both:
    """Two attacks on one model are compared on the cases that both broke."""

    gradient: Attacked
    carlini: Attacked
    cases: pd.DataFrame
    """sample_id, cluster, l2 (of the gradient attack), l2_cw."""

    @property
    def ratio(self) -> Estimate:
        """Mean L2 of the gradient attack over that of CW-L2."""
        own = self.cases[["sample_id", "cluster", "l2"]]
        return ratio_of_means(own, own.assign(l2=self.cases["l2_cw"]))

    @property
    def correlation(self) -> float | None:
        """Spearman's, over cases; None where fewer than three, or all alike."""
        return correlation(self.cases["l2"].rank(), self.cases["l2_cw"].rank())


def run(results: Results) -> Analysis:
    """Compare the distances that the gradient attack and CW-L2 found, over the cases that both broke.

    Rows: data set x model x gradient attack (component-gradient, or gradient-descent in L2), beside CW-L2.
    Over the ``n`` cases that were right and that both broke: ``mean_l2_gradient``, ``mean_l2_cw``, their
    ``ratio``, Spearman's ``correlation``, and how often the gradient attack is nearer (``gradient_nearer``)
    or as near (``equal``). ``only_gradient`` and ``only_cw`` cases were broken by one of them.

    Raises:
        HarnessError: no model was attacked by both.
    """
    study = read_study(results)
    found = pairs_of(study)
    if not found:
        raise HarnessError(
            f'{results.path}: no model was attacked both by "{CARLINI}" and, in L2, by one of '
            f"{', '.join(GRADIENT)}; put both into the suite"
        )
    return Analysis(typed([_row(both) for both in found]), _figure(found))


def pairs_of(study: Study) -> list[Both]:
    """Return every gradient attack with every CW-L2 on the same data set and model, in order."""
    found = []
    for data in study.datasets:
        own = study.models_on(study.attacked, data)
        for gradient in (item for item in own if item.attack_kind in GRADIENT and "l2" in item.threat):
            for carlini in (item for item in own if item.attack_kind == CARLINI):
                if gradient.model.label == carlini.model.label:
                    found.append(_both(gradient, carlini))
    return found


def _both(gradient: Attacked, carlini: Attacked) -> Both:
    other = carlini.broken[["sample_id", "l2"]].rename(columns={"l2": "l2_cw"})
    cases = gradient.broken[["sample_id", "cluster", "l2"]].merge(other, on="sample_id")
    return Both(gradient, carlini, cases)


def _row(both: Both) -> dict[str, Any]:
    cases, clusters = both.cases, both.cases["cluster"]
    nearer = rate(cases["l2"] < cases["l2_cw"], clusters)
    told = [f"{item.attack}: {item.reason}" for item in (both.gradient, both.carlini) if item.reason]
    if both.correlation is None:
        few = "a correlation needs three cases that differ"
        told.append(few if len(cases) else "no case was broken by both")
    cells = {name: value for name, value in both.gradient.identity.items() if name != "attack"}
    return {
        **cells,
        "gradient_attack": both.gradient.attack,
        "cw_attack": both.carlini.attack,
        "n": len(cases),
        **estimate_columns("mean_l2_gradient", mean(cases["l2"], clusters)),
        **estimate_columns("mean_l2_cw", mean(cases["l2_cw"], clusters)),
        **estimate_columns("ratio", both.ratio),
        "correlation": both.correlation,
        **estimate_columns("gradient_nearer", nearer),
        "equal": int((cases["l2"] == cases["l2_cw"]).sum()),
        "only_gradient": len(both.gradient.broken) - len(cases),
        "only_cw": len(both.carlini.broken) - len(cases),
        "coverage_gradient": both.gradient.coverage,
        "coverage_cw": both.carlini.coverage,
        "reason": reasons(*told),
    }


# --- figure -----------------------------------------------------------------------------------------------


def _figure(found: Sequence[Both]) -> Figure:
    parts = list(dict.fromkeys((both.gradient.attack, both.gradient.data) for both in found))
    parts.sort(key=lambda part: part[0])  # an attack's panels side by side
    across = min(ACROSS, len(parts))
    figure = drawing.figure(2.9 * across + 2.2, 3.3 * -(-len(parts) // across) + 0.7)
    for axes, part in drawing.panels(figure, parts, ACROSS):
        own = [both for both in found if (both.gradient.attack, both.gradient.data) == part]
        _panel(axes, own)
        axes.set_ylabel(f"L2 of {attack_text(own[0].gradient)}", fontsize=8)
        lines = [*textwrap.wrap(data_text(part[1]), 40), *_ratio_texts(own)]
        axes.set_title("\n".join(lines), fontsize=7.5, loc="left")
    kinds = dict.fromkeys(both.gradient.model.kind for both in found)
    entries: dict[str, Any] = {NAMES.get(kind, kind): look(kind) for kind in kinds}
    drawing.legend_beside(figure, entries | {"equal": {"color": "0.5", "linewidth": 1}})
    figure.supxlabel("L2 of CW-L2", fontsize=9)
    drawing.title(figure, "Distances that two attacks found, of cases that both broke")
    return figure


def _ratio_texts(own: Sequence[Both]) -> list[str]:
    """Return a line for each model on which the attacks differ, and one for all others."""
    alike = [both for both in own if both.ratio.value is not None and abs(both.ratio.value - 1) <= ALIKE]
    told = [_ratio_text(both) for both in own if both not in alike]
    if not alike:
        return told
    who = model_text(alike[0].gradient.model) if len(alike) == 1 else f"{len(alike)} models"
    return [*told, f"{who}: ratio within {100 * ALIKE:g} % of 1"]


def _ratio_text(both: Both) -> str:
    text = f"{model_text(both.gradient.model)}: n = {len(both.cases):,}"
    return text if both.ratio.value is None else f"{text}, ratio {told(both.ratio)}"


def _panel(axes: Axes, own: Sequence[Both]) -> None:
    values = np.concatenate([both.cases[["l2", "l2_cw"]].to_numpy(float).ravel() for both in own])
    values = values[values > 0]
    drawing.plain_axes(axes)
    if not values.size:
        axes.text(0.5, 0.5, "no case was\nbroken by both", ha="center", va="center", fontsize=8, color="0.4",
                  transform=axes.transAxes)  # fmt: skip
        return
    ends = [0.0, 1.06 * float(values.max())]
    axes.plot(ends, ends, color="0.5", linewidth=1, zorder=1)
    for both in own:
        kind = both.gradient.model.kind
        small = look(kind) | {"markersize": 3.5, "alpha": 0.55, "markeredgewidth": 0}
        axes.plot(both.cases["l2_cw"], both.cases["l2"], **small)
    axes.set_xlim(*ends)
    axes.set_ylim(*ends)
    axes.set_aspect("equal")
    axes.tick_params(labelsize=8)
