"""The contract of models lists all checks, and makes the cases of a model."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from harness.catalog import Entry
from harness.specs import ModelSpec
from harness.testing.contract import Case, Check, cases
from harness.testing.models import outputs, weights
from harness.testing.models.subject import ModelSubject

MODEL_CHECKS = (
    Check(outputs.outputs),
    Check(outputs.repeatable),
    Check(outputs.batch_independence),
    Check(outputs.inputs),
    Check(outputs.names),
    Check(outputs.select),
    Check(outputs.logits),
    Check(outputs.training_loss),
    Check(weights.gradients),
    Check(weights.precision),
    Check(weights.distance),
    Check(weights.seeds),
    Check(weights.weights),
    Check(weights.devices),
)
"""All checks, in the order in which failures are best repaired."""


def model_checks(
    model: str | ModelSpec | Entry[ModelSpec],
    *,
    params: Mapping[str, Any] | None = None,
    preset: str | None = None,
    only: Collection[str] = (),
    skip: Collection[str] = (),
    function: Callable[..., Any] | None = None,
) -> list[Case]:
    """Return the checks of a model, one per promise, as functions without arguments.

    Args:
        model: its name in the catalogue, or the spec of a model that is not installed.
        params: its parameters, as in a manifest.
        preset: the name of a preset; the first one by default.
        only: names of checks to run; all if empty.
        skip: names of checks to leave out.
        function: the function that builds it, if the spec's ``build`` cannot be imported.

    Raises:
        HarnessError: a name is unknown, or a parameter is wrong.
    """
    return cases(ModelSubject.of(model, params, preset=preset, function=function), MODEL_CHECKS, only, skip)
