"""The best images of a search so far, kept while it goes on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Best:
    """The best values so far, whole images or patches, written in place."""

    values: Tensor  # (B, …) pixels in [0, 1]
    margin: Tensor  # (B,)
    reached: Tensor  # (B,) bool: as stored, in float32

    @classmethod
    def of(cls, values: Tensor) -> Best:
        """Nothing yet that would be better than these values (B, …)."""
        margin = torch.full((len(values),), -torch.inf, device=values.device)
        return cls(values.clone(), margin, torch.zeros_like(margin, dtype=torch.bool))

    def keep(self, rows: Tensor, values: Tensor, margin: Tensor, reached: Tensor) -> Tensor:
        """Take in what is better for the rows (K,), which must differ; tells which were (K,)."""
        # What is known to reach the goal as it is stored comes before any margin; NaN never is better.
        higher = (margin > self.margin[rows]) & (reached | ~self.reached[rows])
        better = reached & ~self.reached[rows] | higher
        changed = rows[better]
        self.values[changed], self.margin[changed] = values[better], margin[better]
        self.reached[changed] |= reached[better]
        return better
