"""The smallest step along a direction that reaches the goal (Rozsa et al., section 3.1).

Steps are in grey levels: a direction whose largest component is 1 changes some component by eps grey levels.
From eps = 0 the step doubles, so that eps = 1, 3, 7, 15…; on overstepping, the last section is bisected. Each
image is tested as it would be stored: clipped and rounded. The paper leaves start, depth and cap open.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.errors import AttackError
from harness.goals import Objective
from harness.model import Handle
from harness.threat import GREY_LEVELS, Threat, linf

NOISE = 1e-5
"""By how much a decision must hold, for scores of size 1. Bisection ends where the score is all but 0, and
the last bits of a float32 score depend on the batch: the judge, who asks in others, must not disagree."""


@dataclass(frozen=True, eq=False)
class Line:
    """The clipped and rounded images at any number of grey levels along a direction, one line per case."""

    x: Tensor  # (B, C, H, W)
    direction: Tensor  # (B, C, H, W), largest component 1, or 0 where there is none to follow
    threat: Threat

    def at(self, eps: Tensor) -> Tensor:
        """(B, C, H, W) for eps (B,) in grey levels."""
        return self.threat.round(
            (self.x + (eps / GREY_LEVELS).view(-1, 1, 1, 1) * self.direction).clamp(0, 1)
        )

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


def smallest_step(
    model: Handle,
    line: Line,
    objective: Objective,
    *,
    first_step: float,
    max_steps: int,
    max_bisections: int,
    whole: bool = False,
) -> Tensor:
    """The first images (B, C, H, W) along the line that reach the goal; the originals where none does.

    A case that never gets there comes back as it was, at distance 0: no adversarial was found, and the last
    image tried is none either. A case asks the model only while its own search goes on.

    Args:
        model: focused on the objective, in float32.
        first_step: in grey levels.
        max_steps: how often the step may double before the search gives up.
        max_bisections: of the last section, which is as wide as the step that overstepped.
        whole: keep eps integer, and bisect to a width of 1; otherwise until no 8-bit image lies between the
            ends, which then differ by one grey level of one component.
    """
    if first_step <= 0 or max_steps < 1 or max_bisections < 0:
        raise AttackError(f"a line search cannot use {first_step=}, {max_steps=}, {max_bisections=}")
    low = torch.zeros(len(line.x), device=line.x.device)  # (B,) the last eps that did not reach the goal
    high = torch.full_like(low, torch.inf)  # (B,) the smallest eps found that does

    def reaches(cases: Tensor, images: Tensor) -> Tensor:
        with torch.no_grad():
            outputs = model.take(cases)(images)
        pursued = objective.take(cases)
        return pursued.reached(outputs) & (pursued.margin(outputs) > NOISE)

    end, furthest = line.end(), _budget(line.threat, whole)
    eps, step = 0.0, first_step
    active = torch.nonzero(end > 0).flatten()
    for _ in range(max_steps):
        if not len(active) or eps >= furthest:
            break
        low[active] = eps
        eps = min(eps + step, furthest)
        flipped = reaches(active, line.take(active).at(torch.full_like(low[active], eps)))
        high[active[flipped]] = eps
        active = active[~flipped & (end[active] > eps)]
        step *= 2

    found = high.isfinite()
    active = torch.nonzero(found).flatten()
    for _ in range(max_bisections):
        section = line.take(active)
        before, after = section.at(low[active]), section.at(high[active])  # not flipped, flipped
        wide = high[active] - low[active] > 1 if whole else _levels_apart(before, after) > 1
        if not wide.any():
            break
        middle = (low[active] + high[active]) / 2
        middle = middle.floor() if whole else middle
        between = section.at(middle)
        # An image that is one of the ends again needs no asking.
        flipped = (between == after).flatten(1).all(1)
        unknown = torch.nonzero(wide & ~flipped & (between != before).flatten(1).any(1)).flatten()
        if len(unknown):
            flipped[unknown] = reaches(active[unknown], between[unknown])
        high[active] = torch.where(wide & flipped, middle, high[active])
        low[active] = torch.where(wide & ~flipped, middle, low[active])
        active = active[wide]
    return torch.where(found.view(-1, 1, 1, 1), line.at(high.where(found, 0.0)), line.x)


def _levels_apart(a: Tensor, b: Tensor) -> Tensor:
    """(B,) by how many grey levels 8-bit images differ, all components together."""
    return (torch.round(a * GREY_LEVELS) - torch.round(b * GREY_LEVELS)).abs().flatten(1).sum(1)


def _budget(threat: Threat, whole: bool) -> float:
    """The largest eps in grey levels that the threat allows, where it bounds it."""
    if threat.norm != "linf" or threat.eps is None:
        return math.inf
    eps = threat.eps * GREY_LEVELS
    # On the grid a fraction of a level could round up, and out of the budget.
    return float(math.floor(eps + 1e-6)) if whole or threat.levels else eps
