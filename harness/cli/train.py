"""`harness train SUITE [MODEL…]` trains the models of a suite and attacks nothing."""

from __future__ import annotations

import argparse
from typing import Any

from harness.cli.arguments import add_device, add_suite, options_of
from harness.errors import ManifestError, ModelError, nearest


def add(verbs: Any) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "train",
        help="train the models of a suite, and attack nothing",
        description="Train the models of a suite that have no weights yet.",
    )
    add_suite(parser)
    parser.add_argument("models", metavar="MODEL", nargs="*", help="the models by label (all)")
    add_device(parser)
    parser.set_defaults(handle=handle)


def handle(given: argparse.Namespace) -> int:
    """Train the models, and print the accuracy of each, or how well it tells persons apart."""
    from harness.cases.datasets import open_datasets
    from harness.cli.memory import keep_freed_memory
    from harness.session.device import device_of
    from harness.session.progress import Reporter
    from harness.session.session import fitting, make_plan, obtaining
    from harness.zoo.cards import read_card

    keep_freed_memory()
    chosen = options_of(given)
    planned = make_plan(given.suite, chosen)
    labels = [model.label for model in planned.models]
    for name in given.models:
        if name not in labels:
            raise ManifestError(f'model "{name}" is not in {given.suite}; {nearest(name, labels)}')
    device = device_of(chosen.device or planned.suite.device)
    status = 0
    with Reporter() as shown:
        fit, train = fitting(planned, device, shown), obtaining(planned, device, shown)
        for choice, data in open_datasets(planned, chosen.limit, fit).items():
            for model in (model for dataset, model in planned.trainings if dataset is choice):
                if given.models and model.label not in given.models:
                    continue
                had = read_card(model, data.dataset, planned.suite.seed) is not None
                try:
                    trained = train(model, data.dataset)
                except ModelError as error:
                    print(f"{model.label} on {choice.label}: failed: {error}")
                    status = 1
                    continue
                print(f"{model.label} on {choice.label}: {_scored(trained.card, had)}")
    return status


def _scored(card: Any, had: bool) -> str:
    if "accuracy" not in card and "auc_roc" not in card:
        return "ready"
    how = "was trained before" if had else f"trained in {card['training_seconds']} s"
    if "auc_roc" in card:
        return (
            f"{how}; clean AU-ROC {card['auc_roc']:.3f} on {card['scored_images']} {card['scored_on']} "
            f"images of {card['scored_persons']} persons (pixels alone {card['pixels_auc_roc']:.3f})"
        )
    return (
        f"{how}; accuracy {card['accuracy']:.2%} on {card['scored_images']} {card['scored_on']} images "
        f"(majority-class baseline {card['majority']:.2%})"
    )
