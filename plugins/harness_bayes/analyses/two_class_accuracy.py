"""Two-class accuracy before and under attack, beside published figures (tables 1 and 2)."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness.analysis.analysis import Analysis
from harness.metrics import Estimate, rate
from harness.results import Results
from harness_bayes.analyses import drawing
from harness_bayes.analyses.accuracies import card_accuracy
from harness_bayes.analyses.quoted import published
from harness_bayes.analyses.reading import read_study
from harness_bayes.analyses.study import CNN, Attacked, Data, Study, baseline, columns, table_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACROSS = 4
"""Panels side by side."""


def run(results: Results) -> Analysis:
    """Accuracy before and under attack in two conventions, per data set, model and attack.

    Rows: data set x model x attack, and "closest" of all attacks. ``robust_accuracy`` is the share of all
    cases that are right and stay so. ``adversarial_accuracy`` is the paper's bracket: under an attack that
    turns every decision, images that were wrong become right, so that a model that is broken everywhere
    scores 1 − ``clean_accuracy`` and not 0. The harness attacks no image that is wrong already; this column
    counts each of them as turned. All are shares of ``n`` cases; ``test_accuracy`` is that of
    ``test_images``, the whole test partition, where the model's card tells it. ``published_…`` are the
    paper's, as shares, where it has this model on these classes; ``published_images`` says of which images,
    and ``published_table`` where. Of several CNNs only that which the others are variants of is given them.

    Raises:
        HarnessError: nothing tells two classes apart.
    """
    study = read_study(results)
    closest = [item for item in study.closest if _several(study, item)]
    plain = plain_cnns(study)
    rows = [_row(study, item, plain) for item in [*study.attacked, *closest]]
    return Analysis(table_of(rows), _figure(study, plain))


def plain_cnns(study: Study) -> set[tuple[str, str]]:
    """By data set the CNN that the others are variants of, as labels."""
    found = set()
    for data in study.datasets:
        models = {
            item.model.label: item.model
            for item in study.attacked
            if item.data == data and item.model.kind == CNN
        }
        plain = baseline(list(models.values()))
        if plain is not None:
            found.add((data.label, plain.label))
    return found


def bracket(item: Attacked) -> Estimate:
    """The paper's adversarial accuracy: right and not broken, or wrong before."""
    cases = item.cases
    after = ~cases["right"] | ~cases["success"]
    return rate(after.to_numpy(bool), pd.factorize(cases["sample_id"])[0])


def _several(study: Study, item: Attacked) -> bool:
    same = [own for own in study.attacked if (own.data, own.model.label) == (item.data, item.model.label)]
    return len(same) > 1


def _quote(item: Attacked, plain: set[tuple[str, str]]) -> Any:
    if item.model.kind == CNN and (item.data.label, item.model.label) not in plain:
        return None
    return published(item.data, item.model.kind)


def _row(study: Study, item: Attacked, plain: set[tuple[str, str]]) -> dict[str, Any]:
    quote = _quote(item, plain)
    clean, whole = item.clean, card_accuracy(study, item)
    return {
        **item.identity,
        "n": clean.n,
        **columns("clean_accuracy", clean),
        **columns("robust_accuracy", item.robust),
        **columns("adversarial_accuracy", bracket(item)),
        "test_accuracy": whole.value,
        "test_images": whole.n or None,
        "test_reason": None if whole.n else "the model's card tells no accuracy on the test partition",
        "published_clean": None if quote is None else quote.clean / 100,
        "published_adversarial": None if quote is None else quote.adversarial / 100,
        "published_images": None if quote is None else quote.images,
        "published_table": None if quote is None else quote.table,
        "coverage": item.coverage,
        "reason": item.reason,
        "published_reason": _unpublished(item, plain) if quote is None else None,
    }


def _unpublished(item: Attacked, plain: set[tuple[str, str]]) -> str:
    if item.model.kind == CNN and (item.data.label, item.model.label) not in plain:
        return "a variant of the CNN"
    return "not in the paper's tables"


# --- figure -----------------------------------------------------------------------------------------------

SERIES = (
    ("clean", "before the attack", "o", "#0072B2"),
    ("robust", "right and stays so", "s", "#D55E00"),
    ("bracket", "paper's bracket: wrong ones count as turned", "D", "#E69F00"),
)


def _figure(study: Study, plain: set[tuple[str, str]]) -> Figure:
    from matplotlib.lines import Line2D

    datasets = study.datasets
    across = min(ACROSS, len(datasets))
    down = -(-len(datasets) // across)
    held = {data: study.models_on(study.closest, data) for data in datasets}
    lines = [datasets[at : at + across] for at in range(0, len(datasets), across)]
    heights = [0.27 * max(len(held[data]) for data in line) + 1.0 for line in lines]
    figure = drawing.new_figure(3.0 * across + 3.4, sum(heights) + 0.7)
    grid = drawing.panels(figure, down, across, height_ratios=heights, sharex=True)
    for place, axes in enumerate(axes for line in grid for axes in line):
        if place >= len(datasets):
            axes.set_visible(False)
            continue
        _panel(axes, datasets[place], held[datasets[place]], plain)
        if place + across >= len(datasets):
            axes.set_xlabel("%", fontsize=9)
            axes.tick_params(labelbottom=True)
    handles = [Line2D([], [], linestyle="none", marker=shape, color=tint) for _, _, shape, tint in SERIES]
    texts = [text for _, text, _, _ in SERIES]
    handles.append(Line2D([], [], linestyle="none", marker="|", color="black", markersize=11))
    texts.append("published, where the classes\nand the model are the same")
    drawing.legend_beside(figure, handles, texts)
    attacks = (
        "the nearest adversarial of all attacks"
        if len({i.attack for i in study.attacked}) > 1
        else (drawing.attack_text(study.attacked[0]))
    )
    drawing.title(figure, f"Accuracy before and under attack ({attacks}; 95 % interval)")
    return figure


def _panel(axes: Axes, data: Data, items: Sequence[Attacked], plain: set[tuple[str, str]]) -> None:
    for place, item in enumerate(items):
        found = {"clean": item.clean, "robust": item.robust, "bracket": bracket(item)}
        for number, (name, _, shape, tint) in enumerate(SERIES):
            estimate = found[name]
            at = place + 0.24 * (number - 1)
            if estimate.value is None:
                continue
            if estimate.low is not None and estimate.high is not None:
                axes.hlines(at, 100 * estimate.low, 100 * estimate.high, color=tint, linewidth=1)
            axes.plot([100 * estimate.value], [at], shape, color=tint, markersize=4.5)
        quote = _quote(item, plain)
        if quote is not None:
            axes.plot([quote.clean], [place - 0.24], "|", color="black", markersize=9)
            axes.plot([quote.adversarial], [place + 0.24], "|", color="black", markersize=9)
        if item.cases.empty:
            axes.text(50, place, "no outcome", ha="center", va="center", fontsize=7, color="0.4")
    n = {item.clean.n for item in items if item.clean.n}
    told = f"n = {min(n):,}" + (f" to {max(n):,}" if len(n) > 1 else "") if n else "n = 0"
    lines = textwrap.wrap(drawing.data_text(data), 34, break_on_hyphens=False)
    axes.set_title("\n".join([*lines, told]), fontsize=8.5, loc="left")
    axes.set_yticks(range(len(items)), [drawing.model_text(item.model) for item in items], fontsize=8)
    axes.set_ylim(len(items) - 0.45, -0.55)
    axes.set_xlim(-4, 104)
    drawing.plain_axes(axes, grid="x")
