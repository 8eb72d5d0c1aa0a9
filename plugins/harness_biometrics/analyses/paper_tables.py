"""The tables of the paper hold areas under curves, without an attack and under three patches."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness.analysis import Analysis, drawing
from harness.analysis.comparisons import CLEAN, Verifier
from harness.analysis.reading import estimate, estimate_columns, typed
from harness.metrics import Estimate, verification as v
from harness.results import Results
from harness_biometrics.analyses.recipes import (
    NAMES,
    PATCHES,
    mirrors,
    patches_on,
    places_of,
    published_of,
    recipe_of,
    selects,
)
from harness_biometrics.analyses.study import Curve, Measured, place_text, read_study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AREAS: dict[str, Measured] = {
    "auc_roc": v.auc_roc,
    "pr_area_of_rates": v.pr_area_of_rates,
    "average_precision_intruders": partial(v.average_precision, positive="different"),
}
OURS: dict[str, Any] = {"color": drawing.COLOURS[0], "marker": "o", "linestyle": "none", "markersize": 5.5}
THEIRS: dict[str, Any] = {
    "color": "black",
    "marker": "|",
    "linestyle": "none",
    "markersize": 11,
    "markeredgewidth": 1.6,
}


def run(results: Results) -> Analysis:
    """Return the areas of tables 1 and 2 beside the published ones, with 95 % intervals over persons.

    Rows: model x condition, "clean" and each patch. ``auc_roc`` and ``pr_area_of_rates`` are what the paper
    calls AU-ROC and AU-PR, as its authors' code computes them, but over all thresholds;
    ``average_precision_intruders`` is the usual area, which depends on how many intruders there are.
    ``published_auc_roc`` and ``published_au_pr`` are those of the model's recipe, with ``mirror`` and
    ``selection`` of the reference as here: a suite that has the data set four times, with comparisons that
    differ in these, has the first four rows of table 1. There is no published clean AU-PR: table 1 has none,
    and those of table 2 repeat the AU-PR under eyeglasses digit by digit, so that they are a mistake.
    ``stops_early`` says that the attack stops once a case is accepted at the operating point, which the
    published ones do not: areas under it are larger than they would be.

    Raises:
        HarnessError: no comparisons are stored.
    """
    verifiers = read_study(results)
    table = typed(
        (row for verifier in verifiers for row in _rows(verifier)),
        ("attack", "threat", "recipe", "published_as", "condition"),
    )
    return Analysis(table, _figure(table, verifiers))


def _rows(verifier: Verifier) -> Iterator[dict[str, Any]]:
    published = published_of(verifier)
    for attacked in (None, *patches_on(verifier)):
        curve = Curve(verifier, attacked)
        condition = CLEAN if attacked is None else attacked.kind
        theirs = published.areas(condition) if published else (None, None)
        row = curve.identity | {
            "condition": condition,
            "recipe": recipe_of(verifier),
            "mirror": mirrors(verifier),
            "selection": selects(verifier),
            "places": places_of(verifier) if recipe_of(verifier) == "doa" else None,
        }
        for name, measured in AREAS.items():
            row |= estimate_columns(name, curve.sampled.estimate(measured))
        yield row | {
            "coverage": curve.coverage,
            "stops_early": None if attacked is None else attacked.stops_early,
            "published_as": f"{published.name} ({published.place})" if published else None,
            "published_auc_roc": theirs[0],
            "published_au_pr": theirs[1],
        }


def _figure(table: pd.DataFrame, verifiers: list[Verifier]) -> Figure:
    """Draw a panel per condition, and a line per model: its AU-ROC, and the published one."""
    conditions = [name for name in (CLEAN, *PATCHES) if name in set(table["condition"])]
    places = list(dict.fromkeys(place_text(verifier) for verifier in verifiers))
    names = {
        (one.dataset, one.model): one.model if len(places) == 1 else f"{one.model}, {one.dataset}"
        for one in verifiers
    }
    order = {key: at for at, key in enumerate(names)}
    figure = drawing.figure(
        2.3 * len(conditions) + 0.09 * max(map(len, names.values())) + 1.9, 0.34 * len(order) + 1.5
    )
    drawn = drawing.panels(figure, conditions, len(conditions), sharex=True, sharey=True)
    for axes, condition in drawn:
        for row in table[table["condition"] == condition].to_dict("records"):
            at = order[row["dataset"], row["model"]]
            drawing.interval(axes, at, estimate(row, "auc_roc"), **OURS)
            drawing.interval(axes, at, Estimate(row["published_auc_roc"], None, None, 0), **THEIRS)
        axes.set_title(NAMES[condition], fontsize=10)
        axes.set_xlabel("AU-ROC", fontsize=9)
        axes.axvline(0.5, color="0.7", linewidth=0.8, zorder=0)
        drawing.plain_axes(axes, "x")
    drawing.category_axis(drawn[0][0], names.values(), along="y")
    drawing.legend_beside(figure, {"measured here": OURS, "published": THEIRS})
    early = " (attacks stop at their goal, which flatters)" if table["stops_early"].eq(True).any() else ""
    drawing.title(figure, f"Areas under the ROC curve: {', '.join(places)}{early}")
    return figure
