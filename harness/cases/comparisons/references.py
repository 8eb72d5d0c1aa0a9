"""What a model says of the reference images of some cases: the goal of each case is made of it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class References:
    """References are the anchors of some cases, their images, and the threshold that decides."""

    anchors: Tensor  # (B, D)
    images: Tensor  # (B, C, H, W)
    threshold: float
