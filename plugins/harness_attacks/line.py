"""Line: the images at any number of grey levels along a direction, clipped and rounded as they are stored."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.threat import GREY_LEVELS, Threat, linf


@dataclass(frozen=True, eq=False)
class Line:
    """The clipped and rounded images at any number of grey levels along a direction, one line per case."""

    x: Tensor  # (B, C, H, W)
    direction: Tensor  # (B, C, H, W), largest component 1, or 0 where there is none to follow
    threat: Threat

    def at(self, eps: Tensor) -> Tensor:
        """(B, C, H, W) for eps (B,) in grey levels."""
        moved = self.direction * (eps / GREY_LEVELS).view(-1, 1, 1, 1)
        return self.threat.round(moved.add_(self.x).clamp_(0, 1))

    def end(self) -> Tensor:
        """(B,) grey levels from which on the image no longer changes; 0 where it never does.

        Two equal images in a row would not do: the components that lead may be at the box's edge already,
        while smaller ones have yet to change by half a grey level.
        """
        size = self.direction.abs()
        room = torch.where(self.direction > 0, 1 - self.x, self.x)
        rounding = 0.5 / self.threat.levels if self.threat.levels else 0.0
        steps = (room - rounding) * GREY_LEVELS / size
        return steps.where((size > 0) & (room > 0), 0.0).flatten(1).amax(1)

    def furthest(self, whole: bool) -> float:
        """The largest eps in grey levels that the threat allows, where it bounds it."""
        if self.threat.norm != "linf" or self.threat.eps is None:
            return math.inf
        eps = self.threat.eps * GREY_LEVELS
        # On the grid a fraction of a level could round up, and out of the budget.
        return float(math.floor(eps + 1e-6)) if whole or self.threat.levels else eps

    def take(self, cases: Tensor) -> Line:
        """The lines of the given cases (K,)."""
        return Line(self.x[cases], self.direction[cases], self.threat.take(cases))


def along(slope: Tensor, threat: Threat) -> Tensor:
    """The slope (B, C, H, W) inside the region, rescaled to a largest component of 1.

    A slope that is zero, or not finite, becomes zero: there is nowhere to go, and the search finds nothing.
    """
    if threat.mask is not None:
        slope = slope * threat.mask.to(slope)
    size = linf(slope).view(-1, 1, 1, 1)
    return torch.where((size > 0) & size.isfinite(), slope / size, 0.0)
