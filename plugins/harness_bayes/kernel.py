"""Kernels of images by matrix products: inner products, squared distances, and the grid of widths."""

from __future__ import annotations

from math import log2

import torch
from torch import Tensor

from harness.dataset import UInt8Images
from harness.errors import ModelError


def pixels(images: UInt8Images | Tensor) -> Tensor:
    """uint8 images (N, C, H, W) as rows (N, D) of float64 in [0, 1], each the float64 nearest to k/255."""
    levels = images if isinstance(images, Tensor) else torch.from_numpy(images)
    return levels.flatten(1).to(torch.float64) / 255


def inner_products(left: Tensor, right: Tensor, centre: Tensor) -> Tensor:
    """(N, M) of the rows (N, D) and (M, D), each less ``centre`` (D,).

    A support vector machine is the same wherever the origin lies; near the middle of the images products are
    small, and their differences keep more digits.
    """
    return (left - centre) @ (right - centre).T


def squared_distances(left: Tensor, right: Tensor, centre: Tensor) -> Tensor:
    """(N, M) of the rows (N, D) and (M, D); none is less than 0."""
    left, right = left - centre, right - centre
    squares = left.square().sum(1)[:, None] + right.square().sum(1)
    return (squares - 2 * (left @ right.T)).clamp_min(0)


def widths(distances: Tensor, coarsest: float, finest: float, per_octave: int) -> list[float]:
    """Values of gamma, the smallest first, ``per_octave`` of them from each to twice that.

    Args:
        distances: (N, N) squared, of images. The median of those of different images is the unit: a gamma of
            1 / median makes the kernel of two typical images 1 / e.
        coarsest: the smallest gamma is not below it, in that unit.
        finest: the largest gamma, in that unit.

    Raises:
        ModelError: most images are equal, so that there is no unit; or ``finest`` is below ``coarsest``.
    """
    if finest < coarsest:
        raise ModelError(
            f"finest = {finest:g} leaves no gamma to try; give at least {coarsest:g}, or give gamma"
        )
    apart = distances[~torch.eye(len(distances), dtype=torch.bool)]
    median = float(apart.median())
    if median <= 0:
        raise ModelError("most training images are equal, so that there is no scale for gamma; give gamma")
    steps = int(log2(finest / coarsest) * per_octave + 1e-9)
    return [finest * 2 ** (-step / per_octave) / median for step in range(steps, -1, -1)]
