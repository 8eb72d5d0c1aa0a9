"""Masks of patch attacks on faces are computed at any image size: eyeglasses, eye patch, places of a square.

Lengths are in pixels of the crop on which the masks were published (Arvinte et al.'s 64x64, which is the
centre 128x128 of CelebA's aligned 178x218 frame): row 0 to 64 downwards, column 0 to 64 to the right.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor
from typing import Annotated

import torch
from annotated_types import Gt, Le
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (the field's own abbreviation)

from harness.errors import AttackError
from harness_attacks.places import starts

Box = tuple[float, float, float, float]
"""A rectangle by its top, left, bottom and right edges."""

_CROP = 64
_WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
_FRAME = (218, 178)
"""The height and width of CelebA's aligned frame."""
_IN_FRAME: Box = (45 / 218, 25 / 178, 173 / 218, 153 / 178)
_ASPECT_TOLERANCE = 0.02

_MIDDLE = 32.0
_GLASSES_PIXELS = 107
"""The number of pixels of the frame, 2.6 % of the 4,096 of the crop."""
_GLASSES = (24, 16, 40, 48)
"""The rectangle around the frame: top, left, bottom, right."""
_LENS_COLUMN = 8.1
"""The distance of a lens's centre from the middle."""
_LENS_HALVES = (8.0, 6.8)
"""Half the height and half the width of a lens with its rim."""
_RIM = 1.03
_ROUNDNESS = 2.6
"""The exponent of a lens's outline: 2 would be an ellipse, a larger one is nearer to a rectangle."""
_BAR = (27.9, 29.5)
"""The rows of the bridge between the lenses and of the bars outside them."""

_EYE_PATCH = (26, 16, 38, 48)


@dataclass(frozen=True)
class _Grid:
    """A _Grid places the crop in an image: crop coordinate c lies at pixel ``offset + c * scale``."""

    height: int
    width: int
    offset: tuple[float, float]
    scale: tuple[float, float]

    def rows(self, samples: int) -> Tensor:
        """Return (height * samples,) float64 the crop rows of equally spaced points, so many per pixel."""
        return (_points(self.height, samples) - self.offset[0]) / self.scale[0]

    def columns(self, samples: int) -> Tensor:
        """Return (width * samples,) float64 the crop columns of equally spaced points, so many per pixel."""
        return (_points(self.width, samples) - self.offset[1]) / self.scale[1]

    def place(self, box: Box) -> Box:
        """Return a rectangle of the crop in pixels, rounded to a millionth, which removes float errors."""
        top, left, bottom, right = (
            round(self.offset[axis % 2] + edge * self.scale[axis % 2], 6) for axis, edge in enumerate(box)
        )
        return top, left, bottom, right

    def filled(self, top: int, left: int, bottom: int, right: int) -> Tensor:
        """Return bool (height, width), True in a rectangle of pixels.

        Raises:
            AttackError: the rectangle is empty, or does not lie in the image.
        """
        if not (0 <= top < bottom <= self.height and 0 <= left < right <= self.width):
            raise AttackError(
                f"rows {top} to {bottom} and columns {left} to {right} are not a region of {self.height}x"
                f"{self.width} images; use larger images, or another value of face"
            )
        mask = torch.zeros(self.height, self.width, dtype=torch.bool)
        mask[top:bottom, left:right] = True
        return mask


def eyeglasses(height: int, width: int, *, face: Box | None = None) -> Tensor:
    """Return bool (H, W), the frame of a pair of glasses: two rims, a bridge, and a bar towards each ear.

    At every size it covers the published share of the crop, 107 of 64x64 pixels: it consists of that many
    pixels, those that the exact frame covers most.

    Args:
        face: the position of the published crop in the image: top, left, bottom, right, as fractions of its
            height and width. It is known for square images (all of it) and CelebA's whole aligned frame.

    Raises:
        AttackError: the position of the face is not known, or the frame leaves the image.
    """
    grid = _grid(height, width, face)
    top, left, bottom, right = grid.place(_GLASSES)
    frame = grid.filled(floor(top), floor(left), ceil(bottom), ceil(right))
    samples = max(2, min(16, round(1024 / (_CROP * max(grid.scale)))))  # points per pixel, in each direction
    rows = grid.rows(samples)[frame.any(1).repeat_interleave(samples)]
    columns = grid.columns(samples)[frame.any(0).repeat_interleave(samples)]
    inside = _glasses(rows[:, None], columns).float()
    cover = torch.zeros(height, width)
    cover[frame] = F.avg_pool2d(inside[None], samples).flatten()
    return _most_covered(cover, max(1, round(_GLASSES_PIXELS * grid.scale[0] * grid.scale[1])), grid)


