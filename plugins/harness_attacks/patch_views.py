"""A patch that is to hold in the world is ascended over small shifts, rotations and changes of brightness.

This is the expectation over transformation of Athalye et al. 2018 (https://arxiv.org/abs/1707.07397), as a
mean over transformations that are drawn once for each case. They are of whole images, because the camera
moves; at the edges, pixels are repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (the field's own abbreviation)

from harness.randomness import CaseRandom


@dataclass(frozen=True, eq=False)
class Views:
    """Views are the transformations of each case."""

    moves: Tensor  # (B, V, 2, 3) affine, in the coordinates of grid_sample
    light: Tensor  # (B, V) the factor of all pixels

    def __len__(self) -> int:
        return self.light.shape[1]

    def take(self, rows: Tensor) -> Views:
        """Return the views of some rows (K,)."""
        return Views(self.moves[rows], self.light[rows])

    def seen(self, images: Tensor, view: int) -> Tensor:
        """Return images (B, C, H, W) under one of the transformations; differentiable."""
        grid = F.affine_grid(self.moves[:, view], list(images.shape), align_corners=False)
        moved = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
        return (moved * self.light[:, view].view(-1, 1, 1, 1)).clamp(0, 1)


def drawn_views(
    rng: CaseRandom, x: Tensor, count: int, shift: float, degrees: float, brightness: float
) -> Views:
    """Draw views of images (B, C, H, W).

    Args:
        count: how many for each case.
        shift: the largest shift, as a share of height and width.
        degrees: the largest angle.
        brightness: the largest change of the factor of all pixels.
    """
    drawn = rng.uniform((4, count), -1, 1).to(x)  # (B, 4, V)
    angle = drawn[:, 0] * (degrees * pi / 180)
    ratio = x.shape[2] / x.shape[3]  # angles are kept on images that are not square
    cos, sin = angle.cos(), angle.sin()
    rows = [cos, -sin * ratio, 2 * shift * drawn[:, 1], sin / ratio, cos, 2 * shift * drawn[:, 2]]
    moves = torch.stack(rows, 2).view(len(x), count, 2, 3)
    return Views(moves, 1 + brightness * drawn[:, 3])
