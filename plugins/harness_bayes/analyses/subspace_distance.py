"""Subspace distance holds L2 against half the way to the other class's subspace (figure 11)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness.analysis import Analysis, drawing
from harness.analysis.claims import told
from harness.analysis.reading import estimate_columns, typed
from harness.errors import HarnessError
from harness.metrics import Estimate, mean
from harness.metrics.paired import correlation
from harness.results import Results
from harness_bayes.analyses.names import attack_text, data_text
from harness_bayes.analyses.study import CLOSEST, OPTIMAL, Attacked, Study, read_study, reasons

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ANNOTATION = "subspace_distance"
TOLERANCE = 0.15
"""Of the ratio around 1: what is shaded in the figure, and what the claim allows."""


@dataclass(frozen=True, eq=False)
class Halves:
    """Halves hold the optimal classifier's adversarials on a data set, and their images' distances."""

    item: Attacked
    distances: pd.Series[float]
    """Of all images that the folder knows it of, by sample id."""
    cases: pd.DataFrame
    """sample_id, cluster, l2, distance, ratio of l2 to half the distance; of adversarials whose distance is
    known."""

    @property
    def mean_distance(self) -> Estimate:
        """Mean distance of all images; one that was not attacked is a cluster of its own."""
        cluster = self.item.cases.set_index("sample_id")["cluster"]
        images = self.distances.index.to_series()
        return mean(self.distances, images.map(cluster).fillna(images))

    @property
    def ratio(self) -> Estimate:
        """Mean of L2 over half the distance."""
        return mean(self.cases["ratio"], self.cases["cluster"])

    @property
    def correlation(self) -> float | None:
        """Pearson's, of L2 and distance over cases; None where fewer than three, or all alike."""
        return correlation(self.cases["l2"], self.cases["distance"])


def run(results: Results, *, attack: str = CLOSEST) -> Analysis:
    """Compare L2 of the Bayes-optimal model with half the distance to the other class's nearest subspace.

    Rows: data set. ``mean_distance`` is over the ``images`` whose distance the data set knows. Over the ``n``
    adversarials of cases that were right and whose distance is known: ``mean_l2``, ``ratio``, the mean of
    L2 over half the distance, and ``correlation`` of L2 and distance. Lemma 3 expects a ratio of 1 of
    symmetric data sets; asymmetric ones, of whose outliers the distance knows nothing, are shown beside them.

    Args:
        attack: label or name; "closest" takes of each case the nearest adversarial of all attacks.

    Raises:
        HarnessError: there is no such attack, the Bayes-optimal model was not attacked, or no data set told
            the distances.
    """
    study = read_study(results)
    found = halves_of(study, attack)
    table = typed([_row(halves) for halves in found])
    return Analysis(table, _figure(found))


def halves_of(study: Study, attack: str) -> list[Halves]:
    """Return those of each data set whose distances are known, in order.

    Raises:
        HarnessError: as of ``run``.
    """
    items = [item for item in study.of(attack) if item.model.kind == OPTIMAL]
    if not items:
        raise HarnessError(
            f'{study.results.path}: the Bayes-optimal model was not attacked; put the model "{OPTIMAL}" and '
            'an attack such as "component-gradient" into the suite'
        )
    known = distances(study.results)
    found = [
        _halves(item, known[data.label])
        for data in study.datasets
        if data.label in known
        for item in study.models_on(items, data)
    ]
    if not found:
        raise HarnessError(
            f'{study.results.path}: no data set tells "{ANNOTATION}" of its images; attack samples of '
            '"mfa-symmetric", and run the suite again where an earlier version wrote the folder'
        )
    return found


def distances(results: Results) -> dict[str, pd.Series[float]]:
    """Return by data set the distance of each image by sample id."""
    told = results.annotations()
    told = told[(told["name"] == ANNOTATION) & told["value"].notna()]
    return {
        str(label): own.drop_duplicates("sample_id").set_index("sample_id")["value"].astype(float)
        for label, own in told.groupby("dataset", sort=False)
    }


def _halves(item: Attacked, known: pd.Series[float]) -> Halves:
    cases = item.broken[["sample_id", "cluster", "l2"]].copy()
    cases["distance"] = cases["sample_id"].map(known).astype(float)
    cases = cases[cases["distance"] > 0].reset_index(drop=True)  # on the subspace itself there is no ratio
    cases["ratio"] = 2 * cases["l2"] / cases["distance"]
    return Halves(item, known, cases)


