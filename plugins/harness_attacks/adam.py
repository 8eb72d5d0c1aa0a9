"""Adam (Kingma and Ba 2015, algorithm 1) optimises rows, of which finished ones can be removed."""

from __future__ import annotations

import torch
from torch import Tensor

FIRST, SECOND = 0.9, 0.999
"""The decay of the moments."""
SMALL = 1e-16
"""The constant that is added to the root of the second moment. It is far below the usual 1e-8, so that steps
do not depend on the scale of a model's scores, and black and white pixels, whose gradient in tanh space is
tiny, change as well."""


class Adam:
    """Adam holds the moments of rows (B, N), which all have made the same number of steps."""

    def __init__(self, rows: int, width: int, device: torch.device) -> None:
        self._steps = 0
        self._first = torch.zeros(rows, width, device=device)
        self._second = torch.zeros(rows, width, device=device)

    def step(self, gradient: Tensor) -> Tensor:
        """Update the moments with gradients (B, N), and return the step (B, N) for a learning rate of 1."""
        self._steps += 1
        self._first.lerp_(gradient, 1 - FIRST)
        self._second.mul_(SECOND).addcmul_(gradient, gradient, value=1 - SECOND)
        root = (self._second / (1 - SECOND**self._steps)).sqrt_().add_(SMALL)
        return (self._first / (1 - FIRST**self._steps)).div_(root)

    def take(self, rows: Tensor) -> None:
        """Keep only the given rows (K,)."""
        self._first, self._second = self._first[rows], self._second[rows]
