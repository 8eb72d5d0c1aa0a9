"""A search keeps its best images so far here."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Best:
    """Best holds the best values so far, whole images or patches, and updates them in place."""

    values: Tensor  # (B, …) pixels in [0, 1]
    margin: Tensor  # (B,)
    reached: Tensor  # (B,) bool: the goal is reached after rounding, in float32

    @classmethod
    def of(cls, values: Tensor) -> Best:
        """Start with values (B, …) that any other values replace."""
        margin = torch.full((len(values),), -torch.inf, device=values.device)
        return cls(values.clone(), margin, torch.zeros_like(margin, dtype=torch.bool))

    def keep(self, rows: Tensor, values: Tensor, margin: Tensor, reached: Tensor) -> Tensor:
        """Keep values that are better than those of the rows (K,), which must differ; tell (K,) which are."""
        # Values that are known to reach the goal after rounding come before any margin; NaN is never better.
        higher = (margin > self.margin[rows]) & (reached | ~self.reached[rows])
        better = reached & ~self.reached[rows] | higher
        at = torch.nonzero(better).flatten()  # once: each index by flags would wait for the device
        if len(at) < len(rows):  # else no copy by index
            rows, values, margin, reached = rows[at], values[at], margin[at], reached[at]
        self.values[rows], self.margin[rows] = values, margin
        self.reached[rows] |= reached
        return better
