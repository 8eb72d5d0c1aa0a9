"""A model of the harness is shown to the Toolbox as its own PyTorch classifier."""

from __future__ import annotations

from typing import Any

import torch
from art.estimators.classification import PyTorchClassifier
from torch import Tensor, nn

from harness.errors import ModelError
from harness.model import Model
from harness_art.answers import Answers, answers_of, only_shape


def estimator_of(module: nn.Module, shape: tuple[int, ...], classes: int, device: torch.device) -> Any:
    """Return the Toolbox's classifier of a module that computes logits of images in [0, 1]."""
    return PyTorchClassifier(**_described(module, shape, classes, device))


def to_art(
    model: Model,
    *,
    attribute: str | int | None = None,
    anchor: Tensor | None = None,
    threshold: float | None = None,
    input_shape: tuple[int, int, int] | None = None,
) -> Any:
    """Return a model as an ART ``PyTorchClassifier``, outside any run; its passes are not counted.

    A model of classes keeps its own logits. A model of attributes becomes a classifier with two classes:
    ``attribute`` is absent, or present. So does an embedding: it is rejected, or accepted as ``anchor``. The
    model's access is kept: with access to scores or decisions only, gradients are refused, and decisions are
    one-hot.

    Args:
        attribute: its name or column; it may be left out if there is only one.
        anchor: (D,) or (1, D), the embedding of the reference (enrolled template) image.
        threshold: the threshold of the distance to the anchor; by default the model's own.
        input_shape: (C, H, W) of the images; by default that of the first images, or of the network if it
            accepts one size only.

    Raises:
        ModelError: an argument that the head needs is missing, or belongs to another head.
    """
    module = answers_of(model, attribute=attribute, anchor=anchor, threshold=threshold)
    if input_shape is not None:
        if len(input_shape) != 3 or min(input_shape) < 1:
            raise ModelError(f"input_shape = {input_shape} must be (channels, height, width)")
        with torch.no_grad():
            module(torch.zeros(1, *input_shape, device=model.device))
    return ModelClassifier(module, model.device)


class ModelClassifier(PyTorchClassifier):  # type: ignore[misc]
    """A ModelClassifier is the Toolbox's classifier of a model; the first images tell their size."""

    def __init__(self, module: Answers, device: torch.device) -> None:
        self._answers = module
        super().__init__(**_described(module, (), 2, device))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Return (C, H, W)."""
        if self._answers.shape is None:
            self._try("the size of the images is")
        return self._answers.shape or ()

    @property
    def nb_classes(self) -> int:
        """Return the number of classes."""
        if self._answers.classes is None:
            self._try("the number of classes is")
        return self._answers.classes or 0

    @nb_classes.setter
    def nb_classes(self, classes: int) -> None:
        """Do nothing, because the model decides the number."""

    def _try(self, what: str) -> None:
        """Try sizes on the network.

        Raises:
            ModelError: the network accepts images of several sizes.
        """
        shape = only_shape(self._answers)
        if shape is None:
            raise ModelError(f"{what} not known before the first image; use to_art(…, input_shape=(C, H, W))")
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