def eye_patch(height: int, width: int, *, face: Box | None = None) -> Tensor:
    """Return bool (H, W), a rectangle over both eyes, 384 of the published crop's 64x64 pixels.

    Args:
        face: as for ``eyeglasses``.

    Raises:
        AttackError: the position of the face is not known, or the patch leaves the image.
    """
    grid = _grid(height, width, face)
    top, left, bottom, right = grid.place(_EYE_PATCH)
    first = _nearest(top)
    # columns are rounded inwards at both ends, so that the patch is symmetric if the face is
    return grid.filled(first, floor(left + 0.5), first + _nearest(bottom - top), ceil(right - 0.5))


def squares(
    height: int,
    width: int,
    *,
    side: Annotated[float, Gt(0), Le(30)] = 10,
    stride: Annotated[float, Gt(0), Le(30)] = 5,
    face: Box | None = None,
) -> Tensor:
    """Return bool (P, H, W), the places of a square, row by row; 25 as published. All have the same size.

    Args:
        side: the side of the square, in 64ths of the published crop.
        stride: the distance from place to place, in the same unit.
        face: as for ``eyeglasses``.

    Raises:
        AttackError: the position of the face is not known, or a square leaves the image.
    """
    grid = _grid(height, width, face)
    edges = starts(side, stride)
    tall, wide = (_nearest(side * scale) for scale in grid.scale)
    corners = [grid.place((row, column, row + side, column + side))[:2] for row in edges for column in edges]
    nearest = [(_nearest(top), _nearest(left)) for top, left in corners]
    return torch.stack([grid.filled(top, left, top + tall, left + wide) for top, left in nearest])


def _grid(height: int, width: int, face: Box | None) -> _Grid:
    if face is None:
        if height == width:
            face = _WHOLE
        elif abs(height / width * _FRAME[1] / _FRAME[0] - 1) <= _ASPECT_TOLERANCE:
            face = _IN_FRAME
        else:
            raise AttackError(
                f"the position of the face in {height}x{width} images is not known; give face = [top, left, "
                "bottom, right] as fractions of height and width, or use square images or CelebA's 218:178"
            )
    top, left, bottom, right = face
    if not (-10 < top < bottom < 10 and -10 < left < right < 10):
        raise AttackError(
            f"face = {list(face)} is not a rectangle; give [top, left, bottom, right] as fractions"
        )
    scale = ((bottom - top) * height / _CROP, (right - left) * width / _CROP)
    return _Grid(height, width, (top * height, left * width), scale)


def _points(size: int, samples: int) -> Tensor:
    return (torch.arange(size * samples, dtype=torch.float64) + 0.5) / samples


def _nearest(length: float) -> int:
    """Return the nearest whole number, and the smaller one for a half, so that masks do not get too large."""
    return ceil(length - 0.5)


def _glasses(row: Tensor, column: Tensor) -> Tensor:
    """Tell (R, C) whether points at rows (R, 1) and columns (C,) of the crop lie in the frame."""
    across = (column - _MIDDLE).abs()
    tall, wide = _LENS_HALVES

    def lens(rim: float) -> Tensor:
        down = ((row - _MIDDLE) / (tall - rim)).abs() ** _ROUNDNESS
        return down + ((across - _LENS_COLUMN) / (wide - rim)).abs() ** _ROUNDNESS <= 1

    bar = (row >= _BAR[0]) & (row <= _BAR[1]) & (across <= _MIDDLE - _GLASSES[1])
    return (lens(0) | bar) & ~lens(_RIM)


def _most_covered(cover: Tensor, count: int, grid: _Grid) -> Tensor:
    """Return bool (H, W) with so many pixels, those that have the largest shares (H, W).

    Of equal shares, those nearest to the middle column come first, so that at most one pixel has no mirror
    image.
    """
    height, width = cover.shape
    across = (grid.columns(1) - _MIDDLE).abs().mul(1e6).round().expand(height, width)
    nearest = across.flatten().argsort(stable=True)
    order = nearest[cover.flatten()[nearest].argsort(descending=True, stable=True)]
    mask = torch.zeros(height * width, dtype=torch.bool)
    mask[order[:count]] = True
    return mask.view(height, width)
