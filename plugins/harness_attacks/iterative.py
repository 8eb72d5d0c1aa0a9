"""Iterative FFA and FGS make steps of one 8-bit level (1/255) until the goal is reached (Rozsa et al., 3.1).

The published iteration makes a step with an L-infinity norm of 1, computes loss and gradient again at the new
image, and ends once the decision has flipped. The paper does not state a largest number of steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from harness.errors import AttackError
from harness.goals import Objective
from harness.handle import Handle
from harness.threat import GREY_LEVELS, Threat
from harness_attacks.line import along
from harness_attacks.oracle import Oracle, is_exact

Uphill = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""A function of cases (A,) and their current images (A, C, H, W). It returns the margin (A,) beyond the
oracle's ``NOISE``, and the direction (A, C, H, W) of the next step, of any length."""


def follow(
    model: Handle,
    x: Tensor,
    objective: Objective,
    threat: Threat,
    uphill: Uphill,
    *,
    max_iterations: int,
    whole: bool,
) -> Tensor:
    """Return the first images (B, C, H, W) that reach the goal, or the originals.

    A case leaves the batch once its rounded image reaches the goal in float32, or can no longer change: its
    gradient is zero, or budget, region and pixel range allow no change.

    Args:
        model: the handle of the whole batch, in whose precision ``uphill`` computes gradients.
        max_iterations: the largest number of steps.
        whole: keep images on the grid, so that the tested image is the one whose gradient is taken; in
            float32, that forward pass is then the test. Otherwise images are real-valued, kept in [0, 1],
            and rounded for the test only.
    """
    if max_iterations < 1:
        raise AttackError(f"an iterative search cannot make {max_iterations=}")
    oracle = Oracle(model, objective)
    tested_by_gradient = whole and is_exact(model)
    found = x.clone()
    walk = _Walk(torch.arange(len(x), device=x.device), x, x, threat)
    for _ in range(max_iterations):
        if whole and not tested_by_gradient:
            walk = walk.tested(oracle, found)
        if not len(walk.cases):
            return found
        margin, direction = uphill(walk.cases, walk.image)
        moved = walk.moved(direction, whole)
        going = (moved.image != walk.image).flatten(1).any(1)
        if tested_by_gradient:
            walk.keep(margin > 0, found)
            going &= ~(margin > 0)
        walk = moved.take(going)
        if not whole:
            walk = walk.tested(oracle, found)
    if whole:
        walk.tested(oracle, found)
    return found


@dataclass(frozen=True, eq=False)
class _Walk:
    """A _Walk holds the cases that have not reached their goals."""

    cases: Tensor  # (A,)
    x: Tensor  # (A, C, H, W) the originals
    image: Tensor  # (A, C, H, W) the current images
    threat: Threat

    def take(self, rows: Tensor) -> _Walk:
        """Return the rows (A,) that are True."""
        if rows.all():
            return self
        at = torch.nonzero(rows).flatten()
        return _Walk(self.cases[at], self.x[at], self.image[at], self.threat.take(at))

    def moved(self, direction: Tensor, whole: bool) -> _Walk:
        """Return the walk after a step of one 8-bit level; on a coarser grid, of one of its levels."""
        levels = min(self.threat.levels or GREY_LEVELS, GREY_LEVELS) if whole else GREY_LEVELS
        image = self.image + along(direction, self.threat) / levels
        image = self.threat.project(image, self.x)
        return replace(self, image=self.threat.settle(image, self.x) if whole else image)

    def tested(self, oracle: Oracle, found: Tensor) -> _Walk:
        """Return the cases that miss their goal; write the rounded images of the others to ``found``."""
        if not len(self.cases):
            return self
        stored = replace(self, image=self.threat.settle(self.image, self.x))
        reached = oracle.margin(self.cases, stored.image) > 0
        stored.keep(reached, found)
        return self.take(~reached)

    def keep(self, reached: Tensor, found: Tensor) -> None:
        """Write the images of the rows that reached their goal to ``found`` (B, C, H, W)."""
        found[self.cases[reached]] = self.image[reached]
