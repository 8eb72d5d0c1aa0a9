"""Estimators: a problem of classification, or a whole model, as the Toolbox's own PyTorch classifier."""

from __future__ import annotations

from typing import Any

import torch
from art.estimators.classification import PyTorchClassifier
from torch import Tensor, nn

from harness.errors import ModelError
from harness.model import Model
from harness_art.answers import Answers, answers_of, only_shape


def estimator_of(module: nn.Module, shape: tuple[int, ...], classes: int, device: torch.device) -> Any:
    """The Toolbox's classifier of a module that answers logits to images in [0, 1]."""
    return PyTorchClassifier(**_described(module, shape, classes, device))


def to_art(
    model: Model,
    *,
    attribute: str | int | None = None,
    anchor: Tensor | None = None,
    threshold: float | None = None,
    input_shape: tuple[int, int, int] | None = None,
) -> Any:
    """A model as an ART ``PyTorchClassifier``, outside any run and unmetered.

    A model of classes is shown with its own logits; of attributes, as a classifier of two: ``attribute``
    absent or present; an embedding likewise: ``anchor`` rejected or accepted. The model's access holds: where
    it shows scores or decisions only, a gradient is refused, and decisions are one-hot.

    Args:
        attribute: name or column; may be left out where there is only one.
        anchor: (D,) or (1, D), an embedding.
        threshold: of the distance to the anchor; the model's by default.
        input_shape: (C, H, W) of the images; otherwise learnt from the first that it is asked about, or from
            the network where that takes one size alone.

    Raises:
        ModelError: what the head needs is missing, or belongs to another head.
    """
    module = answers_of(model, attribute=attribute, anchor=anchor, threshold=threshold)
    if input_shape is not None:
        if len(input_shape) != 3 or min(input_shape) < 1:
            raise ModelError(f"input_shape = {input_shape} must be (channels, height, width)")
        with torch.no_grad():
            module(torch.zeros(1, *input_shape, device=model.device))
    return ModelClassifier(module, model.device)


class ModelClassifier(PyTorchClassifier):  # type: ignore[misc]
    """The Toolbox's classifier of a model that learns from the first images how large they are."""

    def __init__(self, module: Answers, device: torch.device) -> None:
        self._answers = module
        super().__init__(**_described(module, (), 2, device))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(C, H, W)."""
        if self._answers.shape is None:
            self._try("the size of the images is")
        return self._answers.shape or ()

    @property
    def nb_classes(self) -> int:
        """How many classes it answers."""
        if self._answers.classes is None:
            self._try("the number of classes is")
        return self._answers.classes or 0

    @nb_classes.setter
    def nb_classes(self, classes: int) -> None:
        """Nothing: the model says it."""

    def _try(self, what: str) -> None:
        """Ask the network itself.

        Raises:
            ModelError: it takes images of several sizes.
        """
        shape = only_shape(self._answers)
        if shape is None:
            raise ModelError(
                f"{what} not known before it has seen an image: to_art(…, input_shape=(C, H, W))"
            )
        with torch.no_grad():
            self._answers(torch.zeros(1, *shape, device=self._answers.answering.device))


def _described(
    module: nn.Module, shape: tuple[int, ...], classes: int, device: torch.device
) -> dict[str, Any]:
    return {
        "model": module,
        "loss": nn.CrossEntropyLoss(),
        "input_shape": shape,
        "nb_classes": classes,
        "clip_values": (0.0, 1.0),
        "device_type": "gpu" if device.type == "cuda" else "cpu",
    }
