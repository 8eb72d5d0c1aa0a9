"""The model contract finds every broken promise, and says so; sound models pass all of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import harness
from harness.testing import findings, model_checks, results_of
from harness.testing.contract import Result

from . import broken_models as models


def checked(build: Any, head: str = "attributes", only: tuple[str, ...] = (), **said: Any) -> list[Result]:
    spec = harness.ModelSpec(name="model", summary="", head=head, build="tests:build", **said)  # type: ignore[arg-type]
    cases = model_checks(spec, function=build, only=only)
    return [result for group in results_of(cases) for result in group]


@pytest.mark.parametrize(
    ("build", "head", "skipped"),
    [
        (models.sound, "attributes", {"observe", "distance", "truth", "conventions"}),
        (models.classes, "classes", {"observe", "select", "logits", "distance", "truth", "conventions"}),
        (
            models.embedding,
            "embedding",
            {"observe", "names", "scores", "truth", "select", "logits", "training-loss", "conventions"},
        ),
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
        (models.made_from(forward=models.normalises), "outputs", "a black and a white image are not finite"),
        (models.of_scores(lambda self, x, scores: scores.double().round().long()), "outputs", "torch.int64"),
        (models.of_scores(lambda self, x, scores: scores[:, 0]), "outputs", "(1,) for a batch of 1"),
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
        (models.of_scores(lambda self, x, scores: {"scores": scores}), "outputs", "forward returned dict"),
        (models.made_from(forward=models.remembers), "repeatable", "the outputs of two calls"),
        (
            models.made_from(__init__=models.statistics_of_the_batch),
            "batch-independence",
            "with fixed statistics in eval mode",
        ),
        (models.of_pixels(models.trimmed), "batch-independence", "normalise each image by itself"),
        (
            models.of_scores(lambda self, x, scores: scores if len(x) < 32 else scores - scores.mean(0)),
            "batch-independence",
            "in batches of 6 and of 36",
        ),
        (lambda task: models.Sound(5 * ("a",)), "names", "name each output once"),
        (lambda task: models.Sound(("first", "Smiling")), "names", "name each attribute of the task once"),
        (models.of_scores(lambda self, x, scores: scores.sigmoid()), "scores", "what goes into the sigmoid"),
        (
            models.of_scores(lambda self, x, scores: 1 / (1 + (-scores).exp())),
            "scores",
            "lie in [0, 1] whatever the image",
        ),
        (
            models.of_scores(lambda self, x, scores: self.pairs(x).softmax(2)[:, :, 1]),
            "scores",
            "no decision can change",
        ),
        (models.of_scores(lambda self, x, scores: scores.abs() + 1), "scores", "no decision can change"),
        (models.of_scores(lambda self, x, scores: scores.exp()), "scores", "are all positive"),
        (
            models.of_scores(lambda self, x, scores: torch.nn.functional.logsigmoid(scores)),
            "scores",
            "are all negative",
        ),
        (models.of_pixels(lambda x: (x - 127.5) / 128), "pixel-scale", "it expects pixels from 0 to 255"),
        (models.of_pixels(lambda x: x / 255), "pixel-scale", "multiply by 255 first"),
        (models.of_pixels(models.caffe), "pixel-scale", "it expects pixels from 0 to 255"),
        (models.of_pixels(lambda x: x.byte() / 255), "pixel-scale", "it expects pixels from 0 to 255"),
        (
            models.of_scores(lambda self, x, scores: self.output.bias[:4] + 0 * scores),
            "pixel-scale",
            "compute them from the image",
        ),
        (models.made_from(forward=models.wakes), "inputs", "puts body.1 into train mode"),
        (models.made_from(forward=models.drifts), "inputs", "changes weights or buffers in eval mode"),
        (models.made_from(forward=models.hides), "inputs", "leaves behind another umask"),
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
    (finding,) = findings(checked(build))
    assert finding.check == check
    assert line in finding.line
    assert "\n" not in finding.line


@pytest.mark.parametrize(
    ("build", "line"),
    [
        (models.of_pixels(lambda x: x.sub_(0.5)), "write x = x - mean instead of x.sub_(mean)"),
        (models.of_pixels(lambda x: x.clamp_(0.2, 0.8)), "changes its images in place"),
        (models.made_from(train=models.stays_awake), "body.1 stays in train mode after eval()"),
        (models.made_from(forward=models.counts), "without effect on its outputs"),
    ],
)
def test_what_a_run_puts_right_is_told_and_no_fault(build: Any, line: str) -> None:
    results = checked(build)
    assert findings(results) == []
    (inputs,) = [result for result in results if result.check == "inputs"]
    assert inputs.status == "skipped"
    assert line in inputs.line


@pytest.mark.parametrize(
    ("build", "check", "line"),
    [
        (lambda task: models.Classifier(9), "names", "9 outputs, but the task has 5 classes"),
        (lambda task: models.Classifier(1000), "names", "build one output for each of task.class_names"),
        (lambda task: models.Classifier(1), "outputs", "1 output; the head classes needs at least 2"),
        (lambda task: models.Classifier(5, names=("one", "two")), "names", "2 class_names for 5 outputs"),
        (lambda task: models.Classifier(2, names=("one", "six")), "names", "class_names lack"),
        (models.of_logits(lambda logits: logits.softmax(1)), "scores", "return logits"),
        (models.of_logits(lambda logits: logits.sigmoid()), "scores", "return logits"),
        (
            models.of_logits(lambda logits: logits.exp() / logits.exp().sum(1, keepdim=True)),
            "scores",
            "or the logarithms of the probabilities",
        ),
        (models.of_logits(lambda logits: logits - logits.mean(0)), "batch-independence", "differ by"),
        (models.of_logits(lambda logits: 0 * logits), "pixel-scale", "no decision can change"),
        (models.of_logits(lambda logits: list(logits)), "outputs", "forward returned list"),
        (models.of_logits(lambda logits: torch.nan * logits), "outputs", "are not finite"),
        (models.of_logits(lambda logits: logits + torch.rand_like(logits)), "repeatable", "two calls"),
    ],
)
def test_a_fault_of_a_classifier_is_found(build: Any, check: str, line: str) -> None:
    (finding,) = findings(checked(build, "classes"))
    assert finding.check == check
    assert line in finding.line


def test_five_outputs_are_not_the_first_of_the_attributes() -> None:
    (finding,) = findings(checked(lambda task: models.Classifier(5), "attributes"))
    assert (finding.check, finding.line[:42]) == ("names", "5 outputs, but the task has 4 attributes; ")


def test_what_cannot_be_built_has_one_line() -> None:
    def exits(task: Any) -> torch.nn.Module:
        raise SystemExit("no weights")

    results = checked(exits)
    (finding,) = findings(results)
    assert finding.check == "outputs"
    assert len(finding.hidden) == len(results) - 1
    assert finding.line.endswith("SystemExit: no weights")


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        (models.Unrooted, "the gradient of the distance from themselves is not finite"),
        (models.Together, "return 4 finite numbers"),
        (models.Similar, "return a distance, such as 1 - similarity"),
    ],
)
def test_a_broken_distance_is_found(kind: Any, line: str) -> None:
    (finding,) = findings(checked(lambda task: kind(task.shape), "embedding"))
    assert finding.check == "distance"
    assert line in finding.line


@pytest.mark.parametrize(
    ("observe", "line"),
    [
        (None, "its module has no method observe(x, columns)"),
        (lambda self, x, columns: x.mean((1, 2, 3)), "the model returned (6,) for a batch of 6"),
        (lambda self, x, columns: x.mean((2, 3))[:, :1], "observe returned 1 numbers a case for 2 names"),
        (lambda self, x, columns: x.mean((2, 3))[:, :2] / 0, "what it observes of noise is not finite"),
        (lambda self, x, columns: (x - x.mean(0)).mean((2, 3))[:, :2], "observe differs by"),
        (lambda self, x, columns: torch.stack([x.mean((1, 2, 3)), columns.float()], 1), ""),
    ],
)
def test_observations(observe: Any, line: str) -> None:
    (result,) = checked(models.made_from(observe=observe), only=("observe",), observes=("light", "asked"))
    assert result.status == ("failed" if line else "passed")
    assert line in result.line
