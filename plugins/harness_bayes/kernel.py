"""Kernels of images are computed by matrix products: inner products, squared distances, a grid of gammas."""

from __future__ import annotations

from math import log2

import torch
from torch import Tensor

from harness.dataset import UInt8Images
from harness.errors import ModelError


def pixels(images: UInt8Images | Tensor) -> Tensor:
    """Return uint8 images (N, C, H, W) as rows (N, D) of float64 in [0, 1], each nearest to k/255."""
    levels = images if isinstance(images, Tensor) else torch.from_numpy(images)
    return levels.flatten(1).to(torch.float64) / 255


def inner_products(left: Tensor, right: Tensor, centre: Tensor) -> Tensor:
    """Return (N, M) the inner products of rows (N, D) and (M, D), after subtraction of ``centre`` (D,).

    A support vector machine does not depend on the origin; around the mean of the images products are small,
    and their differences keep more digits.
    """
    return (left - centre) @ (right - centre).T


def squared_distances(left: Tensor, right: Tensor, centre: Tensor) -> Tensor:
    """Return (N, M) the squared distances of rows (N, D) and (M, D); none is less than 0."""
    left, right = left - centre, right - centre
    squares = left.square().sum(1)[:, None] + right.square().sum(1)
    return (squares - 2 * (left @ right.T)).clamp_min(0)


def widths(distances: Tensor, coarsest: float, finest: float, per_octave: int) -> list[float]:
    """Return values of gamma, the smallest first; each is 2^(1 / ``per_octave``) times the one before.

    Args:
        distances: (N, N) squared distances of images. 1 / their median, over different images, is the unit:
            this gamma makes the kernel of two typical images 1 / e.
        coarsest: the lower limit of the smallest gamma, in that unit.
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
        raise ModelError("most training images are equal, so gamma has no scale; give gamma")
    steps = int(log2(finest / coarsest) * per_octave + 1e-9)
    return [finest * 2 ** (-step / per_octave) / median for step in range(steps, -1, -1)]
