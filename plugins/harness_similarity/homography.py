"""A warp resamples an image at the positions to which a homography maps its pixels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812


@dataclass(frozen=True, eq=False)
class Workspace:
    """A Workspace is memory for planes (B, H, W) that is used again for each batch.

    New memory costs more than the arithmetic on it, because the system gives it page by page, and zeroed.
    """

    x: Tensor
    y: Tensor
    inverse_depth: Tensor
    inside: Tensor
    grid: Tensor
    """(B, H, W) complex: x + iy, which lies in memory as a grid (B, H, W, 2) for sampling does."""
    spare: tuple[Tensor, Tensor]

    @classmethod
    def like(cls, planes: Tensor) -> Workspace:
        """Return a workspace for batches of the size of these planes (B, H, W), and smaller ones."""
        x, y, inverse_depth, inside, one, other = (torch.empty_like(planes) for _ in range(6))
        grid = planes.new_empty(planes.shape, dtype=torch.complex64)
        return cls(x, y, inverse_depth, inside, grid, (one, other))

    def of(self, count: int) -> Workspace:
        """Return the part for so many images."""
        one, other = self.spare
        return Workspace(
            self.x[:count],
            self.y[:count],
            self.inverse_depth[:count],
            self.inside[:count],
            self.grid[:count],
            (one[:count], other[:count]),
        )


@dataclass(frozen=True, eq=False)
class Lattice:
    """A Lattice is the pixels of a picture that are looked at: all, or some that lie evenly."""

    size: tuple[int, int]
    """The height and width of the picture in pixels."""
    y: Tensor
    """(H,) the coordinates of the rows' centres, 0 to 1 for the first and last of the picture."""
    x: Tensor
    """(W,) those of the columns' centres."""

    @classmethod
    def of(cls, picture: Tensor, apart: int = 1) -> Lattice:
        """Return that of a picture (…, H, W), whose neighbours are so many pixels apart."""
        height, width = picture.shape[-2:]
        return cls((height, width), axis(height, picture)[::apart], axis(width, picture)[::apart])


@dataclass(frozen=True, eq=False)
class Places:
    """Places holds the positions to which homographies map pixels of B images.

    The positions are from -1, the centre of an image's first pixel, to 1, that of its last.
    """

    x: Tensor
    """(B, H, W)"""
    y: Tensor
    """(B, H, W)"""
    inverse_depth: Tensor
    """(B, H, W) factors by which the homogeneous coordinates were multiplied."""
    size: tuple[int, int]
    """The height and width of the images in pixels."""
    space: Workspace

    def sample(self, images: Tensor) -> Tensor:
        """Sample images (B, C, H, W) at these positions, interpolated bilinearly; they are 0 outside."""
        # As complex numbers, x and y are written side by side, in half the time of one after the other.
        grid = torch.view_as_real(torch.complex(self.x, self.y, out=self.space.grid))
        return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=True)

    def inside(self) -> Tensor:
        """Return (B, H, W) 1 where the nearest pixel is one of the image and 0 elsewhere, as floats."""
        # The image ends half a pixel beyond its outermost centres.
        down, across = (1 + 1 / (size - 1) for size in self.size)
        inside, other = self.space.inside, self.space.spare[0]
        torch.abs(self.x, out=inside).le_(across)
        return inside.mul_(torch.abs(self.y, out=other).le_(down))


def places(warps: Tensor, lattice: Lattice, space: Workspace | None = None) -> Places:
    """Return, in float32, the positions to which homographies (B, 3, 3) map the pixels of a lattice.

    The homographies themselves have coordinates from 0 to 1 before and after.

    Args:
        space: the memory for the result and what is made of it; None allocates new memory.
    """
    warps = (warps.new_tensor(CENTRED) @ warps).float()
    x, y = lattice.x, lattice.y[:, None]
    if space is None:
        space = Workspace.like(warps.new_empty(len(warps), len(y), len(x)))

    def row(i: int, out: Tensor) -> Tensor:
        along = warps[:, i, 0, None] * x + warps[:, i, 2, None]  # (B, W)
        return torch.add(along[:, None], y * warps[:, i, 1, None, None], out=out)

    inverse_depth = row(2, space.inverse_depth).reciprocal_()
    across, down = row(0, space.x).mul_(inverse_depth), row(1, space.y).mul_(inverse_depth)
    return Places(across, down, inverse_depth, lattice.size, space)


def axis(size: int, like: Tensor) -> Tensor:
    """Return (size,) the coordinates of pixel centres."""
    return torch.linspace(0, 1, size, dtype=like.dtype, device=like.device)


CENTRED = ((2.0, 0.0, -1.0), (0.0, 2.0, -1.0), (0.0, 0.0, 1.0))
"""The homography from coordinates of 0 to 1 to those of -1 to 1."""
