"""Accuracies are before an attack, of the whole test partition where a card tells them."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analysis.drawing import percent
from harness.analysis.reading import card
from harness.metrics import NOTHING, Estimate, wilson
from harness.metrics.paired import difference, newcombe
from harness_bayes.analyses.study import Attacked, Study

WHOLE, ATTACKED = "test partition", "attacked images"


def card_accuracy(study: Study, item: Attacked) -> Estimate:
    """Return what a model's card says of its test partition; nothing where it says nothing.

    It has no interval where several images may show one person: the card does not tell how its errors
    are distributed over persons.
    """
    told = card(study.results, item.data.label, item.model.label)
    n = int(told.get("scored_images") or 0)
    if told.get("scored_on") != "test" or told.get("accuracy") is None or not n:
        return NOTHING
    accuracy = float(told["accuracy"])
    if item.persons:
        return Estimate(accuracy, None, None, n)
    return Estimate(accuracy, *wilson(round(accuracy * n), n), n)


def card_reason(*scores: Estimate) -> str | None:
    """Return why an accuracy of a test partition is missing; None where all are there."""
    known = all(score.n for score in scores)
    return None if known else "the model's card tells no accuracy on the test partition"


def accuracies(study: Study, *items: Attacked) -> tuple[str, list[Estimate]]:
    """Return of which images, and each accuracy: of the test partitions where all cards tell it.

    Where persons are known it is that of the attacked images, whose interval accounts for them.
    """
    cards = [card_accuracy(study, item) for item in items]
    if all(card.low is not None for card in cards):
        return WHOLE, cards
    return ATTACKED, [item.clean for item in items]


def accuracy_difference(one: Attacked, other: Attacked, of: str, scores: Sequence[Estimate]) -> Estimate:
    """Return the first accuracy minus the second, of those that ``accuracies`` returned.

    It is paired over the attacked images, by clusters, if these are meant and the same on both sides.
    """
    if of == ATTACKED and set(one.cases["sample_id"]) == set(other.cases["sample_id"]):
        both = one.cases.merge(other.cases, on="sample_id")
        return difference(both["right_x"], both["right_y"], both["cluster_x"])
    return newcombe(*scores)


def accuracy_text(study: Study, *items: Attacked) -> str:
    """Return accuracies in words: "accuracy 94.7 % / 100.0 %, test partition"."""
    of, scores = accuracies(study, *items)
    told = ["none" if score.value is None else percent(score.value) for score in scores]
    return f"accuracy {' / '.join(told)}, {of}"
