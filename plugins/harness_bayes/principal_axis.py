"""The axis of low variance is the eigenvector of the data's covariance with the 50th largest eigenvalue."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh
from scipy.sparse.linalg import eigsh

from harness.errors import DatasetError

AXIS = 50
"""The number of the eigenvalue in appendix B.2."""
MOST_IMAGES = 4096
"""The largest number of images; of more, so many are taken at equal steps. Their products take 134 MB."""
_DENSE = 1024  # rows, up to which all eigenvectors cost less than an iteration for some
_NOTHING = 1e-10  # eigenvalues below this share of the largest one mean no variance

Vectors = npt.NDArray[np.float64]


def principal_axis(images: npt.NDArray[np.floating], name: str, number: int = AXIS) -> Vectors:
    """Return the unit eigenvector (D,) of the ``number``-th eigenvalue of the covariance of images (N, D).

    If fewer than twice as many directions have variance, because images are few or have few pixels, it is the
    middle one of these: the last ones would be single pixels at the edge. Its largest entry is positive.

    Args:
        images: (N, D), one row per image.
        name: the name of the data set, for error messages.
        number: the number of the eigenvalue, counted from 1, the largest.

    Raises:
        DatasetError: all images are equal.
    """
    centred = images.astype(np.float64)
    centred -= centred.mean(0)
    wide = centred.shape[1] > centred.shape[0]  # then there are fewer products of images than of pixels
    values, vectors = _largest(centred @ centred.T if wide else centred.T @ centred, 2 * number)
    rank = int((values > _NOTHING * values[0]).sum())
    if not rank:
        raise DatasetError(f"{name}: all images are equal, so no direction has variance; use other images")
    axis = vectors[:, min(number, (rank + 1) // 2) - 1]
    axis = axis @ centred if wide else axis
    axis = axis / np.linalg.norm(axis)
    return np.asarray(axis * np.sign(axis[np.abs(axis).argmax()]))


def _largest(symmetric: Vectors, number: int) -> tuple[Vectors, Vectors]:
    """Return the ``number`` largest eigenvalues in falling order, and their eigenvectors as columns."""
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
