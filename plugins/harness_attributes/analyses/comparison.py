"""Model comparison tests whether two models' errors or success rates differ over shared attributes.

The paper tests errors in pairs and does not say what is paired. Here it is attributes, which two models share
whatever images they were scored on. The paper's smallest p value cannot be such a test: LNets+ANet errs by
29 % on Wearing Necklace and by 1 % on Eyeglasses, so that its differences to any good network vary too much
for p < 1e-28 with 40 pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness.analysis import Analysis, drawing
from harness.analysis.reading import choose
from harness.errors import HarnessError
from harness.metrics import Estimate
from harness.metrics.paired import Floats, holm, paired_tests
from harness.results import Results
from harness_attributes.analyses.errors import errors_of, scored
from harness_attributes.analyses.names import SIGN_TEXT, method_text, search_text, threshold_text
from harness_attributes.analyses.quoted import LNETS, LNETS_ERRORS
from harness_attributes.analyses.study import EUCLIDEAN, SIGNS, hits, of_sign, read_study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MEAN = ("mean_difference", "low", "high")
ERROR, SUCCESS = "classification error", "success rate"
QUOTED = f"{LNETS} (quoted)"


def run(results: Results, *, threshold: float = 0.95, models: Sequence[str] = ()) -> Analysis:
    """Compare every two models over the attributes that both answer, in pairs.

    Rows: pair x measure, the measure being the classification error (from the cards) or the success rate with
    PASS >= threshold of an attack on cases that were right ("+") or wrong ("-") before. Errors are compared
    with those quoted of LNets+ANet too. ``n`` attributes are paired; ``mean_difference`` is first minus
    second, with its 95 % t interval. ``t_p`` is a two-sided paired t-test, as in the paper, over attributes,
    ``wilcoxon_p`` the signed-rank test, which does not assume normality. Both take attributes for
    independent, though images are the same. ``t_p_holm`` and ``wilcoxon_p_holm`` are corrected for the tests
    of the row's ``family`` (Holm 1979): the errors that the paper compares, other errors, and the success
    rates of one attack and sign. A test is null where it is not defined: fewer than two attributes, or
    differences that do not vary.

    Args:
        threshold: of PASS.
        models: labels of those that are compared; all by default.

    Raises:
        HarnessError: fewer than two models share a measure, or PASS is needed and was not measured.
    """
    values = _values(results, threshold)
    names = {model for _, _, _, by_model in values for model in by_model}
    choose(models, names - {QUOTED}, "model")
    tested = {dataset: _published(results, dataset) for dataset, *_ in values}
    rows: list[dict[str, Any]] = []
    differences: list[Floats] = []
    for dataset, stand_in_for, what, by_model in values:
        compared = [model for model in by_model if not models or model in models or model == QUOTED]
        for first, second in combinations(compared, 2):
            common = [name for name in by_model[first] if name in by_model[second]]
            if not common:
                continue
            one = np.array([by_model[first][name] for name in common])
            other = np.array([by_model[second][name] for name in common])
            known = {"dataset": dataset, "stand_in_for": stand_in_for, "first": first, "second": second}
            family = _family(what, frozenset({first, second}) in tested[dataset])
            rows.append(known | what | {"n": len(common), **paired_tests(one, other), "family": family})
            differences.append(one - other)
    if not rows:
        raise HarnessError(f"{results.path}: no two models share an attribute; a comparison needs two models")
    table = pd.DataFrame(rows)
    for test in ("t_p", "wilcoxon_p"):
        table[f"{test}_holm"] = table.groupby(["dataset", "family"], sort=False)[test].transform(holm)
    return Analysis(table, _figure(table, differences, threshold))


def _family(what: Mapping[str, Any], published: bool) -> str:
    """Return of which tests a test is one: those that one statement rests on."""
    if what["measure"] == ERROR:
        return f"{ERROR}: {'as in the paper' if published else 'others'}"
    words = [what["method"] + what["sign"], what["search"], what["threat"]]
    return f"{SUCCESS}: {' '.join(word for word in words if word)}"


def _published(results: Results, dataset: str) -> set[frozenset[str]]:
    """Return the pairs whose errors the paper tests, all with the converged separate networks.

    The other side is LNets+ANet, MOON, the networks trained with softmax, or their own early state.
    """
    models = scored(results, dataset)
    found = set()
    for one in models:
        if "separate" in one.kind and one.loss == EUCLIDEAN and not one.early:
            found.add(frozenset({one.name, QUOTED}))
            for other in models:
                joint = "moon" in other.kind
                softmax = "separate" in other.kind and other.loss == "softmax"
                if (not other.early and (joint or softmax)) or (other.early and other.family == one.family):
                    found.add(frozenset({one.name, other.name}))
    return found


Values = tuple[str, str | None, dict[str, Any], Mapping[str, Mapping[str, float]]]


def _values(results: Results, threshold: float) -> list[Values]:
    """Return data set, stand-in, what is measured, and by model and attribute its value."""
    study = read_study(results, (threshold,))
    listed = results.models()
    found: list[Values] = []
    for dataset, stand_in_for in study.datasets:
        own = listed[listed["dataset"] == dataset]
        cards = {
            model: errors
            for model, card in zip(own["model"], own["card"], strict=True)
            if (errors := errors_of(card))
        }
        cards = {**cards, QUOTED: LNETS_ERRORS} if cards else cards
        blank = {"method": None, "search": None, "threat": None, "sign": None, "threshold": None}
        found.append((dataset, stand_in_for, {"measure": ERROR, **blank}, cards))
        cells = [cell for cell in study.cells if cell.dataset == dataset]
        for method, search, threat in dict.fromkeys(
            (cell.method, cell.search, cell.threat) for cell in cells
        ):
            for sign in SIGNS:
                rates: dict[str, dict[Any, Any]] = {}
                for cell in cells:
                    if (cell.method, cell.search, cell.threat) == (method, search, threat):
                        cases = of_sign(cell.cases, sign)
                        rates[cell.model] = hits(cases, threshold).groupby(cases["target"]).mean().to_dict()
                what = {"measure": SUCCESS, "method": method, "search": search, "threat": threat}
                found.append((dataset, stand_in_for, what | {"sign": sign, "threshold": threshold}, rates))
    return found


def _figure(table: pd.DataFrame, differences: Sequence[Floats], threshold: float) -> Figure:
    names = ["measure", "method", "search", "sign", "threat"]
    table = table.assign(column=[_measure_text(row) for row in table[names].itertuples()])
    columns = list(dict.fromkeys(table["column"]))
    datasets = list(table.groupby("dataset", sort=False))
    lines = [list(dict.fromkeys(zip(own["first"], own["second"], strict=True))) for _, own in datasets]
    longest = max(len(model) for model in [*table["first"], *table["second"]])
    heights = [0.5 * len(pairs) + 1.3 for pairs in lines]
    figure = drawing.figure(0.085 * longest + 1.2 + 2.1 * len(columns), sum(heights) + 0.6)
    shape = (len(datasets), len(columns))
    grid = figure.subplots(*shape, squeeze=False, height_ratios=heights, sharey="row")
    for line, (dataset, own), pairs in zip(grid, datasets, lines, strict=True):
        for axes, column in zip(line, columns, strict=True):
            axes.axvline(0, color="0.5", linewidth=0.8)
            for place, row in own[own["column"] == column].iterrows():
                _pair(axes, pairs.index((row["first"], row["second"])), row, differences[int(str(place))])
            axes.set_title(column, fontsize=9)
            axes.set_xlabel("points", fontsize=9)
            drawing.plain_axes(axes)
        labels = [f"{first}\n− {second}" for first, second in pairs]
        line[0].set_yticks(range(len(pairs)), labels, fontsize=8)
        line[0].set_ylim(len(pairs) - 0.4, -0.6)
        title = drawing.dataset_text(str(dataset), own["stand_in_for"].iloc[0])
        line[0].set_ylabel(f"{title}\nn = {drawing.range_text(own['n'])} attributes", fontsize=9)
    told = f"by attribute, their mean and 95 % interval; success: {threshold_text(threshold)}"
    drawing.title(figure, f"Differences between models {told}")
    return figure


def _measure_text(row: Any) -> str:
    if row.measure == ERROR:
        return ERROR
    searched = f"\n{search_text(row.search)}" if row.search else f"\n{row.threat}"
    return f"{SUCCESS} {method_text(row.method)}{SIGN_TEXT[row.sign]}{searched}"


def _pair(axes: Any, place: int, row: pd.Series[Any], difference: Floats) -> None:
    axes.plot(
        100 * difference,
        np.full(len(difference), place),
        "|",
        color=drawing.COLOURS[0],
        markersize=8,
        alpha=0.6,
    )
    value, low, high = (None if pd.isna(row[name]) else float(row[name]) for name in MEAN)
    mean = Estimate(value, low, high, len(difference))
    drawing.interval(axes, place + 0.22, mean, scale=100, color=drawing.COLOURS[1], marker="D", linewidth=2)
