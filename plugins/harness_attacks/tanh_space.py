"""Tanh space: unbounded values that stand for pixels in (0, 1) (Carlini and Wagner 2017, section V.B)."""

from __future__ import annotations

import torch
from torch import Tensor

FACTOR = 0.999999
"""By how much pixels are drawn towards grey: 0 and 1 would lie at infinity."""


def to_tanh(x: Tensor) -> Tensor:
    """Values of any shape for pixels in [0, 1]; black and white are about -7.25 and +7.25."""
    return torch.atanh((x - 0.5) * 2 * FACTOR)


def from_tanh(values: Tensor) -> Tensor:
    """The pixels in [0, 1] that the values stand for."""
    return torch.tanh(values) / 2 + 0.5


def steepness(x: Tensor) -> Tensor:
    """By how much each pixel of ``from_tanh`` changes per unit of its value, told from the pixel."""
    return 2 * x * (1 - x)
