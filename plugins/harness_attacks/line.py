"""A Line gives the clipped and rounded images at any number of 8-bit levels (1/255) along a direction."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.threat import GREY_LEVELS, Threat, linf, pixels


@dataclass(frozen=True, eq=False)
class Line:
    """A Line has, for each case, the clipped and rounded images at any number of levels along a direction."""

    x: Tensor  # (B, C, H, W)
    direction: Tensor  # (B, C, H, W), with a largest component of 1, or 0 if there is no direction
    threat: Threat

    def at(self, eps: Tensor) -> Tensor:
        """Return the images (B, C, H, W) at eps (B,), in units of 1/255."""
        moved = self.direction * (eps / GREY_LEVELS).view(-1, 1, 1, 1)
        moved = moved.add_(self.x).clamp_(0, 1)
        if self.threat.levels is None:
            return moved
        # As threat.round, but in place: a line search makes an image for each of its tests.
        return pixels(moved.mul_(self.threat.levels).round_(), self.threat.levels)

    def end(self) -> Tensor:
        """Return (B,) the eps, in units of 1/255, beyond which the image stays the same; 0 if it always does.

        Two equal images in a row do not show this: the largest components may have reached 0 or 1, while
        smaller ones have not yet changed by half a level.
        """
        size = self.direction.abs()
        room = torch.where(self.direction > 0, 1 - self.x, self.x)
        rounding = 0.5 / self.threat.levels if self.threat.levels else 0.0
        steps = (room - rounding) * GREY_LEVELS / size
        return steps.where((size > 0) & (room > 0), 0.0).flatten(1).amax(1)

    def furthest(self, whole: bool) -> float:
        """Return the largest eps, in units of 1/255, that the threat allows."""
        if self.threat.norm != "linf" or self.threat.eps is None:
            return math.inf
        eps = self.threat.eps * GREY_LEVELS
        # On the grid, a fraction of a level could be rounded up, beyond the budget.
        return float(math.floor(eps + 1e-6)) if whole or self.threat.levels else eps

    def take(self, cases: Tensor) -> Line:
        """Return the lines of the given cases (K,)."""
        return Line(self.x[cases], self.direction[cases], self.threat.take(cases))


def along(gradient: Tensor, threat: Threat) -> Tensor:
    """Return the gradient (B, C, H, W) inside the region, scaled to a largest component of 1.

    A gradient that is zero or not finite becomes zero; the search then finds nothing.
    """
    if threat.mask is not None:
        gradient = gradient * threat.mask.to(gradient)
    size = linf(gradient).view(-1, 1, 1, 1)
    return torch.where((size > 0) & size.isfinite(), gradient / size, 0.0)
