"""The model contract: all checks, and the cases of a model."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from harness.catalog import Entry
from harness.specs import ModelSpec
from harness.testing.contract import Case, Check, cases
from harness.testing.models import answers, weights
from harness.testing.models.subject import ModelSubject

MODEL_CHECKS = (
    Check(answers.answers),
    Check(answers.repeatable),
    Check(answers.companions),
    Check(answers.inputs),
    Check(answers.names),
    Check(answers.select),
    Check(answers.logits),
    Check(answers.training_loss),
    Check(weights.gradients),
    Check(weights.precision),
    Check(weights.distance),
    Check(weights.seeds),
    Check(weights.weights),
    Check(weights.devices),
)
"""In the order in which they are worth mending."""


def model_checks(
    model: str | ModelSpec | Entry[ModelSpec],
    *,
    params: Mapping[str, Any] | None = None,
    preset: str | None = None,
    only: Collection[str] = (),
    skip: Collection[str] = (),
    function: Callable[..., Any] | None = None,
) -> list[Case]:
    """The checks of a model, one per promise, each to be called without arguments.

    Args:
        model: its name in the catalogue, or the spec of one that is not installed.
        params: its parameters, as in a manifest.
        preset: the first one where none is named.
        only: names of checks; all where empty.
        skip: names of checks to leave out.
        function: what builds it, where the spec's ``build`` cannot be imported.

    Raises:
        HarnessError: a name is unknown, or a parameter is wrong.
    """
    return cases(ModelSubject.of(model, params, preset=preset, function=function), MODEL_CHECKS, only, skip)
