"""Attribute success shows how often each attribute is flipped (Rozsa et al., figure 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from harness.analysis import Analysis, drawing
from harness.errors import HarnessError
from harness.results import Results
from harness_attributes.analyses.names import SIGN_TEXT, method_text, search_text, sign_style, threshold_text
from harness_attributes.analyses.study import (
    CONVERGED,
    SIGNS,
    Cell,
    Study,
    hits,
    of_sign,
    read_study,
    searches_of,
    share,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def run(results: Results, *, threshold: float = 0.95) -> Analysis:
    """Tell the share of each attribute's cases that are flipped with PASS >= threshold.

    Rows: cell x sign x attribute. ``position`` orders the attributes of a data set by their rate under FGS by
    line search on cases that were right (under the first attack where there is no FGS), ascending. The figure
    leaves early checkpoints to the table, and gives each loss panels of its own.

    Args:
        threshold: of PASS.

    Raises:
        HarnessError: nothing flips attributes, no case has an outcome, or PASS was not measured.
    """
    study = read_study(results, (threshold,))
    table = table_of(study, threshold)
    if table.empty:
        raise HarnessError(f"{results.path}: no case has an outcome yet; run the suite to its end")
    return Analysis(table, _figure(study, table, threshold))


def table_of(study: Study, threshold: float) -> pd.DataFrame:
    """Return a row per cell, sign and attribute; without cases of a sign it has n = 0 and no rate."""
    rows: list[dict[str, Any]] = []
    for dataset, _ in study.datasets:
        cells = [cell for cell in study.cells if cell.dataset == dataset]
        order = _order(cells, threshold)
        for cell in cells:
            flags = hits(cell.cases, threshold)
            attacked = set(cell.cases["target"])
            for sign in SIGNS:
                for position, attribute in enumerate(order):
                    if attribute in attacked:
                        mine = (cell.cases["target"] == attribute) & (cell.cases["sign"] == sign)
                        own = {"sign": sign, "attribute": attribute, "position": position}
                        found = share(flags[mine], cell.cases["cluster"][mine])
                        rows.append(cell.identity | own | {"threshold": threshold} | found)
    return pd.DataFrame(rows)


def _order(cells: list[Cell], threshold: float) -> list[str]:
    """Sort the attributes by their rate under the leading attack, ascending; those it lacks come last."""

    def rank(cell: Cell) -> tuple[bool, ...]:
        return cell.early, cell.attack_kind != "fgs", cell.search != "line", cell.loss != "euclidean"

    leader = min(cells, key=rank)
    cases = of_sign(leader.cases, "+")
    rates = hits(cases, threshold).groupby(cases["target"]).mean().to_dict()
    names = {name for cell in cells for name in cell.cases["target"].dropna().unique()}
    return sorted(names, key=lambda name: (name not in rates, rates.get(name, 0.0), name))


def _figure(study: Study, table: pd.DataFrame, threshold: float) -> Figure:
    drawn = table[table["checkpoint"] == CONVERGED]
    drawn = table if drawn.empty else drawn
    blocks = [
        (dataset, stand_in_for, loss, search)
        for dataset, stand_in_for in study.datasets
        for loss in dict.fromkeys(drawn["loss"])
        for search in searches_of(drawn["search"])
        if not _part(drawn, dataset, loss, search).empty
    ]
    # A series has one colour in all panels.
    series = list(dict.fromkeys(zip(drawn["model"], drawn["method"], strict=True)))
    names = {dataset: _names(drawn[drawn["dataset"] == dataset]) for dataset, _ in study.datasets}
    longest = max(len(model) + len(method) for model, method in series)
    wide = max(5.0, 0.27 * max(map(len, names.values())) + 1.0)
    most = max(len(_part(drawn, d, loss, s).groupby(["model", "method"])) for d, _, loss, s in blocks)
    figure = drawing.figure(wide + 2.2 + 0.075 * longest, max(3.9, 0.5 * most + 2.4) * len(blocks) + 0.4)
    for axes, (dataset, stand_in_for, loss, search) in drawing.panels(figure, blocks, across=1):
        _panel(axes, _part(drawn, dataset, loss, search), names[dataset], series)
        place = drawing.dataset_text(dataset, stand_in_for)
        axes.set_title(f"{place}: {search_text(search)}, {loss} loss", fontsize=10)
    drawing.title(
        figure, f"Attributes flipped with {threshold_text(threshold)} (+ right before, − wrong before)"
    )
    return figure


def _part(table: pd.DataFrame, dataset: str, loss: str, search: str) -> pd.DataFrame:
    return table[(table["dataset"] == dataset) & (table["loss"] == loss) & (table["search"] == search)]


def _names(table: pd.DataFrame) -> list[str]:
    """Return the attributes of a data set in their order."""
    return list(dict.fromkeys(table.sort_values("position", kind="stable")["attribute"]))


def _panel(axes: Any, rows: pd.DataFrame, names: list[str], series: list[tuple[str, str]]) -> None:
    places = {name: place for place, name in enumerate(names)}
    for position, (model, method) in enumerate(series):
        own = rows[(rows["model"] == model) & (rows["method"] == method)]
        for sign in SIGNS:
            mine = own[(own["sign"] == sign) & (own["n"] > 0)]
            if mine.empty:
                continue
            mine = mine.sort_values("position", kind="stable")
            name = f"{model}, {method_text(method)}{SIGN_TEXT[sign]} (n = {int(mine['n'].sum()):,})"
            at, rates = mine["attribute"].map(places), 100 * mine["rate"].astype(float)
            axes.plot(at, rates, label=name, linewidth=1, **sign_style(position, sign))
    drawing.category_axis(axes, map(drawing.spaced, names))
    drawing.percent_axis(axes, "% flipped")
    drawing.legend_beside(axes)
