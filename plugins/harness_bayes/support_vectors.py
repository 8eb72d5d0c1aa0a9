"""scikit-learn finds the support vectors, given the kernel of all training images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

TOLERANCE = 1e-6
"""To which SVC solves its problem; its default of 1e-3 leaves to the order of additions what it finds."""
CACHE = 500
"""Megabytes that SVC may use."""


@dataclass(frozen=True, eq=False)
class SupportVectors:
    """What a support vector machine found: f = coefficients @ kernel(rows, x) + intercept."""

    rows: Tensor  # (S,) numbers of training images
    coefficients: Tensor  # (S,) float64
    intercept: Tensor  # () float64


def support_vectors(kernel: Tensor, labels: npt.NDArray[np.int64], c: float) -> SupportVectors:
    """The support vectors that scikit-learn's SVC finds; f is positive for class 1.

    Args:
        kernel: (N, N) float64 of the training images.
        labels: (N,) 0 or 1, and some of both.
    """
    from sklearn.svm import SVC  # a second that a model with weights need not wait

    found = SVC(kernel="precomputed", C=c, tol=TOLERANCE, cache_size=CACHE).fit(kernel.numpy(), labels)
    return SupportVectors(
        torch.from_numpy(found.support_).long(),
        torch.from_numpy(found.dual_coef_[0].copy()),
        torch.tensor(found.intercept_[0], dtype=torch.float64),
    )
