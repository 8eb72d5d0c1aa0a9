"""scikit-learn finds the support vectors for the kernel of all training images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

TOLERANCE = 1e-6
"""The tolerance of SVC; with its default of 1e-3, the result depends on the order of additions."""
CACHE = 500
"""The megabytes of memory that SVC may use."""


@dataclass(frozen=True, eq=False)
class SupportVectors:
    """SupportVectors define a support vector machine f = coefficients @ kernel(rows, x) + intercept."""

    rows: Tensor  # (S,) the rows of training images
    coefficients: Tensor  # (S,) float64
    intercept: Tensor  # () float64


def support_vectors(kernel: Tensor, labels: npt.NDArray[np.int64], c: float) -> SupportVectors:
    """Return the support vectors that scikit-learn's SVC finds; f is positive for class 1.

    Args:
        kernel: (N, N) float64, the kernel of the training images.
        labels: (N,) 0 or 1, with some of both.
    """
    from sklearn.svm import SVC  # the import takes a second, which a trained model does not need

    found = SVC(kernel="precomputed", C=c, tol=TOLERANCE, cache_size=CACHE).fit(kernel.numpy(), labels)
    return SupportVectors(
        torch.from_numpy(found.support_).long(),
        torch.from_numpy(found.dual_coef_[0].copy()),
        torch.tensor(found.intercept_[0], dtype=torch.float64),
    )
