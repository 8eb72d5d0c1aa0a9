"""Robustness progress counts adversarials before and after further training (Rozsa et al., table 2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness.analysis import Analysis, drawing
from harness.analysis.reading import estimate_columns
from harness.errors import HarnessError
from harness.metrics import NOTHING, Estimate
from harness.metrics.paired import mean_over_groups
from harness.results import Results
from harness_attributes.analyses.names import SIGN_TEXT, method_text, search_text, threshold_text
from harness_attributes.analyses.study import KEY, SIGNS, Cell, Study, hits, read_study, share

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def run(results: Results, *, threshold: float = 0.95, search: str = "line") -> Analysis:
    """Count adversarials at an early checkpoint, at convergence, and of the same case at both.

    Rows: pair of models that differ only in their checkpoint x attack x sign. The sign is the one that each
    checkpoint gives a case. Only ``n`` cases with an outcome at both count. ``early_count`` of ``early_n``
    and ``converged_count`` of ``converged_n`` are adversarials with PASS >= threshold. ``overlap`` are those
    in both sets with the row's sign, and ``overlap_any_sign`` those of the early set that are in the other
    with either sign; the paper's "in both sets" is ``overlap`` of the row "both". ``overlap_rate`` is
    ``overlap`` over ``early_count``. ``lost`` are the early adversarials that are not in ``overlap``, of
    which ``lost_right`` are classified correctly at convergence. Where early adversarials were transferred to
    the converged model, ``still_flips`` of ``transferred`` still change its decision; ``still_mean`` is the
    mean of these rates over attributes.

    Args:
        threshold: of PASS.
        search: of the attacks that are compared.

    Raises:
        HarnessError: no two models differ only in their checkpoint, or PASS is needed and was not measured.
    """
    study = read_study(results, (threshold,), transfers=True)
    table = table_of(study, threshold, search)
    if table.empty:
        raise HarnessError(
            f'{results.path}: no two models with search = "{search}" differ only in their checkpoint; '
            'give a model checkpoint = [2, "converged"] in the suite'
        )
    return Analysis(table, _figure(table, threshold, search))


def table_of(study: Study, threshold: float, search: str) -> pd.DataFrame:
    """Return a row per pair of checkpoints, attack and sign; empty where there is no pair."""
    rows: list[dict[str, Any]] = []
    for early, late in pairs(study, search):
        both = paired(early, late, threshold)
        for sign in (*SIGNS, "both"):
            rows.append(
                {
                    "dataset": late.dataset,
                    "stand_in_for": late.stand_in_for,
                    "model": late.model,
                    "early": early.model,
                    "checkpoint": early.checkpoint,
                    "loss": late.loss,
                    "method": late.method,
                    "search": search,
                    "threat": late.threat,
                    "sign": sign,
                    "threshold": threshold,
                    "n": len(both),
                    **_counts(both, sign),
                    **_still(study, early, late, sign, threshold),
                }
            )
    return pd.DataFrame(rows)


def pairs(study: Study, search: str) -> Iterator[tuple[Cell, Cell]]:
    """Yield cells of the same attack on an early and on the converged checkpoint of a model."""
    for late in study.cells:
        if late.early or late.search != search:
            continue
        for early in study.cells:
            same = (early.dataset, early.family, early.method, early.search, early.threat)
            if early.early and same == (late.dataset, late.family, late.method, late.search, late.threat):
                yield early, late


def paired(early: Cell, late: Cell, threshold: float) -> pd.DataFrame:
    """Return the cases with an outcome at both checkpoints: cluster; sign and hit, with _early and _late."""
    one, other = (
        cell.cases[[*KEY, "cluster", "sign"]].assign(hit=hits(cell.cases, threshold))
        for cell in (early, late)
    )
    return one.merge(other.drop(columns="cluster"), on=KEY, suffixes=("_early", "_late"))


def _counts(both: pd.DataFrame, sign: str) -> dict[str, Any]:
    whole = pd.Series(True, index=both.index)
    here = whole if sign == "both" else both["sign_early"] == sign
    there = whole if sign == "both" else both["sign_late"] == sign
    before = both["hit_early"] & here
    again = stays(both)
    found = share(again[before], both["cluster"][before])
    return {
        "early_n": int(here.sum()),
        "converged_n": int(there.sum()),
        "early_count": int(before.sum()),
        "converged_count": int((both["hit_late"] & there).sum()),
        "overlap": found["count"],
        "overlap_any_sign": int((before & both["hit_late"]).sum()),
        "overlap_rate": found["rate"],
        "overlap_low": found["low"],
        "overlap_high": found["high"],
        "lost": int((before & ~again).sum()),
        "lost_right": int((before & ~again & (both["sign_late"] == "+")).sum()),
    }


def stays(both: pd.DataFrame) -> pd.Series[bool]:
    """Return of paired cases which are adversarials at convergence, with the sign that they had before."""
    return both["hit_late"] & (both["sign_early"] == both["sign_late"])


def transferred(study: Study, early: Cell, late: Cell, threshold: float) -> pd.DataFrame | None:
    """Return early adversarials that the converged model judged.

    Columns: sample_id, target, cluster, sign when made, flips. None where they were not transferred.
    """
    moved = moved_cell(study, early, late)
    if moved is None:
        return None
    made = early.cases[hits(early.cases, threshold)][[*KEY, "cluster", "sign"]]
    judged = moved.cases[[*KEY, "success"]].rename(columns={"success": "flips"})
    return made.merge(judged, on=KEY)


def moved_cell(study: Study, early: Cell, late: Cell) -> Cell | None:
    """Return the cell in which the converged model judged the early one's adversarials; None without one."""
    for cell in study.transfers:
        if (cell.source, cell.model, cell.dataset) == (early.id, late.model, late.dataset):
            return cell
    return None


