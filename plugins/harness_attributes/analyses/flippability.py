"""Flippability by PASS counts the cases flipped at each threshold (Rozsa et al., table 1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness.analysis import Analysis, drawing
from harness.results import Results
from harness_attributes.analyses.names import SIGN_TEXT, method_text, search_text, sign_style
from harness_attributes.analyses.study import SIGNS, Study, hits, of_sign, read_study, searches_of, share

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TABLE_1 = (0.0, 0.9, 0.95, 0.99)
"""The paper's thresholds."""


def run(results: Results, *, thresholds: Sequence[float] = TABLE_1) -> Analysis:
    """Tell the share of cases flipped with PASS >= τ, by model, attack, search and sign.

    Rows: cell x sign x threshold, with ``count`` of ``n`` cases, ``rate`` and its 95 % interval, and the
    ``coverage`` of the cell: cases without an outcome are left out. A threshold of 0 asks nothing of PASS.

    Args:
        thresholds: of PASS, in [0, 1].

    Raises:
        HarnessError: nothing flips attributes, or PASS was not measured and a threshold is above 0.
    """
    study = read_study(results, thresholds)
    table = table_of(study, thresholds)
    return Analysis(table, _figure(study, table, thresholds))


def table_of(study: Study, thresholds: Sequence[float]) -> pd.DataFrame:
    """Return a row per cell, sign and threshold; a sign without cases has n = 0 and no rate."""
    rows: list[dict[str, Any]] = []
    for cell in study.cells:
        for sign in SIGNS:
            cases = of_sign(cell.cases, sign)
            for threshold in thresholds:
                found = share(hits(cases, threshold), cases["cluster"])
                own = {"sign": sign, "threshold": threshold, **found, "coverage": cell.coverage}
                rows.append(cell.identity | own)
    return pd.DataFrame(rows)


def _figure(study: Study, table: pd.DataFrame, thresholds: Sequence[float]) -> Figure:
    searches = searches_of(table["search"])
    lines = list(table.groupby(["dataset", "model"], sort=False))
    methods = list(dict.fromkeys(table["method"]))
    stand_ins = dict(study.datasets)
    tall = max(2.3, 0.44 * len(methods) + 0.9)
    figure = drawing.figure(3.3 * len(searches) + 2.6, tall * len(lines) + 0.5)
    grid = figure.subplots(len(lines), len(searches), squeeze=False, sharex=True, sharey=True)
    for (key, own), line in zip(lines, grid, strict=True):
        dataset, model = key
        for search, axes in zip(searches, line, strict=True):
            for position, method in enumerate(methods):
                _lines(axes, own[(own["search"] == search) & (own["method"] == method)], position)
            axes.set_xticks(range(len(thresholds)), [f"{value:g}" for value in thresholds])
            drawing.percent_axis(axes, "")
            axes.set_title(search_text(search), fontsize=9, loc="right")
        line[0].set_ylabel("% flipped")
        place = drawing.dataset_text(str(dataset), stand_ins[str(dataset)])
        line[0].set_title(f"{place}: {model}", fontsize=10, loc="left")
        _legend(line[-1], own, methods)
    for axes in grid[-1]:
        axes.set_xlabel("τ: flipped with PASS ≥ τ")
    drawing.title(figure, "Cases flipped, by perceptual similarity (+ right before, − wrong before)")
    return figure


def _lines(axes: Any, rows: pd.DataFrame, position: int) -> None:
    for sign in SIGNS:
        own = rows[(rows["sign"] == sign) & (rows["n"] > 0)]
        if own.empty:
            continue
        rates = 100 * own["rate"].to_numpy(float)
        ends = own[["low", "high"]].to_numpy(float).T
        # Rounding may put an end 1e-14 on the wrong side of the rate, which error bars refuse.
        spread = np.maximum(0.0, [rates - 100 * ends[0], 100 * ends[1] - rates])
        look = sign_style(position, sign) | {"linewidth": 1.6}
        axes.errorbar(range(len(own)), rates, yerr=spread, elinewidth=0.8, capsize=2, **look)


def _legend(axes: Any, table: pd.DataFrame, methods: list[str]) -> None:
    """Name every series of a model, whichever panel it is in, with the number of its cases."""
    entries: dict[str, Any] = {}
    for position, method in enumerate(methods):
        for sign in SIGNS:
            own = table[(table["method"] == method) & (table["sign"] == sign)]
            if not own.empty:
                text = f"{method_text(method)}{SIGN_TEXT[sign]} (n = {drawing.range_text(own['n'])})"
                entries[text] = sign_style(position, sign) | {"linewidth": 1.6}
    drawing.legend_beside(axes, entries)
