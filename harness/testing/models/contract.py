"""The contract of models lists all checks, and makes the cases of a model."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from harness.catalog import Entry
from harness.dataset import Dataset
from harness.specs import ModelSpec
from harness.testing.contract import Case, Check, cases
from harness.testing.models import answers, conventions, outputs, weights
from harness.testing.models.subject import ModelSubject

_BASIC = ("outputs", "inputs", "repeatable")
_STEADY = (*_BASIC, "batch-independence")
MODEL_CHECKS = (
    Check(outputs.outputs),
    Check(outputs.inputs, after=("outputs",)),
    Check(outputs.repeatable, after=("outputs", "inputs")),
    Check(outputs.batch_independence, after=_BASIC),
    Check(answers.names, after=("outputs",)),
    Check(answers.scores, after=_STEADY),
    Check(answers.pixel_scale, after=_STEADY),
    Check(answers.truth, after=(*_STEADY, "names", "scores", "pixel-scale")),
    Check(outputs.logits, after=_STEADY),
    Check(outputs.select, after=(*_STEADY, "logits")),
    Check(outputs.observe, after=_STEADY),
    Check(outputs.training_loss, after=_STEADY),
    Check(weights.gradients, after=(*_STEADY, "pixel-scale")),
    Check(weights.precision, after=("outputs", "inputs", "pixel-scale", "gradients")),
    Check(weights.distance, after=_STEADY),
    Check(conventions.conventions, after=(*_STEADY, "distance")),
    Check(weights.seeds, after=("outputs",)),
    Check(weights.weights, after=(*_BASIC, "seeds")),
    Check(weights.devices, after=("outputs", "seeds", "weights")),
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
    data: Dataset | None = None,
) -> list[Case]:
    """Return the checks of a model, one per promise, as functions without arguments.

    Args:
        model: its name in the catalogue, or the spec of a model that is not installed.
        params: its parameters, as in a manifest.
        preset: the name of a preset; the first one by default.
        only: names of checks to run; all if empty.
        skip: names of checks to leave out.
        function: the function that builds it, if the spec's ``build`` cannot be imported.
        data: images of persons, on which the embeddings are compared; by default the spec's example.

    Raises:
        HarnessError: a name is unknown, or a parameter is wrong.
    """
    subject = ModelSubject.of(model, params, preset=preset, function=function, data=data)
    return cases(subject, MODEL_CHECKS, only, skip)
