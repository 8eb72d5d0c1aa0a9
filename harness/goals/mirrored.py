"""A verifier that looks at a face and at its mirror image is a model of its own, with twice as many outputs.

``mirrored`` makes it: its embedding (B, 2D) is that of the image followed by that of the mirror image, and
its distance is the mean of the distances of both halves. So whoever asks about an image sees both: the judge
decides by the mean distance, attacks follow its gradient through the objective, and nothing else knows that
there is a mirror. References are not mirrored: an anchor is the embedding of the reference, ``twice``. Each
pass of the model is two of its network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from harness.errors import ModelError

if TYPE_CHECKING:
    from harness.model import Model


class Mirrored(nn.Module):
    """Mirrored answers images (B, C, H, W) with the embeddings of image and mirror image, (B, 2D)."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.training = module.training

    def forward(self, x: Tensor) -> Tensor:
        """Return the two embeddings of each image, one after the other."""
        flipped = x.flip(3)  # before the module, which may write to its input, sees the image
        return torch.cat([self.module(x), self.module(flipped)], 1)


@dataclass(frozen=True)
class MeanDistance:
    """MeanDistance is the mean of a distance over the two halves of embeddings (B, 2D)."""

    distance: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the distances (B,)."""
        half = a.shape[1] // 2
        return (self.distance(a[:, :half], b[:, :half]) + self.distance(a[:, half:], b[:, half:])) / 2


def mirrored(model: Model) -> Model:
    """Return the model that looks at mirror images, too.

    Raises:
        ModelError: its outputs are no embeddings.
    """
    if model.head != "embedding":
        raise ModelError(f'only embeddings are mirrored; this model has the head "{model.head}"')
    return replace(model, module=Mirrored(model.module), distance=MeanDistance(model.distance))


def twice(embeddings: Tensor) -> Tensor:
    """Return embeddings (B, D) as anchors (B, 2D) of a mirrored model."""
    return torch.cat([embeddings, embeddings], 1)
