"""L2 by model shows how large a change fools each model (Richardson and Weiss, figure 6)."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.analysis import Analysis, drawing
from harness.analysis.reading import estimate_columns, typed
from harness.errors import HarnessError
from harness.results import Results
from harness_bayes.analyses.accuracies import card_accuracy, card_reason
from harness_bayes.analyses.names import attack_text, model_text, shades, stand_in_text
from harness_bayes.analyses.quoted import ALMOST_INDISTINGUISHABLE, PERCEPTIBLE
from harness_bayes.analyses.study import (
    CLOSEST,
    PGD,
    TRADES,
    Attacked,
    Data,
    Model,
    Study,
    read_study,
)
from harness_bayes.analyses.variants import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BROKEN = 0.95
"""A mean over a smaller share of the right cases is marked: those that withstood are not in it."""


def run(results: Results, *, attacks: Sequence[str] = (), every_model: bool = False) -> Analysis:
    """Tell the mean L2 of the adversarials, per data set, model and attack.

    Rows: data set x model x attack, and "closest" where several attacks were run: of each case the nearest
    adversarial of all of them. ``mean_l2`` is over the ``n`` cases that were right before the attack and that
    it broke; ``n_right`` were right, and ``success_rate`` of them were broken. Where that is below 1, the
    cases that withstood are in no mean. Robustness is worth what accuracy stands beside it:
    ``clean_accuracy`` is that on the attacked ``cases``, ``test_accuracy`` that on ``test_images``, the whole
    test partition, where the model's card tells it. ``reason`` says why a number is missing or rests on fewer
    cases than planned.

    Args:
        attacks: only these, by label or name, "closest" being one; by default all without a budget.
        every_model: draw CNN variants and adversarially trained CNNs too (the table has them anyway).

    Raises:
        HarnessError: there are no such data sets or attacks.
    """
    study = read_study(results)
    items = _chosen(study, attacks)
    if not items:
        raise HarnessError(
            f"{results.path}: every attack had a budget, so that no distance is the smallest; put an attack "
            'such as "cw-l2" into the suite, or name the attacks that are to be shown'
        )
    table = typed([_row(study, item) for item in items])
    return Analysis(table, _figure(study, items, every_model))


def _chosen(study: Study, attacks: Sequence[str]) -> list[Attacked]:
    if attacks:
        return list({id(item): item for name in attacks for item in study.of(name)}.values())
    items = [item for item in study.attacked if item.unlimited]
    if len({(item.attack, item.threat) for item in items}) > 1:
        items += [item for item in study.closest if item.unlimited]
    return items


def _row(study: Study, item: Attacked) -> dict[str, Any]:
    l2, success, whole = item.l2, item.success, card_accuracy(study, item)
    return {
        **item.identity,
        **estimate_columns("mean_l2", l2),
        "median_l2": float(item.broken["l2"].median()) if l2.n else None,
        "n": l2.n,
        **estimate_columns("success_rate", success),
        "n_right": success.n,
        **estimate_columns("clean_accuracy", item.clean),
        "cases": item.clean.n,
        "test_accuracy": whole.value,
        "test_images": whole.n or None,
        "test_reason": card_reason(whole),
        "coverage": item.coverage,
        "reason": item.reason,
    }


# --- figure -----------------------------------------------------------------------------------------------

BAR, LEAST = 0.19, 1.25
"""Inches of a bar, and of a group of them."""


def shown_models(study: Study, every: bool) -> list[Model]:
    """Leave out variants of CNN and RBF SVM, and adversarially trained ones, unless nothing is left."""
    models = study.models
    kept = [
        model for model in models if model.kind not in (TRADES, PGD) and model in plain(models, model.kind)
    ]
    return models if every or not kept else kept


@dataclass(frozen=True, eq=False)
class Group:
    """A group holds the bars of a data set: where they stand, in inches, the same under every attack."""

    data: Data
    places: Mapping[str, float]
    """By the model's label; only models that were attacked on it."""
    left: float
    right: float


def groups_of(datasets: Sequence[Data], models: Sequence[Model], items: Sequence[Attacked]) -> list[Group]:
    """Place groups side by side, each as wide as its bars and its name need."""
    found, left = [], 0.0
    for data in datasets:
        held = {item.model.label for item in items if item.data == data}
        labels = [model.label for model in models if model.label in held]
        width = max(LEAST, BAR * (len(labels) + 1))
        start = left + (width - BAR * (len(labels) - 1)) / 2
        found.append(
            Group(data, {label: start + BAR * at for at, label in enumerate(labels)}, left, left + width)
        )
        left += width
    return found


