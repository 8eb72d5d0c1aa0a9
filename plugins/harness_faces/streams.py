"""Random numbers are a pure function of seed, stream, index and column (SplitMix64's finaliser).

A generator object per image would cost more than its numbers, and a shared one would make an image depend on
the images before it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

FloatArray = npt.NDArray[np.float64]
IndexArray = npt.NDArray[np.int64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_ODD = np.uint64(0xD1B54A32D192ED03)


def _mix(value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def uniforms(seed: int, stream: int, index: IndexArray, columns: int) -> FloatArray:
    """Return uniform numbers (N, columns) in the open interval (0, 1).

    Args:
        seed: the seed of the data set.
        stream: the number of the purpose, so that two purposes share no numbers.
        index: (N,) numbers of images or of identities.
        columns: how many numbers each of these gets.
    """
    key = _mix(np.array([seed % 2**64], dtype=np.uint64) * _GOLDEN + np.uint64(stream))  # (1,)
    rows = _mix(key + index.astype(np.uint64) * _GOLDEN)[:, None]  # (N, 1)
    cells = _mix(rows + np.arange(1, columns + 1, dtype=np.uint64) * _ODD)  # (N, columns)
    return ((cells >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def normals(seed: int, stream: int, index: IndexArray, columns: int) -> FloatArray:
    """Return standard normal numbers (N, columns)."""
    return np.asarray(ndtri(uniforms(seed, stream, index, columns)), dtype=np.float64)


def spread_normals(seed: int, stream: int, index: IndexArray, columns: int) -> FloatArray:
    """Return standard normal numbers (N, columns) that fill space evenly over consecutive indices.

    They follow an additive recurrence with powers of the generalised golden ratio (Roberts 2018), shifted by
    the seed: a few hundred identities then have rates as exact as thousands of independent samples.
    """
    root = 2.0
    for _ in range(60):  # fixed point of root ** (columns + 1) = root + 1
        root = (1.0 + root) ** (1.0 / (columns + 1))
    steps = root ** -np.arange(1.0, columns + 1)
    shift = uniforms(seed, stream, np.zeros(1, dtype=np.int64), columns)
    filled = (shift + index[:, None] * steps) % 1.0
    return np.asarray(ndtri(np.clip(filled, 1e-9, 1 - 1e-9)), dtype=np.float64)
