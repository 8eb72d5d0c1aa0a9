"""In tanh space, unbounded values stand for pixels in (0, 1) (Carlini and Wagner 2017, section V.B)."""

from __future__ import annotations

import torch
from torch import Tensor

FACTOR = 0.999999
"""The factor by which pixels are moved towards grey, because 0 and 1 would be at infinity."""


def to_tanh(x: Tensor) -> Tensor:
    """Return the values, of any shape, of pixels in [0, 1]; black and white are about -7.25 and +7.25."""
    return torch.atanh((x - 0.5) * 2 * FACTOR)


def from_tanh(values: Tensor) -> Tensor:
    """Return the pixels in [0, 1] that the values stand for."""
    return torch.tanh(values) / 2 + 0.5


def steepness(x: Tensor) -> Tensor:
    """Return the derivative of each pixel with respect to its value, computed from the pixel."""
    return 2 * x * (1 - x)
