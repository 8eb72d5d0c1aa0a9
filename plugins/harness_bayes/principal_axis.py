"""A direction of low variance: the eigenvector of the data's covariance with the 50th largest eigenvalue."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh
from scipy.sparse.linalg import eigsh

from harness.errors import DatasetError

AXIS = 50
"""Appendix B.2."""
MOST_IMAGES = 4096
"""Of more, as many are taken at even distances: their products fill a matrix of 134 MB."""
_DENSE = 1024  # rows, up to which all eigenvectors cost less than iterating for some
_NOTHING = 1e-10  # of the largest eigenvalue: no variance

Vectors = npt.NDArray[np.float64]


def principal_axis(images: npt.NDArray[np.floating], name: str, number: int = AXIS) -> Vectors:
    """The unit eigenvector (D,) of the covariance of ``images`` (N, D) with the ``number``-th eigenvalue.

    Where fewer than twice as many directions have variance, for images are few or have few pixels, the middle
    one of these: the last ones would be single pixels of the rim. Its largest entry is positive.

    Args:
        images: (N, D), one row per image.
        name: of the data set, for error messages.
        number: from 1, the largest eigenvalue.

    Raises:
        DatasetError: all images are equal.
    """
    centred = images.astype(np.float64)
    centred -= centred.mean(0)
    wide = centred.shape[1] > centred.shape[0]  # then products of images are fewer than those of pixels
    values, vectors = _largest(centred @ centred.T if wide else centred.T @ centred, 2 * number)
    rank = int((values > _NOTHING * values[0]).sum())
    if not rank:
        raise DatasetError(f"{name}: all images are equal, so that no direction has variance; take others")
    axis = vectors[:, min(number, (rank + 1) // 2) - 1]
    axis = axis @ centred if wide else axis
    axis = axis / np.linalg.norm(axis)
    return np.asarray(axis * np.sign(axis[np.abs(axis).argmax()]))


def _largest(symmetric: Vectors, number: int) -> tuple[Vectors, Vectors]:
    """The ``number`` largest eigenvalues, falling, and their eigenvectors as columns."""
    size = len(symmetric)
    count = min(number, size)
    if size <= max(_DENSE, count):
        values, vectors = eigh(symmetric, subset_by_index=(size - count, size - 1))
    else:
        start = np.ones(size)  # the same each time
        start[::2] = -0.5  # products of centred images sum to 0 along all ones
        values, vectors = eigsh(symmetric, k=count, which="LA", v0=start)
    order = np.argsort(values)[::-1]
    return values[order], vectors[:, order]
