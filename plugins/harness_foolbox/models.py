"""A model of the harness is shown to Foolbox as a classifier."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from harness.errors import AttackError
from harness.model import Model
from harness_art.answers import answers_of


def foolbox_itself() -> Any:
    """Import and return the package.

    Raises:
        AttackError: Foolbox is not installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # its imports raise some
        try:
            import foolbox
        except ImportError:
            raise AttackError(
                "Foolbox is not installed: pip install face-robustness-harness[foolbox]"
            ) from None
    return foolbox


@contextmanager
def drawn_on_the_cpu() -> Iterator[None]:
    """Let Foolbox draw its random numbers on the CPU, so that they are the same for every device."""
    from eagerpy.tensor.pytorch import PyTorchTensor

    kind: Any = PyTorchTensor

    def uniform(self: Any, shape: Any, low: float = 0.0, high: float = 1.0) -> Any:
        drawn = torch.rand(shape, dtype=self.raw.dtype) * (high - low) + low
        return type(self)(drawn.to(self.raw.device))

    def normal(self: Any, shape: Any, mean: float = 0.0, stddev: float = 1.0) -> Any:
        drawn = torch.randn(shape, dtype=self.raw.dtype) * stddev + mean
        return type(self)(drawn.to(self.raw.device))

    before = kind.uniform, kind.normal
    kind.uniform, kind.normal = uniform, normal
    try:
        yield
    finally:
        kind.uniform, kind.normal = before


def model_of(module: nn.Module, device: torch.device) -> Any:
    """Return Foolbox's model of a module that computes logits of images in [0, 1]."""
    return foolbox_itself().PyTorchModel(module, bounds=(0, 1), device=device)


def to_foolbox(
    model: Model,
    *,
    attribute: str | int | None = None,
    anchor: Tensor | None = None,
    threshold: float | None = None,
) -> Any:
    """Return a model as a ``foolbox.PyTorchModel``, outside any run; its passes are not counted.

    A model of classes keeps its own logits. A model of attributes becomes a classifier with two classes:
    ``attribute`` is absent, or present. So does an embedding: it is rejected, or accepted as ``anchor``.

    Args:
        attribute: its name or column; it may be left out if there is only one.
        anchor: (D,) or (1, D), the embedding of the reference (enrolled template) image.
        threshold: the threshold of the distance to the anchor; by default the model's own.

    Raises:
        ModelError: an argument that the head needs is missing, or belongs to another head.
        AttackError: Foolbox is not installed.
    """
    module = answers_of(model, attribute=attribute, anchor=anchor, threshold=threshold)
    return model_of(module, model.device)
