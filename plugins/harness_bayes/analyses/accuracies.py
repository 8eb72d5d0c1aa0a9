"""Accuracies: what models score before an attack, on their whole test partition where a card tells it."""

from __future__ import annotations

from math import hypot

from harness.metrics import NOTHING, Estimate, wilson
from harness_bayes.analyses.study import Attacked, Study

WHOLE, ATTACKED = "test partition", "attacked images"


def card_accuracy(study: Study, item: Attacked) -> Estimate:
    """What a model's card says of its test partition; nothing where it says nothing."""
    rows = study.results.models()
    rows = rows[(rows["dataset"] == item.data.label) & (rows["model"] == item.model.label)]
    card = rows["card"].iloc[0] if len(rows) else {}
    n = int(card.get("scored_images") or 0)
    if card.get("scored_on") != "test" or card.get("accuracy") is None or not n:
        return NOTHING
    accuracy = float(card["accuracy"])
    return Estimate(accuracy, *wilson(accuracy * n, n), n)


def accuracies(study: Study, *items: Attacked) -> tuple[str, list[Estimate]]:
    """Of which images, and the accuracy of each: of the test partitions where all cards tell it."""
    cards = [card_accuracy(study, item) for item in items]
    if all(card.n for card in cards):
        return WHOLE, cards
    return ATTACKED, [item.clean for item in items]


def newcombe(first: Estimate, second: Estimate) -> Estimate:
    """The difference of two independent proportions, of their Wilson intervals (Newcombe 1998, method 10)."""
    bounds = (first.value, first.low, first.high, second.value, second.low, second.high)
    if any(bound is None for bound in bounds):
        return NOTHING
    p, low, high, q, under, over = (float(bound or 0.0) for bound in bounds)
    return Estimate(
        p - q, p - q - hypot(p - low, over - q), p - q + hypot(high - p, q - under), min(first.n, second.n)
    )
