"""Pixel change shows by how many 8-bit levels adversarials differ from their images (figure 7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from harness.analysis import Analysis, drawing
from harness.analysis.pictures import KEEP, adversarials, originals, pixels
from harness.analysis.reading import estimate_columns, typed
from harness.errors import HarnessError
from harness.metrics import Estimate, mean
from harness.results import Results
from harness_bayes.analyses.l2_by_model import shown_models
from harness_bayes.analyses.names import attack_text, data_text, look, model_text
from harness_bayes.analyses.quoted import WITHIN_GREY_LEVELS
from harness_bayes.analyses.study import CLOSEST, Attacked, Data, Study, read_study, reasons

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEVELS = 256
SHOWN = 64
"""The figure ends here; what lies beyond is in its last bar."""
COLUMNS = 8
"""Models side by side at most."""


@dataclass(frozen=True, eq=False)
class Change:
    """A change counts the changed values of a model's adversarials."""

    item: Attacked
    counts: npt.NDArray[np.int64]
    """(256,): values (pixels x channels) that differ by so many 8-bit levels."""
    within: Estimate
    """The share of values within five 8-bit levels, with its interval over clusters."""
    images: int


def run(results: Results, *, attack: str = CLOSEST, every_model: bool = False) -> Analysis:
    """Tell how far the values of adversarials lie from their originals, per data set and model.

    Rows: data set x model, over the ``n`` successful adversarials of cases that were right of which both
    pictures are kept, of ``broken`` in all. ``within_5`` is the share of values (a pixel has one per channel)
    that differ by at most five 8-bit levels of 255, with an interval over clusters; ``unchanged`` are those
    that do not differ; ``mean_change`` and ``largest_change`` are in 8-bit levels. ``histogram`` has the part
    of values at each difference from 0 to 255. ``mean_l2`` is over all ``broken`` cases.

    Args:
        attack: label or name; "closest" takes of each case the nearest adversarial of all attacks.
        every_model: draw CNN variants and adversarially trained CNNs too (the table has them anyway).

    Raises:
        HarnessError: there is no such attack, or no picture was kept.
    """
    study = read_study(results)
    items = study.of(attack)
    changes = [change_of(results, item) for item in items]
    if not any(change.images for change in changes):
        raise HarnessError(f'{results.path}: no adversarial of "{attack}" is kept; {KEEP}')
    table = typed([_row(change) for change in changes])
    return Analysis(table, _figure(study, changes, every_model))


def change_of(results: Results, item: Attacked) -> Change:
    """Count the changed values of a model's adversarials of which both pictures are kept.

    Raises:
        HarnessError: the folder keeps no pictures.
    """
    kept = originals(results, item.data.label)
    counts = np.zeros(LEVELS, np.int64)
    within, seen = [], []
    for case, made in adversarials(results, item.broken):
        original = kept.get(case["sample_id"])
        if original is not None:
            levels = np.abs(made.astype(np.int16) - pixels(original))
            counts += np.bincount(levels.ravel(), minlength=LEVELS)
            within.append(float((levels <= WITHIN_GREY_LEVELS).mean()))
            seen.append(case["cluster"])
    return Change(item, counts, mean(within, np.array(seen, object)), len(seen))


def _row(change: Change) -> dict[str, Any]:
    item, counts = change.item, change.counts
    total = int(counts.sum())
    levels = np.arange(LEVELS)
    l2 = item.l2
    missing = None
    if change.images < l2.n:
        missing = f"pictures of {change.images:,} of {l2.n:,} adversarials are kept"
        missing = missing if change.images else "no picture of an adversarial is kept"
    return {
        **item.identity,
        "n": change.images,
        "broken": l2.n,
        "values": total,
        **estimate_columns(f"within_{WITHIN_GREY_LEVELS}", change.within),
        "unchanged": counts[0] / total if total else None,
        "mean_change": float(counts @ levels) / total if total else None,
        "largest_change": int(levels[counts > 0].max()) if total else None,
        "histogram": (counts / total).tolist() if total else None,
        **estimate_columns("mean_l2", l2),
        "coverage": item.coverage,
        "reason": reasons(item.reason, missing),
    }


# --- figure -----------------------------------------------------------------------------------------------


def _figure(study: Study, changes: Sequence[Change], every: bool) -> Figure:
    labels = [model.label for model in shown_models(study, every)]
    drawn = [change for change in changes if change.images and change.item.model.label in labels]
    drawn = drawn or [change for change in changes if change.images]
    held = {change.item.model.label for change in drawn}
    kinds = [model for model in study.models if model.label in held][:COLUMNS]
    datasets = [data for data in study.datasets if any(change.item.data == data for change in drawn)]
    figure = drawing.figure(2.0 * len(kinds) + 0.9, 1.65 * len(datasets) + 0.9)
    grid = figure.subplots(len(datasets), len(kinds), squeeze=False, sharex=True, sharey=True)
    by_key = {(change.item.data, change.item.model.label): change for change in drawn}
    for line, data in zip(grid, datasets, strict=True):
        labelled = False
        for axes, model in zip(line, kinds, strict=True):
            change = by_key.get((data, model.label))
            if change is None:
                axes.set_axis_off()
            else:
                _histogram(axes, change)
                axes.tick_params(labelleft=not labelled)
                labelled = True
            if data == datasets[0]:
                _beside(axes, model_text(model), (0.5, 1.0), (0, 34), fontsize=9.5, fontweight="bold")
        # Where the first model has no picture, its axes are off, and so would be their label.
        _beside(line[0], _place_text(data), (0.0, 0.5), (-44, 0), va="center", rotation=90, fontsize=8)
    name = attack_text(drawn[0].item)
    figure.supxlabel(
        f"|change| of a value in 8-bit levels of 255 (the last bar holds all from {SHOWN} on)", fontsize=9
    )
    told = f"Share of values by change, {name}; shaded: within {WITHIN_GREY_LEVELS} 8-bit levels"
    drawing.title(figure, told)
    return figure


def _beside(
    axes: Axes, text: str, at: tuple[float, float], points: tuple[float, float], **options: Any
) -> None:
    """Write a text beside a panel, so many points off a place in shares of the panel."""
    axes.annotate(
        text, at, points, xycoords="axes fraction", textcoords="offset points", ha="center", **options
    )


def _place_text(data: Data) -> str:
    return data_text(data, "\n") + "\nshare of values"


def _histogram(axes: Axes, change: Change) -> None:
    shares = change.counts / change.counts.sum()
    bars = np.append(shares[:SHOWN], shares[SHOWN:].sum())
    axes.axvspan(-0.5, WITHIN_GREY_LEVELS + 0.5, color="0.93", zorder=0)
    axes.stairs(bars, np.arange(SHOWN + 2) - 0.5, fill=True, color=look(change.item.model.kind)["color"])
    axes.set_yscale("log")
    axes.set_ylim(1e-4, 1.5)
    axes.set_xlim(-1, SHOWN + 1)
    axes.set_xticks(range(0, SHOWN + 1, 16))
    axes.tick_params(labelsize=7.5)
    drawing.plain_axes(axes)
    l2, within = change.item.l2, change.within
    share = "" if within.value is None else f"{drawing.percent(within.value)} within {WITHIN_GREY_LEVELS}"
    axes.set_title(f"mean L2 {l2.value:.2f}, n = {change.images:,}\n{share}", fontsize=8)