def _figure(study: Study, items: Sequence[Attacked], every: bool) -> Figure:
    models = shown_models(study, every)
    labels = [model.label for model in models]
    shown = [item for item in items if item.model.label in labels] or list(items)
    models = [model for model in study.models if any(item.model.label == model.label for item in shown)]
    attacks = list(dict.fromkeys(_attack(item) for item in shown))
    columns: dict[str, list[Data]] = {}
    for data in study.datasets:
        if any(item.data == data for item in shown):
            columns.setdefault(data.group, []).append(data)
    places = [groups_of(datasets, models, shown) for datasets in columns.values()]
    widths = [groups[-1].right for groups in places]
    figure = drawing.figure(sum(widths) + 0.45 * len(widths) + 3.6, 2.6 * len(attacks) + 0.9)
    grid = figure.subplots(len(attacks), len(widths), squeeze=False, width_ratios=widths, sharey="row")
    for line, attack in zip(grid, attacks, strict=True):
        own = [item for item in shown if _attack(item) == attack]
        named = False
        for axes, groups in zip(line, places, strict=True):
            here = [item for item in own if any(item.data == group.data for group in groups)]
            if not here:
                axes.set_axis_off()
                continue
            _bars(axes, here, groups, shades(models))
            if not named:
                axes.set_ylabel(f"{textwrap.fill(attack_text(own[0]), 24)}\nmean L2", fontsize=9)
                axes.tick_params(labelleft=True)
                named = True
    for axes, group in zip(grid[0], columns, strict=True):
        axes.set_title(group, fontsize=10)
    _legend(figure, models, shown)
    drawing.title(figure, "Mean L2 of adversarials of cases that were right (95 % interval)")
    return figure


def _attack(item: Attacked) -> tuple[str, str]:
    return item.attack, "" if item.attack == CLOSEST else item.threat


def _tick(data: Data) -> str:
    told = drawing.spaced(data.task)
    if data.stand_in_for:
        told += f" ({stand_in_text(data)})"
    return textwrap.fill(told, 18, break_on_hyphens=False, break_long_words=False)


def _bars(axes: Axes, items: Sequence[Attacked], groups: Sequence[Group], tints: Mapping[str, str]) -> None:
    by_key = {(item.data, item.model.label): item for item in items}
    for group in groups:
        if group.data.attribute is not None:
            levels = (ALMOST_INDISTINGUISHABLE, PERCEPTIBLE)
            axes.hlines(levels, group.left, group.right, color="0.65", linewidth=1, linestyle="--", zorder=0)
        for label, at in group.places.items():
            item = by_key.get((group.data, label))
            if item is not None:
                _bar(axes, at, item, tints[label])
    axes.set_xticks(
        [(group.left + group.right) / 2 for group in groups],
        [_tick(group.data) for group in groups],
        fontsize=8,
    )
    axes.set_xlim(0, groups[-1].right)
    axes.margins(y=0.16)
    axes.set_ylim(bottom=0)
    drawing.plain_axes(axes, "y")


def _bar(axes: Axes, at: float, item: Attacked, tint: str) -> None:
    found, rate = item.l2, item.success
    if found.value is None:
        axes.text(at, 0.02, "×", ha="center", va="bottom", fontsize=8, color=tint,
                  transform=axes.get_xaxis_transform())  # fmt: skip
        return
    axes.bar(at, found.value, 0.9 * BAR, color=tint)
    drawing.interval(axes, at, found, along="y", color="0.45", marker="")
    if rate.value is not None and rate.value < BROKEN:
        top, told = found.high or found.value, f" {100 * rate.value:.0f} %"
        axes.text(at, top, told, ha="center", va="bottom", fontsize=6.5, rotation=90)


def _legend(figure: Figure, models: Sequence[Model], shown: Sequence[Attacked]) -> None:
    tints = shades(models)
    entries: dict[str, Any] = {model_text(model): tints[model.label] for model in models}
    if any(item.data.attribute is not None for item in shown):
        bounds = (
            f"64 × 64 faces: below {ALMOST_INDISTINGUISHABLE:g} almost\nindistinguishable, around "
            f"{PERCEPTIBLE:g} perceptible"
        )
        entries[bounds] = {"color": "0.65", "linestyle": "--", "linewidth": 1}
    if any(item.success.value is not None and item.l2.n and item.success.value < BROKEN for item in shown):
        shares = f"figures over bars: % of the right cases\nthat were broken, where below {100 * BROKEN:g}"
        entries[shares] = {"linestyle": "none"}
    if any(item.l2.value is None for item in shown):
        none = {"linestyle": "none", "marker": "x", "color": "0.4"}
        entries["attacked, but without an adversarial"] = none
    drawing.legend_beside(figure, entries)
