"""Affine maps take the points of one picture to those of another; pixel centres are at whole numbers.

A rectangle is left, top, right and bottom in the same coordinates, so that a whole picture of H x W pixels is
(-0.5, -0.5, W - 0.5, H - 0.5).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.floating[Any] | np.integer[Any]]  # (N, ..., 2): x and y
Rectangles = npt.NDArray[np.float64]  # (N, 4): left, top, right, bottom
Affines = npt.NDArray[np.float64]  # (N, 2, 3)


def mapped(maps: Affines, points: Points) -> npt.NDArray[np.float64]:
    """Return points (N, ..., 2), each row of them mapped by its own map (N, 2, 3)."""
    flat = np.asarray(points, np.float64).reshape(len(maps), int(np.prod(points.shape[1:-1])), 2)
    moved = np.einsum("nij,nkj->nki", maps[:, :, :2], flat) + maps[:, None, :, 2]
    return np.asarray(moved.reshape(points.shape))


def after(second: Affines, first: Affines) -> Affines:
    """Return the maps (N, 2, 3) that do what the first do, and then what the second do."""
    linear = second[:, :, :2] @ first[:, :, :2]
    moved = np.einsum("nij,nj->ni", second[:, :, :2], first[:, :, 2]) + second[:, :, 2]
    return np.concatenate([linear, moved[:, :, None]], axis=2)


def inverse(maps: Affines) -> Affines:
    """Return the maps (N, 2, 3) that undo others."""
    linear = np.linalg.inv(maps[:, :, :2])
    return np.concatenate([linear, -(linear @ maps[:, :, 2:])], axis=2)


def similarities(angle: Points, scale: Points, centre: Points, target: Points) -> Affines:
    """Return maps (N, 2, 3) that turn by angles in radians and scale around a centre, and move that.

    Args:
        angle: (N,) clockwise, as y points down.
        scale: (N,).
        centre: (N, 2) the points that are moved to ``target`` (N, 2).
        target: (N, 2).
    """
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    linear = np.stack([np.stack([cosine, -sine], -1), np.stack([sine, cosine], -1)], 1)  # (N, 2, 2)
    moved = target - np.einsum("nij,nj->ni", linear, centre)
    return np.concatenate([linear, moved[:, :, None]], axis=2)


def cut_and_resized(parts: npt.NDArray[np.int64], size: tuple[int, int]) -> Affines:
    """Return the maps (N, 2, 3) to pictures of a height and width from parts of others.

    Args:
        parts: (N, 4) whole pixels: the first column and row, and those after the last ones.
        size: height and width in pixels.
    """
    across, down = size[1] / (parts[:, 2] - parts[:, 0]), size[0] / (parts[:, 3] - parts[:, 1])
    maps = np.zeros((len(parts), 2, 3))
    maps[:, 0, 0], maps[:, 1, 1] = across, down
    maps[:, 0, 2] = (0.5 - parts[:, 0]) * across - 0.5
    maps[:, 1, 2] = (0.5 - parts[:, 1]) * down - 0.5
    return maps


def rectangles(boxes: npt.NDArray[Any]) -> Rectangles:
    """Return left, top, right and bottom of boxes (K, 4), which are left, top, width and height in pixels.

    The first pixel's edge lies half a pixel before its centre.
    """
    corner = boxes[:, :2] - 0.5
    return np.concatenate([corner, corner + boxes[:, 2:]], axis=1).astype(np.float64)


def corners(boxes: Rectangles) -> npt.NDArray[np.float64]:
    """Return the four corners (N, 4, 2) of rectangles (N, 4), clockwise from the top left."""
    left, top, right, bottom = np.moveaxis(boxes, -1, 0)
    return np.stack([np.stack([left, right, right, left], -1), np.stack([top, top, bottom, bottom], -1)], -1)


def bounds(points: Points) -> Rectangles:
    """Return the smallest rectangles (N, 4) around points (N, K, 2)."""
    return np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1).astype(np.float64)


def enlarged(boxes: Rectangles, factor: float) -> Rectangles:
    """Return rectangles (N, 4) with the same centres, so many times as wide and as high."""
    middle = np.tile((boxes[:, :2] + boxes[:, 2:]) / 2, 2)
    return np.asarray(middle + (boxes - middle) * factor)


def whole_pixels(boxes: Rectangles, sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the pixels (N, 4) nearest to rectangles, cut to pictures of heights and widths (N, 2).

    They are the first column and row, and those after the last ones, so that a rectangle that lies outside of
    its picture has no pixels between them.
    """
    edges = np.floor(boxes + 1.0).astype(np.int64)  # -0.5 is the edge of pixel 0
    limits = np.tile(sizes[:, ::-1], 2)
    return np.clip(edges, 0, limits)


def overlaps(boxes: Rectangles, other: Rectangles) -> npt.NDArray[np.float64]:
    """Return the areas that rectangles (K, 4) and another (4,) or others (K, 4) share, by those of both."""
    wide = np.minimum(boxes[:, 2], other[..., 2]) - np.maximum(boxes[:, 0], other[..., 0])
    high = np.minimum(boxes[:, 3], other[..., 3]) - np.maximum(boxes[:, 1], other[..., 1])
    shared = np.maximum(wide, 0.0) * np.maximum(high, 0.0)
    whole = _areas(boxes) + _areas(other) - shared
    return np.asarray(np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0))


def _areas(boxes: Rectangles) -> npt.NDArray[np.float64]:
    return np.asarray((boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1]))
