"""Capacity compares CNNs by width, depth and training (Richardson and Weiss, figure 8)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.analysis import Analysis, drawing
from harness.analysis.reading import estimate_columns, typed
from harness.errors import HarnessError
from harness.results import Results
from harness_bayes.analyses.averages import Averaged, averaged
from harness_bayes.analyses.names import NAMES, attack_text, data_text, look
from harness_bayes.analyses.study import (
    CLOSEST,
    CNN,
    LINEAR,
    OPTIMAL,
    PGD,
    RBF,
    TRADES,
    Attacked,
    Data,
    Study,
    read_study,
    reasons,
)
from harness_bayes.analyses.variants import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

VARIABLES = ("width", "depth", "images")
TEXTS = {
    "width": "width (filters of the first layer)",
    "depth": "depth (convolutions)",
    "images": "training images",
}
TRADE_OFF = "trade-off"
NO_BETA = "no β"
ALL = "all"
"""What ``images`` is where it limits nothing."""


@dataclass(frozen=True, eq=False)
class Curve:
    """A curve joins CNNs on one data set that differ in one parameter alone."""

    data: Data
    variable: str
    points: tuple[tuple[float | None, Attacked], ...]
    """Value and model, by rising value; None is all training images, and comes last."""


Shown = Attacked | Averaged
Points = Sequence[tuple[float | None, Shown]]


@dataclass(frozen=True, eq=False)
class Place:
    """A place is a row of panels: what was found on a data set, or on average over several."""

    text: str
    curves: tuple[tuple[str, Points], ...]
    """What is varied, and the points of the curve."""
    trades: tuple[Shown, ...]
    optimal: Shown | None
    """The Bayes-optimal model."""


def run(results: Results, *, attack: str = CLOSEST) -> Analysis:
    """Tell the mean L2 of CNNs by width, depth, training images, and what adversarial training costs.

    Rows: ``part`` "width", "depth" or "images", for each data set and CNN of a series that differs in that
    parameter alone (``value``; null where ``setting`` is "all" or "no β"), and ``part`` "trade-off" for each
    data set with an adversarially trained CNN and each of its models: adversarially trained ones (``value``
    is TRADES's β), the plain CNN, the SVMs and the Bayes-optimal model. ``mean_l2`` is over ``n``
    adversarials of cases that were right, ``clean_accuracy`` over ``cases``; ``optimal_l2`` is the
    Bayes-optimal model's mean on the same data set and ``share_of_optimal`` the one over the other. Where
    several symmetric data sets have the same models, rows of their mean follow, as in the paper's figure:
    each data set counts alike, and "dataset" names them.

    Args:
        attack: label or name; "closest" takes of each case the nearest adversarial of all attacks.

    Raises:
        HarnessError: there is no such attack, no two CNNs differ in one of these alone, and none was trained
            adversarially.
    """
    study = read_study(results)
    curves = curves_of(study, attack)
    trades = {data: found for data in study.datasets if (found := trade_off(study, data, attack))}
    if not curves and not trades:
        raise HarnessError(
            f"{results.path}: no two CNNs differ in width, depth or images alone, and none is adversarially "
            f'trained; give "{CNN}" a list such as width = [4, 8, 16], or add "{TRADES}" to the suite'
        )
    places = _places(study, curves, trades, attack)
    rows = []
    for place in places:
        points = [(name, value, item) for name, curve in place.curves for value, item in curve]
        points += [(TRADE_OFF, item.model.parameters.get("beta"), item) for item in place.trades]
        rows += [_row(item, name, value, place.optimal) for name, value, item in points]
    return Analysis(typed(rows), _figure(places, study.of(attack)[0]))


def curves_of(study: Study, attack: str) -> list[Curve]:
    """Return series of at least two CNNs that differ in one parameter alone."""
    found = []
    for data in study.datasets:
        own = [item for item in study.of(attack) if item.data == data and item.model.kind == CNN]
        for variable in VARIABLES:
            series: dict[str, dict[float | None, Attacked]] = {}
            for item in own:
                rest = {name: value for name, value in item.model.parameters.items() if name != variable}
                if variable in item.model.parameters:
                    key = json.dumps([rest, item.attack, item.threat], sort_keys=True)
                    series.setdefault(key, {})[item.model.parameters[variable]] = item
            for points in series.values():
                if len(points) > 1:
                    rising = sorted(points.items(), key=lambda point: (point[0] is None, point[0] or 0.0))
                    found.append(Curve(data, variable, tuple(rising)))
    return found


def trade_off(study: Study, data: Data, attack: str) -> list[Attacked]:
    """Return the models to compare where a CNN was adversarially trained, in the paper's order."""
    own = study.models_on(study.of(attack), data)
    if not any(item.model.kind in (TRADES, PGD) for item in own):
        return []
    models = [item.model for item in own]
    shown = {model.label for kind in (OPTIMAL, LINEAR, RBF, CNN) for model in plain(models, kind)}
    kept = [item for item in own if item.model.kind in (TRADES, PGD) or item.model.label in shown]
    return sorted(
        kept, key=lambda item: (item.model.kind == TRADES, item.model.parameters.get("beta") or 0.0)
    )


def _places(
    study: Study, curves: Sequence[Curve], trades: Mapping[Data, Sequence[Attacked]], attack: str
) -> list[Place]:
    """Return what is shown of each data set, and then of the mean of the symmetric ones."""
    optimal = {item.data: item for item in study.of(attack) if item.model.kind == OPTIMAL}
    held = [data for data in study.datasets if data in trades or any(curve.data == data for curve in curves)]
    found = [
        Place(
            data_text(data),
            tuple((curve.variable, curve.points) for curve in curves if curve.data == data),
            tuple(trades.get(data, ())),
            optimal.get(data),
        )
        for data in held
    ]
    symmetric = [data for data in held if data.group == "symmetric"]
    if len(symmetric) < 2:
        return found
    means = {item.model.label: item for item in averaged(study.of(attack), symmetric)}
    series = [
        (curve.variable, [(value, means.get(item.model.label)) for value, item in curve.points])
        for curve in curves
        if curve.data == symmetric[0]
    ]
    kept = ((name, tuple((value, item) for value, item in points if item)) for name, points in series)
    long = tuple((name, points) for name, points in kept if len(points) > 1)
    labels = [item.model.label for item in trades.get(symmetric[0], ())]
    trained = [means[label] for label in labels if label in means]
    best = next((item for item in means.values() if item.model.kind == OPTIMAL), None)
    mean = Place(f"mean of {len(symmetric)} symmetric data sets", long, tuple(trained), best)
    return [*found, mean] if long or trained else found


def _row(item: Shown, part: str, value: float | None, best: Shown | None) -> dict[str, Any]:
    l2, clean = item.l2, item.clean
    reference = None if best is None else best.l2.value
    setting = f"{value:g}" if value is not None else ALL if part == "images" else NO_BETA
    missing = "no Bayes-optimal adversarials on this data set" if reference is None else None
    return {
        **item.identity,
        "part": part,
        "value": value,
        "setting": setting,
        **estimate_columns("mean_l2", l2),
        "n": l2.n,
        **estimate_columns("success_rate", item.success),
        **estimate_columns("clean_accuracy", clean),
        "cases": clean.n,
        "optimal_l2": reference,
        "share_of_optimal": l2.value / reference if l2.value is not None and reference else None,
        "coverage": item.coverage,
        "reason": reasons(item.reason, missing),
    }


# --- figure -----------------------------------------------------------------------------------------------


def _figure(places: Sequence[Place], example: Attacked) -> Figure:
    curves = [curve for place in places for curve in place.curves]
    trades = [item for place in places for item in place.trades]
    parts = [name for name in VARIABLES if any(variable == name for variable, _ in curves)]
    parts += [TRADE_OFF] if trades else []
    wide = [1.35 if name == TRADE_OFF else 1.0 for name in parts]
    figure = drawing.figure(2.7 * sum(wide) + 2.9, 2.75 * len(places) + 0.6)
    grid = figure.subplots(len(places), len(parts), squeeze=False, width_ratios=wide, sharey="row")
    for line, place in zip(grid, places, strict=True):
        for axes, part in zip(line, parts, strict=True):
            drawing.plain_axes(axes, "y")
            if part == TRADE_OFF:
                _trade_off(axes, place.trades)
            else:
                _curves(axes, part, [points for name, points in place.curves if name == part], place.optimal)
        line[0].set_ylim(bottom=0)
        line[0].set_ylabel("mean L2", fontsize=9)
        line[0].set_title(place.text, fontsize=9.5, loc="left")
    drawn = {item.model.kind for item in trades}
    kinds = [kind for kind in NAMES if kind in drawn or (curves and kind == CNN)]
    entries: dict[str, Any] = {NAMES[kind]: look(kind) for kind in kinds}
    if any(place.curves and place.optimal for place in places):
        entries["Bayes-optimal on the\nsame data set"] = {"linestyle": "--", "color": look(OPTIMAL)["color"]}
    drawing.legend_beside(figure, entries)
    told = f"Mean L2 (95 % interval) of CNNs by capacity and training; {attack_text(example)}"
    drawing.title(figure, told)
    return figure


def _curves(axes: Axes, part: str, curves: Sequence[Points], optimal: Shown | None) -> None:
    if not curves:
        axes.set_axis_off()
        return
    settings = list(dict.fromkeys(value for curve in curves for value, _ in curve))
    settings.sort(key=lambda value: (value is None, value or 0.0))
    for curve in curves:
        told = [(settings.index(value), item.l2) for value, item in curve if item.l2.value is not None]
        for at, l2 in told:
            drawing.interval(axes, at, l2, along="y", **look(CNN), linewidth=1.5)
        axes.plot([at for at, _ in told], [l2.value or 0.0 for _, l2 in told], color=look(CNN)["color"])
    if optimal is not None and optimal.l2.value is not None:
        axes.axhline(optimal.l2.value, linestyle="--", color=look(OPTIMAL)["color"], linewidth=1.3)
    axes.set_xticks(range(len(settings)), [ALL if value is None else f"{value:,g}" for value in settings])
    axes.set_xlim(-0.4, len(settings) - 0.6)
    axes.set_xlabel(TEXTS[part], fontsize=9)


def _trade_off(axes: Axes, items: Sequence[Shown]) -> None:
    if not items:
        axes.set_axis_off()
        return
    line = []
    for item in items:
        l2, clean, kind = item.l2, item.clean, item.model.kind
        if l2.value is None or clean.value is None:
            continue
        x = 100 * clean.value
        drawing.interval(axes, l2.value, clean, scale=100, color=look(kind)["color"], marker="")
        drawing.interval(axes, x, l2, along="y", **look(kind), markersize=6, zorder=3)
        if kind == TRADES:
            line.append((x, l2.value))
            axes.annotate(f"β = {item.model.parameters.get('beta'):g}", (x, l2.value), (-5, 5), ha="right",
                          textcoords="offset points", fontsize=7.5, color="0.25")  # fmt: skip
    axes.plot([x for x, _ in line], [y for _, y in line], color=look(TRADES)["color"], linewidth=1, zorder=2)
    axes.set_xlabel("accuracy before the attack, %", fontsize=9)
    axes.margins(x=0.12)
    axes.tick_params(labelleft=True)
