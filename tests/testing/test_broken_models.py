"""The model contract finds every broken promise, and says so; sound models pass all of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import harness
from harness.testing import model_checks
from harness.testing.contract import Result

from . import broken_models as models


def checked(build: Any, head: str = "attributes", only: tuple[str, ...] = (), **said: Any) -> list[Result]:
    spec = harness.ModelSpec(name="model", summary="", head=head, build="tests:build", **said)  # type: ignore[arg-type]
    return [case.result() for case in model_checks(spec, function=build, only=only)]


@pytest.mark.parametrize(
    ("build", "head", "skipped"),
    [
        (models.sound, "attributes", {"distance"}),
        (models.classes, "classes", {"names", "select", "logits", "distance"}),
        (models.embedding, "embedding", {"names", "select", "logits", "training-loss"}),
    ],
)
def test_sound_models_pass(build: Any, head: str, skipped: set[str]) -> None:
    results = checked(build, head)
    assert [result for result in results if result.status == "failed"] == []
    assert {result.check for result in results if result.status == "skipped"} == skipped


def test_a_model_that_must_be_trained_is_trained_on_noise() -> None:
    results = checked(
        models.unfitted,
        only=("outputs", "gradients"),
        train="tests.testing.broken_models:fit",
        access="scores",
    )
    assert [result.status for result in results] == ["passed", "skipped"]
    assert results[1].line == "its access is scores"


def test_the_smallest_size_that_a_model_takes_is_found() -> None:
    def build(task: Any) -> torch.nn.Module:
        height = task.shape[1]
        if height < 48:
            raise ValueError("too small")
        return torch.nn.Sequential(torch.nn.AvgPool2d(height), torch.nn.Flatten(), torch.nn.Linear(3, 4))

    assert [result.status for result in checked(build, only=("outputs", "gradients"))] == ["passed", "passed"]

    def refuse(task: Any) -> torch.nn.Module:
        raise ValueError("never")

    (result,) = checked(refuse, only=("outputs",))
    assert result.line.startswith(
        "it accepts no images of 16 to 224 pixels; the last attempt: build for images"
    )
    assert result.line.endswith("ValueError: never")


@pytest.mark.parametrize(
    ("build", "check", "line"),
    [
        (models.made_from(forward=models.flattens), "outputs", "RuntimeError"),
        (models.made_from(forward=models.normalises), "outputs", "a black and a white image are not finite"),
        (models.of_scores(lambda self, x, scores: scores.double().round().long()), "outputs", "torch.int64"),
        (models.of_scores(lambda self, x, scores: scores[:, 0]), "outputs", "(0,) for 0 images"),
        (models.of_scores(lambda self, x, scores: [scores]), "outputs", "forward returned list"),
        (
            models.of_scores(lambda self, x, scores: scores + torch.nn.functional.dropout(scores, 0.5)),
            "repeatable",
            "use dropout and other random numbers in train mode only",
        ),
        (
            models.made_from(forward=models.standardises),
            "batch-independence",
            "with fixed statistics in eval mode",
        ),
        (
            models.of_scores(lambda self, x, scores: scores.sort(0).values),
            "batch-independence",
            "outputs differ by",
        ),
        (
            models.made_from(train=models.stays_awake),
            "batch-independence",
            "with fixed statistics in eval mode",
        ),
        (models.made_from(train=models.stays_awake), "inputs", "body.1 stays in train mode after eval()"),
        (models.made_from(forward=models.wakes), "inputs", "puts body.1 into train mode"),
        (models.made_from(forward=models.counts), "inputs", "changes weights or buffers in eval mode"),
        (models.made_from(forward=models.darkens), "inputs", "changes its images in place"),
        (models.of_scores(lambda self, x, scores: scores[:, 1:]), "names", "4 attribute_names for 3 outputs"),
        (
            models.made_from(select=lambda self, x, columns: models.Sound.select(self, x, (columns + 1) % 4)),
            "select",
            "select differs from forward by",
        ),
        (
            models.made_from(select=lambda self, x, columns: models.Sound.select(self, x, columns)[:, None]),
            "select",
            "select returned (6, 1) for 6 images",
        ),
        (
            models.made_from(logits=lambda self, x, columns: models.Sound.logits(self, x, columns).flip(1)),
            "logits",
            "present minus absent differs from the score",
        ),
        (
            models.made_from(
                training_loss=staticmethod(lambda scores, labels: (scores - labels).square().mean())
            ),
            "training-loss",
            "neither averaged nor summed",
        ),
        (
            models.made_from(
                training_loss=staticmethod(lambda scores, labels: (scores - labels.mean()).square())
            ),
            "training-loss",
            "depends on the rest of its batch",
        ),
        (models.of_scores(lambda self, x, scores: scores.detach()), "gradients", 'declare access = "scores"'),
        (
            models.of_scores(lambda self, x, scores: (1e4 * scores).round() / 1e4),
            "gradients",
            "exactly 0, although its outputs depend on the image",
        ),
        (
            models.of_scores(lambda self, x, scores: models.Rounded.apply(scores)),
            "gradients",
            "look for a step that has a wrong gradient, or none",
        ),
        (
            models.of_scores(lambda self, x, scores: scores * (1 if scores.dtype == x.dtype else torch.nan)),
            "precision",
            "in bfloat16 are not finite",
        ),
        (
            models.initialised(models.set_weight_by_the_clock),
            "seeds",
            "two builds from one seed differ in extra",
        ),
        (models.initialised(models.set_number_by_the_seed), "weights", "outputs that differ by"),
        (models.initialised(models.set_shared_weight), "weights", "its weights cannot be saved"),
        (models.initialised(models.set_plain_tensor), "devices", "register its tensors as buffers"),
    ],
)
def test_a_broken_promise_is_found(build: Any, check: str, line: str) -> None:
    (result,) = checked(build, only=(check,))
    assert result.status == "failed", result
    assert line in result.line
    assert "\n" not in result.line


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        (models.Unrooted, "the gradient of the distance from themselves is not finite"),
        (models.Together, "return 4 finite numbers"),
    ],
)
def test_a_broken_distance_is_found(kind: Any, line: str) -> None:
    (result,) = checked(lambda task: kind(task.shape), "embedding", only=("distance",))
    assert result.status == "failed"
    assert line in result.line
