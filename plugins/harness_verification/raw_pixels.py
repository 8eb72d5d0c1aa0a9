"""raw-pixels compares faces pixel by pixel: what a verifier must be better than."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.training import Task
from harness_verification.face_crop import face_crop


class RawPixels(nn.Module):
    """RawPixels embeds a face as its 64 x 64 pixels (B, 12288), less their mean and of unit length."""

    least: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("least", torch.tensor(1e-6))

    def forward(self, x: Tensor) -> Tensor:
        pixels = face_crop(x).flatten(1)
        pixels = pixels - pixels.mean(1, keepdim=True)
        return pixels / (pixels.square().sum(1, keepdim=True) + self.least).sqrt()


def build(task: Task) -> RawPixels:
    """Build the embedding, which has no parameters and is not trained."""
    return RawPixels()
