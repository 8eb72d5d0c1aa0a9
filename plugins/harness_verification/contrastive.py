"""The contrastive loss pulls pairs of one person together and pushes pairs of two persons apart."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from torch import Tensor

Hinge = Literal["distance", "squared-distance"]
Distances = npt.NDArray[np.floating[npt.NBitBase]]


def contrastive(positive: Tensor, negative: Tensor, *, margin: float, hinge: Hinge) -> Tensor:
    """Return the mean loss of distances of positive pairs (P,) and of negative pairs (N,).

    It is d² of positive pairs, plus max(m - d, 0)² of negative ones with ``hinge`` "distance" (Hadsell et
    al. 2006, and the authors' code), or max(m - d², 0) with "squared-distance" (Arvinte et al., eq. 2).
    """
    if hinge == "distance":
        apart = (margin - negative).clamp_min(0).square()
    else:
        apart = (margin - negative.square()).clamp_min(0)
    return positive.square().mean() + apart.mean()


def nearest_of(candidates: Tensor) -> Tensor:
    """Return (B,) which of the candidate negatives, distances (each, B), is the hardest: the nearest."""
    return candidates.argmin(0)


def area_under_roc(positive: Distances, negative: Distances) -> float:
    """Return how often a positive distance is smaller than a negative one; ties count half."""
    from sklearn.metrics import roc_auc_score

    scores = -np.concatenate([positive, negative])
    same = np.repeat([True, False], [len(positive), len(negative)])
    return float(roc_auc_score(same, scores))
