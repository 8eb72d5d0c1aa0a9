"""Two-class accuracy stands before and under attack, beside published figures (tables 1 and 2)."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.analysis import Analysis, drawing
from harness.analysis.claims import Quote
from harness.analysis.reading import estimate_columns, typed
from harness.metrics import Estimate, rate
from harness.results import Results
from harness_bayes.analyses.accuracies import card_accuracy, card_reason
from harness_bayes.analyses.names import NAMES, attack_text, data_text, model_text
from harness_bayes.analyses.quoted import published
from harness_bayes.analyses.study import Attacked, Data, Study, read_study
from harness_bayes.analyses.variants import VARIED, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACROSS = 4
"""Panels side by side."""


def run(results: Results) -> Analysis:
    """Tell the accuracy before and under attack in two conventions, per data set, model and attack.

    Rows: data set x model x attack, and "closest" of all attacks. ``robust_accuracy`` is the share of all
    cases that are right and stay so. ``adversarial_accuracy`` is the paper's bracket: under an attack that
    turns every decision, images that were wrong become right, so that a model that is broken everywhere
    scores 1 − ``clean_accuracy`` and not 0. The harness attacks no image that is wrong already; this column
    counts each of them as turned. All are shares of ``n`` cases; ``test_accuracy`` is that of
    ``test_images``, the whole test partition, where the model's card tells it. ``published_…`` are the
    paper's, as shares, where it has this model on these classes; ``published_images`` says of which images,
    and ``published_table`` where. Variants of the
    CNN and of the RBF SVM have none.

    Raises:
        HarnessError: nothing tells two classes apart.
    """
    study = read_study(results)
    closest = [item for item in study.closest if _several(study, item)]
    kept = plain_models(study)
    rows = [_row(study, item, kept) for item in [*study.attacked, *closest]]
    return Analysis(typed(rows, ("published_images", "published_table")), _figure(study, kept))


def plain_models(study: Study) -> set[tuple[str, str]]:
    """Return data sets with the CNN and the RBF SVM that others are variants of, as labels."""
    found = set()
    for data in study.datasets:
        models = {item.model.label: item.model for item in study.attacked if item.data == data}
        for kind in VARIED:
            found |= {(data.label, model.label) for model in plain(list(models.values()), kind)}
    return found


def bracket(item: Attacked) -> Estimate:
    """Return the paper's adversarial accuracy: right and not broken, or wrong before."""
    return rate(~item.cases["right"] | ~item.cases["success"], item.cases["cluster"])


def _several(study: Study, item: Attacked) -> bool:
    same = [own for own in study.attacked if (own.data, own.model.label) == (item.data, item.model.label)]
    return len(same) > 1


def _quote(item: Attacked, kept: set[tuple[str, str]]) -> tuple[Quote, Quote] | None:
    if _varied(item, kept):
        return None
    return published(item.data, item.model.kind)


def _row(study: Study, item: Attacked, kept: set[tuple[str, str]]) -> dict[str, Any]:
    quote = _quote(item, kept)
    clean, whole = item.clean, card_accuracy(study, item)
    return {
        **item.identity,
        "n": clean.n,
        **estimate_columns("clean_accuracy", clean),
        **estimate_columns("robust_accuracy", item.robust),
        **estimate_columns("adversarial_accuracy", bracket(item)),
        "test_accuracy": whole.value,
        "test_images": whole.n or None,
        "test_reason": card_reason(whole),
        "published_clean": None if quote is None else quote[0].value / 100,
        "published_adversarial": None if quote is None else quote[1].value / 100,
        "published_images": None if quote is None else quote[0].of,
        "published_table": None if quote is None else quote[0].source,
        "coverage": item.coverage,
        "reason": item.reason,
        "published_reason": _unpublished(item, kept) if quote is None else None,
    }


def _varied(item: Attacked, kept: set[tuple[str, str]]) -> bool:
    return item.model.kind in VARIED and (item.data.label, item.model.label) not in kept


def _unpublished(item: Attacked, kept: set[tuple[str, str]]) -> str:
    if _varied(item, kept):
        return f"a variant of the {NAMES[item.model.kind]}"
    return "not in the paper's tables"


# --- figure -----------------------------------------------------------------------------------------------

SERIES = {
    "before the attack": lambda item: item.clean,
    "right and stays so": lambda item: item.robust,
    "paper's bracket: wrong ones count as turned": bracket,
}
PUBLISHED: dict[str, Any] = {"linestyle": "none", "marker": "|", "color": "black", "markersize": 9}


def _figure(study: Study, kept: set[tuple[str, str]]) -> Figure:
    datasets = study.datasets
    across = min(ACROSS, len(datasets))
    held = [study.models_on(study.closest, data) for data in datasets]
    lines = [held[at : at + across] for at in range(0, len(held), across)]
    heights = [0.27 * max(map(len, line)) + 1.0 for line in lines]
    figure = drawing.figure(3.0 * across + 3.4, sum(heights) + 0.7)
    panels = drawing.panels(figure, held, across, height_ratios=heights, sharex=True)
    for place, (axes, items) in enumerate(panels):
        _panel(axes, datasets[place], items, kept)
        if place + across >= len(datasets):
            axes.set_xlabel("%", fontsize=9)
            axes.tick_params(labelbottom=True)
    entries = {text: {"linestyle": "none"} | drawing.style(turn) for turn, text in enumerate(SERIES)}
    drawing.legend_beside(
        figure, entries | {"published, where the classes\nand the model are the same": PUBLISHED}
    )
    attacks = "the nearest adversarial of all attacks"
    if len({item.attack for item in study.attacked}) == 1:
        attacks = attack_text(study.attacked[0])
    drawing.title(figure, f"Accuracy before and under attack ({attacks}; 95 % interval)")
    return figure


def _panel(axes: Axes, data: Data, items: Sequence[Attacked], kept: set[tuple[str, str]]) -> None:
    for place, item in enumerate(items):
        for turn, of in enumerate(SERIES.values()):
            at = place + 0.24 * (turn - 1)
            drawing.interval(axes, at, of(item), scale=100, **drawing.style(turn), markersize=4.5)
        quote = _quote(item, kept)
        if quote is not None:
            axes.plot([own.value for own in quote], [place - 0.24, place + 0.24], **PUBLISHED)
        if item.cases.empty:
            axes.text(50, place, "no outcome", ha="center", va="center", fontsize=7, color="0.4")
    told = f"n = {drawing.range_text(item.clean.n for item in items if item.clean.n)}"
    lines = textwrap.wrap(data_text(data), 34, break_on_hyphens=False)
    axes.set_title("\n".join([*lines, told]), fontsize=8.5, loc="left")
    drawing.category_axis(axes, [model_text(item.model) for item in items], along="y")
    axes.set_xlim(-4, 104)
    drawing.plain_axes(axes, "x")