def _still(study: Study, early: Cell, late: Cell, sign: str, threshold: float) -> dict[str, Any]:
    judged = transferred(study, early, late, threshold)
    names = ("still_flips", "transferred", "still_rate", "still_low", "still_high")
    if judged is None:
        return dict.fromkeys(names) | estimate_columns("still_mean", NOTHING)
    own = judged if sign == "both" else judged[judged["sign"] == sign]
    found = share(own["flips"], own["cluster"])
    return dict(zip(names, found.values(), strict=True)) | estimate_columns("still_mean", still_mean(own))


def still_mean(judged: pd.DataFrame) -> Estimate:
    """Return the mean over attributes of the share that still flips, the diagonal of figure 4."""
    return mean_over_groups(judged.rename(columns={"flips": "value", "target": "group"}))


def _figure(table: pd.DataFrame, threshold: float, search: str) -> Figure:
    groups = list(table.groupby(["dataset", "model", "early"], sort=False))
    bars = [
        ("early_count", "early", drawing.COLOURS[5]),
        ("converged_count", "converged", drawing.COLOURS[0]),
        ("overlap", "in both, same sign", drawing.COLOURS[4]),
        ("still_flips", "early perturbation still flips the converged model", drawing.COLOURS[1]),
    ]
    width = max(
        2.0 + 1.15 * 2 * int(table.groupby(["dataset", "model", "early"])["method"].nunique().max()), 5.5
    )
    figure = drawing.figure(width + 3.8, 3.1 * len(groups) + 0.4)
    for axes, (_, own) in drawing.panels(figure, groups, across=1):
        _bars(axes, own[own["sign"] != "both"], bars)
    drawing.legend_beside(figure, {label: colour for _, label, colour in bars})
    told = f"{threshold_text(threshold)}, {search_text(search)}"
    drawing.title(figure, f"Adversarials before and after further training, {told}")
    return figure


def _bars(axes: Any, rows: pd.DataFrame, bars: list[tuple[str, str, str]]) -> None:
    first = rows.iloc[0]
    top = float(rows[["early_count", "converged_count"]].max().max())
    for position, (column, _, colour) in enumerate(bars):
        heights = rows[column].astype(float).to_numpy()
        places = np.arange(len(rows)) + (position - 1.5) * 0.21
        shown = ~np.isnan(heights)
        axes.bar(places[shown], heights[shown], 0.19, color=colour)
        for place, height in zip(places[shown], heights[shown], strict=True):
            axes.annotate(
                f"{int(height):,}",
                (place, height),
                (0, 2),
                textcoords="offset points",
                ha="center",
                fontsize=7,
                rotation=0 if height < 1000 else 30,
            )
    names = [
        method_text(method) + SIGN_TEXT[sign]
        for method, sign in zip(rows["method"], rows["sign"], strict=True)
    ]
    axes.set_xticks(range(len(rows)), names)
    axes.set_ylim(0, top * 1.18 or 1)
    axes.set_ylabel("adversarials")
    drawing.plain_axes(axes)
    axes.set_title(
        f"{drawing.dataset_text(first['dataset'], first['stand_in_for'])}: "
        f"{first['early']} → {first['model']} (n = {drawing.range_text(rows['n'])} cases)",
        fontsize=10,
        loc="left",
    )
