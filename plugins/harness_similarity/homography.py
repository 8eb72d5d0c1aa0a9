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
    """(B, H, W, 2)"""
    spare: tuple[Tensor, Tensor]

    @classmethod
    def like(cls, planes: Tensor) -> Workspace:
        """Return a workspace for batches of the size of these planes (B, H, W), and smaller ones."""
        x, y, inverse_depth, inside, one, other = (torch.empty_like(planes) for _ in range(6))
        return cls(x, y, inverse_depth, inside, planes.new_empty(*planes.shape, 2), (one, other))

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
class Places:
    """Places holds the positions to which homographies map the pixels of B images.

    Coordinates are from 0, the centre of an image's first pixel, to 1, that of its last, before and after.
    """

    x: Tensor
    """(B, H, W)"""
    y: Tensor
    """(B, H, W)"""
    inverse_depth: Tensor
    """(B, H, W) factors by which the homogeneous coordinates were multiplied."""
    space: Workspace

    def sample(self, images: Tensor) -> Tensor:
        """Sample images (B, C, H, W) at these positions, interpolated bilinearly; they are 0 outside."""
        grid = self.space.grid  # in -1 to 1
        torch.mul(self.x, 2, out=grid[..., 0])
        torch.mul(self.y, 2, out=grid[..., 1])
        return F.grid_sample(images, grid.sub_(1), mode="bilinear", padding_mode="zeros", align_corners=True)

    def inside(self) -> Tensor:
        """Return (B, H, W) 1 where the nearest pixel is one of the image and 0 elsewhere, as floats."""
        height, width = self.x.shape[1:]
        # The image ends half a pixel beyond its outermost centres.
        across, down = (0.5 + 0.5 / (size - 1) for size in (width, height))
        inside, other = self.space.inside, self.space.spare[0]
        torch.sub(self.x, 0.5, out=inside).abs_().le_(across)
        return inside.mul_(torch.sub(self.y, 0.5, out=other).abs_().le_(down))


def places(warps: Tensor, height: int, width: int, space: Workspace | None = None) -> Places:
    """Return, in float32, the positions to which homographies (B, 3, 3) map the pixels of images of a size.

    Args:
        space: the memory for the result and what is made of it; None allocates new memory.
    """
    warps = warps.float()
    x, y = axis(width, warps), axis(height, warps)[:, None]
    if space is None:
        space = Workspace.like(warps.new_empty(len(warps), height, width))

    def row(i: int, out: Tensor) -> Tensor:
        along = warps[:, i, 0, None] * x + warps[:, i, 2, None]  # (B, W)
        return torch.add(along[:, None], y * warps[:, i, 1, None, None], out=out)

    inverse_depth = row(2, space.inverse_depth).reciprocal_()
    across, down = row(0, space.x).mul_(inverse_depth), row(1, space.y).mul_(inverse_depth)
    return Places(across, down, inverse_depth, space)


def axis(size: int, like: Tensor) -> Tensor:
    """Return (size,) the coordinates of pixel centres."""
    return torch.linspace(0, 1, size, dtype=like.dtype, device=like.device)