def _row(halves: Halves) -> dict[str, Any]:
    item, cases, far = halves.item, halves.cases, halves.distances
    unknown = len(item.broken) - len(cases)
    told = [
        item.reason,
        f"the distance of {unknown:,} adversarials is not known, or 0" if unknown else None,
        "a correlation needs three cases that differ" if halves.correlation is None else None,
    ]
    return {
        **item.identity,
        "images": len(far),
        **estimate_columns("mean_distance", halves.mean_distance),
        **estimate_columns("mean_l2", mean(cases["l2"], cases["cluster"])),
        "n": len(cases),
        **estimate_columns("ratio", halves.ratio),
        "ratio_of_means": float(cases["l2"].mean() / cases["distance"].mean() * 2) if len(cases) else None,
        "correlation": halves.correlation,
        **estimate_columns("success_rate", item.success),
        "coverage": item.coverage,
        "reason": reasons(*told),
    }


# --- figure -----------------------------------------------------------------------------------------------

DISTANCE, HALF, MEASURED = (drawing.COLOURS[place] for place in (0, 5, 1))


def _figure(found: Sequence[Halves]) -> Figure:
    figure = drawing.figure(9.6, 2.1 * len(found) + 0.9)
    grid = figure.subplots(len(found), 2, squeeze=False, width_ratios=[1.75, 1])
    for (left, right), halves in zip(grid, found, strict=True):
        _histograms(left, halves)
        _scatter(right, halves)
    name = attack_text(found[0].item)
    handles, texts = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside lower left", ncols=3, frameon=False, fontsize=9)
    drawing.title(figure, f"Distance to the other class and what fools the Bayes-optimal model ({name})")
    return figure


def _histograms(axes: Axes, halves: Halves) -> None:
    far, cases = halves.distances, halves.cases
    top = float(max(far.max(), cases["l2"].max() if len(cases) else 0.0)) * 1.03 or 1.0
    bins = np.linspace(0, top, 37).tolist()
    axes.hist(
        far, bins, color=DISTANCE, alpha=0.85, label="distance to the nearest subspace of the other class"
    )
    axes.hist(far / 2, bins, color=HALF, alpha=0.6, label="half of it")
    if len(cases):
        axes.hist(
            cases["l2"], bins, histtype="step", linewidth=1.8, color=MEASURED, label="L2 of the adversarial"
        )
    axes.set_xlim(0, top)
    axes.set_ylabel("images", fontsize=9)
    axes.set_xlabel("L2", fontsize=9)
    means = f"mean distance {far.mean():.2f}"
    if len(cases):
        means += f", mean L2 {cases['l2'].mean():.2f}"
    place = data_text(halves.item.data)
    axes.set_title(f"{place}\n{means}, n = {len(cases):,}", fontsize=9, loc="left")
    drawing.plain_axes(axes)


def _scatter(axes: Axes, halves: Halves) -> None:
    cases, ratio = halves.cases, halves.ratio
    drawing.plain_axes(axes)
    axes.set_xlabel("half the distance", fontsize=9)
    axes.set_ylabel("L2", fontsize=9)
    if cases.empty:
        axes.set_title(halves.item.reason or "no adversarial", fontsize=8, loc="left", wrap=True)
        return
    top = 1.06 * float(max(cases["distance"].max() / 2, cases["l2"].max()))
    ends = np.array([0.0, top])
    axes.fill_between(ends, (1 - TOLERANCE) * ends, (1 + TOLERANCE) * ends, color="0.9", linewidth=0)
    axes.plot(ends, ends, color="0.5", linewidth=1)
    axes.plot(cases["distance"] / 2, cases["l2"], ".", color=MEASURED, markersize=4, alpha=0.6)
    axes.set_xlim(0, top)
    axes.set_ylim(0, top)
    axes.set_aspect("equal")
    text = f"L2 / half: {told(ratio)}"
    if halves.correlation is not None:
        text += f"\nr = {halves.correlation:.2f}".replace("-0.00", "0.00").replace("-", "−")
    axes.set_title(text, fontsize=9, loc="left")
