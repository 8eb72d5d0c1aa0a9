"""Accuracies are before an attack, of the whole test partition where a card tells them."""

from __future__ import annotations

from harness.analysis.reading import card
from harness.metrics import NOTHING, Estimate, wilson
from harness_bayes.analyses.study import Attacked, Study

WHOLE, ATTACKED = "test partition", "attacked images"


def card_accuracy(study: Study, item: Attacked) -> Estimate:
    """Return what a model's card says of its test partition; nothing where it says nothing."""
    told = card(study.results, item.data.label, item.model.label)
    n = int(told.get("scored_images") or 0)
    if told.get("scored_on") != "test" or told.get("accuracy") is None or not n:
        return NOTHING
    accuracy = float(told["accuracy"])
    return Estimate(accuracy, *wilson(accuracy * n, n), n)


def accuracies(study: Study, *items: Attacked) -> tuple[str, list[Estimate]]:
    """Return of which images, and each accuracy: of the test partitions where all cards tell it."""
    cards = [card_accuracy(study, item) for item in items]
    if all(card.n for card in cards):
        return WHOLE, cards
    return ATTACKED, [item.clean for item in items]
