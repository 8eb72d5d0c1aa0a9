"""Models: a problem of classification, or a whole model, as Foolbox sees it."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from harness.errors import AttackError
from harness.model import Model
from harness_art.answers import answers_of


def foolbox_itself() -> Any:
    """The package.

    Raises:
        AttackError: it is not installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of its imports
        try:
            import foolbox
        except ImportError:
            raise AttackError(
                "Foolbox is not installed: pip install face-robustness-harness[foolbox]"
            ) from None
    return foolbox


def model_of(module: nn.Module, device: torch.device) -> Any:
    """Foolbox's model of a module that answers logits to images in [0, 1]."""
    return foolbox_itself().PyTorchModel(module, bounds=(0, 1), device=device)


def to_foolbox(
    model: Model,
    *,
    attribute: str | int | None = None,
    anchor: Tensor | None = None,
    threshold: float | None = None,
) -> Any:
    """A model as a ``foolbox.PyTorchModel``, outside any run and unmetered.

    A model of classes is shown with its own logits; of attributes, as a classifier of two: ``attribute``
    absent or present; an embedding likewise: ``anchor`` rejected or accepted.

    Args:
        attribute: name or column; may be left out where there is only one.
        anchor: (D,) or (1, D), an embedding.
        threshold: of the distance to the anchor; the model's by default.

    Raises:
        ModelError: what the head needs is missing, or belongs to another head.
        AttackError: Foolbox is not installed.
    """
    module = answers_of(model, attribute=attribute, anchor=anchor, threshold=threshold)
    return model_of(module, model.device)
