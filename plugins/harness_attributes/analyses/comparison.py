"""Model comparison: are two models' errors, or success rates, different over the attributes they share?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from harness.analysis.analysis import Analysis
from harness.errors import HarnessError
from harness.results import Results
from harness_attributes.analyses import drawing
from harness_attributes.analyses.classification import errors_of
from harness_attributes.analyses.selections import SIGNS, chosen, hits, of_sign, read_study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]
ERROR, SUCCESS = "classification error", "success rate"
TESTS = ("mean_first", "mean_second", "mean_difference", "low", "high", "t", "t_p", "wilcoxon", "wilcoxon_p")


def run(results: Results, *, threshold: float = 0.95, models: Sequence[str] = ()) -> Analysis:
    """Paired comparison of every two models over the attributes that both answer.

    Rows: pair x measure, the measure being the classification error (from the cards) or the success rate with
    PASS >= threshold of an attack on cases that were right ("+") or wrong ("-") before. ``n`` attributes are
    paired; ``mean_difference`` is first minus second, with its 95 % t interval. ``t_p`` is the two-sided
    paired t-test of the paper, ``wilcoxon_p`` the signed-rank test, which does not assume normality.
    ``t_p_holm`` and ``wilcoxon_p_holm`` are corrected for all rows of the data set (Holm 1979). A test is
    null where it is not defined: fewer than two attributes, or differences that do not vary.

    Args:
        threshold: of PASS.
        models: labels of those that are compared; all by default.

    Raises:
        HarnessError: fewer than two models share a measure, or PASS is needed and was not measured.
    """
    values = _values(results, threshold)
    names = {model for _, _, _, by_model in values for model in by_model}
    chosen(models, names, "model")
    rows: list[dict[str, Any]] = []
    differences: list[Floats] = []
    for dataset, stand_in_for, what, by_model in values:
        compared = [model for model in by_model if not models or model in models]
        for first, second in combinations(compared, 2):
            common = [name for name in by_model[first] if name in by_model[second]]
            if not common:
                continue
            one = np.array([by_model[first][name] for name in common])
            other = np.array([by_model[second][name] for name in common])
            known = {
                "dataset": dataset,
                "stand_in_for": stand_in_for,
                "first": first,
                "second": second,
                **what,
            }
            rows.append(known | {"n": len(common), **paired_tests(one, other)})
            differences.append(one - other)
    if not rows:
        raise HarnessError(f"{results.path}: no two models share an attribute; a comparison needs two models")
    table = pd.DataFrame(rows)
    for test in ("t_p", "wilcoxon_p"):
        table[f"{test}_holm"] = table.groupby("dataset", sort=False)[test].transform(holm)
    return Analysis(table, _figure(table, differences, threshold))


def paired_tests(first: Floats, second: Floats) -> dict[str, float | None]:
    """Paired two-sided tests of first - second; null where not defined.

    Args:
        first: (n,) values, paired with
        second: (n,) values.
    """
    from scipy import stats

    difference = first - second
    found: dict[str, float | None] = dict.fromkeys(TESTS)
    found |= {
        "mean_first": float(first.mean()),
        "mean_second": float(second.mean()),
        "mean_difference": float(difference.mean()),
    }
    # Rounding leaves differences of equal pairs at 1e-17, which would be "very significant".
    difference = np.where(np.isclose(difference, 0, atol=1e-12), 0.0, difference)
    if np.any(difference != 0):
        ranked = stats.wilcoxon(difference)
        found |= {"wilcoxon": float(ranked.statistic), "wilcoxon_p": float(ranked.pvalue)}
    if difference.size > 1 and float(np.ptp(difference)) > 1e-12:
        tested = stats.ttest_1samp(difference, 0.0)
        interval = tested.confidence_interval(0.95)
        found |= {"t": float(tested.statistic), "t_p": float(tested.pvalue)}
        found |= {"low": float(interval.low), "high": float(interval.high)}
    return found


def holm(p: pd.Series[float]) -> pd.Series[float]:
    """p values corrected for their number by Holm's step-down method; null ones are no tests, and stay."""
    tested = p.dropna().astype(float).sort_values(kind="stable")
    factors = np.arange(len(tested), 0, -1)
    corrected = np.minimum(1.0, np.maximum.accumulate(tested.to_numpy() * factors))
    return pd.Series(corrected, index=tested.index, dtype=float).reindex(p.index)


Values = tuple[str, str | None, dict[str, Any], Mapping[str, Mapping[str, float]]]


def _values(results: Results, threshold: float) -> list[Values]:
    """Dataset, stand-in, what is measured, and by model and attribute its value."""
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
                        cases = of_sign(study.cases[cell.id], sign)
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
    figure = drawing.new_figure(0.085 * longest + 1.2 + 2.1 * len(columns), sum(heights) + 0.6)
    grid = drawing.panels(figure, len(datasets), len(columns), height_ratios=heights, sharey="row")
    for line, (dataset, own), pairs in zip(grid, datasets, lines, strict=True):
        for axes, column in zip(line, columns, strict=True):
            axes.axvline(0, color="0.5", linewidth=0.8)
            for place, row in own[own["column"] == column].iterrows():
                _pair(axes, pairs.index((row["first"], row["second"])), row, differences[int(str(place))])
            axes.set_title(column, fontsize=9)
            axes.set_xlabel("points", fontsize=9)
            for side in ("top", "right"):
                axes.spines[side].set_visible(False)
        labels = [f"{first}\n− {second}" for first, second in pairs]
        line[0].set_yticks(range(len(pairs)), labels, fontsize=8)
        line[0].set_ylim(len(pairs) - 0.4, -0.6)
        title = drawing.dataset_text(str(dataset), own["stand_in_for"].iloc[0])
        line[0].set_ylabel(f"{title}\nn = {drawing.range_text(own['n'])} attributes", fontsize=9)
    figure.suptitle(
        f"Differences between models by attribute, their mean and 95 % interval; success: "
        f"{drawing.threshold_text(threshold)}",
        fontsize=11,
    )
    return figure


def _measure_text(row: Any) -> str:
    if row.measure == ERROR:
        return ERROR
    searched = f"\n{drawing.SEARCH_TEXT.get(row.search, row.search)}" if row.search else f"\n{row.threat}"
    return f"{SUCCESS} {drawing.method_text(row.method)}{drawing.SIGN_TEXT[row.sign]}{searched}"


def _pair(axes: Any, place: int, row: pd.Series[Any], difference: Floats) -> None:
    axes.plot(
        100 * difference,
        np.full(len(difference), place),
        "|",
        color=drawing.COLOURS[0],
        markersize=8,
        alpha=0.6,
    )
    mean = 100 * float(row["mean_difference"])
    if not pd.isna(row["low"]):
        axes.plot(
            [100 * row["low"], 100 * row["high"]], [place + 0.22] * 2, color=drawing.COLOURS[1], linewidth=2
        )
    axes.plot([mean], [place + 0.22], "D", color=drawing.COLOURS[1], markersize=5)
