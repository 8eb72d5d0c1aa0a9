"""Training data compares models of real and of symmetric images on real ones (table 3, figure 9)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.analysis import Analysis, drawing
from harness.analysis.reading import estimate, estimate_columns, typed
from harness.errors import HarnessError
from harness.metrics import NOTHING
from harness.results import Results
from harness_bayes.analyses.accuracies import (
    accuracies,
    accuracy_difference,
    card_accuracy,
    card_reason,
)
from harness_bayes.analyses.names import ATTACKS, NAMES
from harness_bayes.analyses.quoted import TABLE_3, key_of
from harness_bayes.analyses.study import CLOSEST, CNN, Attacked, Study, read_study
from harness_bayes.analyses.two_class_accuracy import plain_models

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def run(results: Results, *, attack: str = CLOSEST) -> Analysis:
    """Tell accuracy and mean L2 on real images of models trained on real and on symmetric images.

    Rows: classes x model, of data sets of real images (trained on real) and of symmetric ones with
    tested_on = "real". ``accuracy_of`` says of which images: the whole test partition, as the cards of both
    models tell it, or else the attacked images: these too where persons are known, of whom a partition has
    several images that a card does not tell apart (``test_accuracy_…`` are of whole partitions, without
    interval). ``difference`` is the one trained on real images minus the other, in shares; its interval is
    paired over persons where both were attacked on the same images, else Newcombe's.
    ``mean_l2_real`` is over ``n_l2_real`` adversarials of the model that was trained on real images, and so
    on. ``published_…`` are the paper's accuracies, of the CNN that others are variants of.

    Args:
        attack: label or name; "closest" takes of each case the nearest adversarial of all attacks.

    Raises:
        HarnessError: there is no such attack, or no data set is tested on real images.
    """
    study = read_study(results)
    sides = sides_of(study, attack)
    if not sides:
        raise HarnessError(
            f'{results.path}: no model was tested on real images; put the data set "two-classes", or '
            '"mfa-symmetric" with tested_on = "real", into the suite'
        )
    plain = {label for _, label in plain_models(study)}
    rows = [_row(study, real, moved, plain) for real, moved in sides]
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    rows.sort(key=lambda row: tasks.index(row["task"]))
    return Analysis(typed(rows), _figure(rows))


def sides_of(study: Study, attack: str) -> list[tuple[Attacked | None, Attacked | None]]:
    """Return models trained on real images, each with the same trained on symmetric ones, if any."""
    items = study.of(attack)
    found: dict[tuple[Any, str, str, str], list[Attacked | None]] = {}
    for data in study.datasets:
        if data.kind == "real" or (data.to_real and data.kind == "symmetric"):
            for item in study.models_on(items, data):
                label = "" if item.attack == CLOSEST else f"{item.attack} {item.threat}"
                key = (data.family, item.model.label, label, "")
                found.setdefault(key, [None, None])[data.to_real] = item
    return [(real, moved) for real, moved in found.values()]


def _row(study: Study, real: Attacked | None, moved: Attacked | None, plain: set[str]) -> dict[str, Any]:
    either = real or moved
    assert either is not None  # a pair has a side
    sides = [side for side in (real, moved) if side is not None]
    of, told = accuracies(study, *sides)
    gap = NOTHING
    if real is not None and moved is not None:
        gap = accuracy_difference(real, moved, of, told)
    scores = iter(told)
    own = [NOTHING if side is None else next(scores) for side in (real, moved)]
    whole = [NOTHING if side is None else card_accuracy(study, side) for side in (real, moved)]
    l2 = [NOTHING if side is None else side.l2 for side in (real, moved)]
    quoted = either.model.kind == CNN and either.model.label in plain
    quote = TABLE_3.get(key_of(either.data) or "") if quoted else None
    identity = either.identity
    return {
        **{
            name: identity[name]
            for name in ("task", "stand_in_for", "model", "model_kind", "attack", "threat")
        },
        "dataset_real": None if real is None else real.data.label,
        "dataset_symmetric": None if moved is None else moved.data.label,
        "accuracy_of": of,
        **estimate_columns("accuracy_real", own[0]),
        "n_real": own[0].n,
        **estimate_columns("accuracy_symmetric", own[1]),
        "n_symmetric": own[1].n,
        **estimate_columns("difference", gap),
        "test_accuracy_real": whole[0].value,
        "test_accuracy_symmetric": whole[1].value,
        "test_reason": card_reason(*whole),
        **estimate_columns("mean_l2_real", l2[0]),
        "n_l2_real": l2[0].n,
        **estimate_columns("mean_l2_symmetric", l2[1]),
        "n_l2_symmetric": l2[1].n,
        "published_real": None if quote is None else quote[0] / 100,
        "published_symmetric": None if quote is None else quote[1] / 100,
        "coverage_real": None if real is None else real.coverage,
        "coverage_symmetric": None if moved is None else moved.coverage,
        "reason": _reason(real, moved),
        "published_reason": None if quote else "not in the paper's table 3",
    }


def _reason(real: Attacked | None, moved: Attacked | None) -> str | None:
    told = []
    for side, name in ((real, "real"), (moved, "symmetric")):
        if side is None:
            told.append(
                f"not trained on {name} images" + ("" if name == "real" else " and tested on real ones")
            )
        elif side.reason:
            told.append(f"trained on {name}: {side.reason}")
    return "; ".join(told) or None


# --- figure -----------------------------------------------------------------------------------------------

SIDES = {"real": "trained on real images", "symmetric": "trained on symmetric samples"}
PUBLISHED: dict[str, Any] = {"linestyle": "none", "marker": "|", "color": "black", "markersize": 11}


def _figure(rows: Sequence[dict[str, Any]]) -> Figure:
    figure = drawing.figure(11.2, 0.34 * len(rows) + 1.5)
    left, right = figure.subplots(1, 2, sharey=True)
    for place, row in enumerate(rows):
        for turn, name in enumerate(SIDES):
            at, look = place + 0.2 * (2 * turn - 1), drawing.style(turn)
            drawing.interval(left, at, estimate(row, f"accuracy_{name}"), scale=100, **look)
            drawing.interval(right, at, estimate(row, f"mean_l2_{name}"), **look)
            if row[f"published_{name}"] is not None:
                left.plot([100 * row[f"published_{name}"]], [at], **PUBLISHED)
    drawing.category_axis(left, map(_label, rows), along="y")
    starts = [at for at in range(1, len(rows)) if rows[at]["task"] != rows[at - 1]["task"]]
    for axes, name in (
        (left, "accuracy on real test images, %"),
        (right, "mean L2 of adversarials of real images"),
    ):
        drawing.plain_axes(axes, "x")
        axes.set_xlabel(name, fontsize=9)
        for at in starts:
            axes.axhline(at - 0.5, color="0.6", linewidth=0.8)
    right.set_xlim(left=0)
    entries = {text: {"linestyle": "none"} | drawing.style(turn) for turn, text in enumerate(SIDES.values())}
    if any(row["published_real"] is not None for row in rows):
        entries["published (CelebA, CNN)"] = PUBLISHED
    drawing.legend_beside(figure, entries)
    of = " / ".join(dict.fromkeys(row["accuracy_of"] for row in rows))
    told = f"Trained on real or on symmetric images, tested on real ones (accuracy: {of}; 95 % interval)"
    drawing.title(figure, told)
    return figure


def _label(row: dict[str, Any]) -> str:
    place = f" (stand-in for {row['stand_in_for']})" if row["stand_in_for"] else ""
    model = NAMES.get(row["model"], row["model"]) if row["model"] == row["model_kind"] else row["model"]
    shown = "" if row["attack"] == CLOSEST else f", {ATTACKS.get(row['attack'], row['attack'])}"
    return f"{drawing.spaced(row['task'])}{place}: {model}{shown}"
