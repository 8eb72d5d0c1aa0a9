"""Variants are models of one kind that a suite trains in several ways, such as CNNs of several widths."""

from __future__ import annotations

from collections.abc import Sequence

from harness_bayes.analyses.study import CNN, RBF, Model

VARIED = (CNN, RBF)
"""Kinds of models that suites vary: the paper's figures are those of one of each kind."""


def plain(models: Sequence[Model], kind: str) -> list[Model]:
    """Return the models of a kind that are no variants: of several CNNs or RBF SVMs only their baseline."""
    own = [model for model in models if model.kind == kind]
    first = baseline(own) if kind in VARIED else None
    return own if first is None else [first]


def wider_kernels(models: Sequence[Model]) -> list[Model]:
    """Return the RBF SVMs of a wider kernel: they differ from their baseline in a lower ``finest`` alone."""
    first = baseline([model for model in models if model.kind == RBF])
    return [
        model
        for model in models
        if first is not None
        and model.kind == RBF
        and differing(first, model) == {"finest"}
        and model.parameters["finest"] < first.parameters["finest"]
    ]


def baseline(models: Sequence[Model]) -> Model | None:
    """Return of models of one kind that from which the others differ least; the first of equals."""
    if not models:
        return None
    return min(models, key=lambda own: sum(len(differing(own, other)) for other in models))


def differing(one: Model, other: Model) -> set[str]:
    """Return the parameters in which two models differ."""
    names = {*one.parameters, *other.parameters}
    return {name for name in names if one.parameters.get(name) != other.parameters.get(name)}
