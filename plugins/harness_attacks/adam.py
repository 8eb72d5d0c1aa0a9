"""Adam (Kingma and Ba 2015, algorithm 1), on rows that may leave."""

from __future__ import annotations

import torch
from torch import Tensor

FIRST, SECOND = 0.9, 0.999
"""Decay of the moments."""
SMALL = 1e-16
"""Beside the root of the second moment. Far below the usual 1e-8, so that steps do not depend on the scale
of a model's scores, and pixels that are black or white, whose slope in tanh space is tiny, move as well."""


class Adam:
    """The moments of a number of rows (B, N), which all have made the same number of steps."""

    def __init__(self, rows: int, width: int, device: torch.device) -> None:
        self._steps = 0
        self._first = torch.zeros(rows, width, device=device)
        self._second = torch.zeros(rows, width, device=device)

    def step(self, slope: Tensor) -> Tensor:
        """The step (B, N) of learning rate 1 along the gradients (B, N); the moments take them in."""
        self._steps += 1
        self._first.lerp_(slope, 1 - FIRST)
        self._second.mul_(SECOND).addcmul_(slope, slope, value=1 - SECOND)
        root = (self._second / (1 - SECOND**self._steps)).sqrt_().add_(SMALL)
        return (self._first / (1 - FIRST**self._steps)).div_(root)

    def take(self, rows: Tensor) -> None:
        """Keep only the given rows (K,)."""
        self._first, self._second = self._first[rows], self._second[rows]
