"""Tiling noise is the texture of hair, skin and backgrounds."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.floating[Any]]
"""A float32 array (h, w); NumPy's stubs take a Python float for float64, so the type cannot be exact."""

TILE = 256
"""The side of a tile in texels; a power of two, so that coordinates wrap by a mask."""


@lru_cache(maxsize=8)
def tile(grain: float) -> Plane:
    """Return tiling noise (256, 256) with zero mean and unit deviation; ``grain`` is its blur in texels."""
    generator = np.random.Generator(np.random.Philox(key=int(grain * 100)))
    noise: Plane = generator.standard_normal((TILE, TILE))
    if grain > 0:
        blurred = np.asarray(cv2.GaussianBlur(np.tile(noise, (3, 3)), (0, 0), grain), dtype=np.float64)
        noise = blurred[TILE : 2 * TILE, TILE : 2 * TILE]  # the middle of nine tiles
    noise -= noise.mean()
    noise /= noise.std()
    small: Plane = noise.astype(np.float32)
    small.setflags(write=False)  # shared by all images and threads
    return small


def lookup(x: Plane, y: Plane, grain: float = 1.0) -> Plane:
    """Return noise (h, w) at coordinates in texels (h, w), interpolated and wrapped at the tile's edges."""
    if not x.size:
        return np.zeros(x.shape, np.float32)
    sampled = cv2.remap(tile(grain), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return np.asarray(sampled, dtype=np.float32)
