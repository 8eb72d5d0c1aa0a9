"""What a model says of the images that cases are compared with: the goal of each case is made of it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class References:
    """References are the anchors of some cases, their images, and the threshold that decides."""

    anchors: Tensor  # (B, D)
    images: Tensor  # (B, C, H, W)
    threshold: float
    """Of triplets, the margin."""
    negatives: Tensor | None = None  # (B, D)
    """Of triplets: what the negatives answer, for comparison with the anchors; ``images`` are theirs."""
    moving: bool = False
    """Of triplets: whether it is the anchor that is attacked, so that both distances change."""
