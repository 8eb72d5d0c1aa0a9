"""FMN looks for the nearest adversarial in L-infinity or L2 (Pintor et al. 2021, algorithm 1).

Fast Minimum-norm Adversarial Attacks through Adaptive Norm Constraints, https://arxiv.org/abs/2102.12827: a
step along the gradient, and then into a ball around the original. Until the goal is reached for the first
time, the radius is the distance to the linearised boundary; afterwards it shrinks by a share while the goal
is reached, and grows by it while it is not. The share falls from .05 to .001. Steps have a length in L2, in
either norm; here it is by default a share of the change that the ball allows, so that it suits images of any
size. What is found is moved to the nearest point of the boundary and settled on the 8-bit grid.
"""

from __future__ import annotations

from math import cos, pi
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor

from harness.goals import Objective, VerificationObjective
from harness.handle import Handle
from harness.randomness import CaseRandom
from harness.threat import Threat
from harness_attacks.ddn import cosine, nearest, steps_left
from harness_attacks.descent import Loss, Plan, Radius, Seen
from harness_attacks.oracle import Oracle

LAST_GAMMA = 0.001
"""The share by which the radius changes at the end."""
ON_VERIFIERS = 0.3
"""Of a verifier, relative lengths are so much shorter: the region that is taken for one person is small, and
a step as long as the ball leads past it (a tenth farther in L-infinity)."""
PATIENCE = 0.5
"""The share of the steps after which a radius inside which nothing was found grows by ``gamma`` at least."""


def fmn(
    model: Handle,
    x: Tensor,
    objective: Objective,
    threat: Threat,
    *,
    rng: CaseRandom,
    steps: Annotated[int, Ge(1)] = 100,
    loss: Loss = "margin",
    step_size: Annotated[float, Gt(0), Lt(1e6)] = 1.0,
    relative: bool = True,
    gamma: Annotated[float, Gt(0), Lt(1)] = 0.05,
    neighbours: Annotated[int, Ge(0)] = 3,
    polish: Annotated[int, Ge(0)] = 1,
) -> Tensor:
    """Return the nearest images (B, C, H, W) that reach the goal after rounding, or the originals.

    Args:
        steps: the number of gradient steps, for each loss.
        loss: what is ascended: the margin, as published; the cross-entropy of classes, the model's own
            training loss, or "both", the cross-entropy and then the margin (see ``ddn``).
        step_size: the length of the first step; lengths fall to a hundredth of it along a cosine.
        relative: lengths are shares of the radius, in L-infinity of what the largest change inside the ball
            measures in L2, and on verifiers of .3 of it; otherwise lengths in L2, as published.
        gamma: the share by which the radius changes at first.
        neighbours: the number of other classes whose boundaries, linearised at the image found, are tried;
            where there are such, the steps are so many fewer.
        polish: the largest number of moves along the boundary at the end, each of which costs a gradient.
    """
    if relative and isinstance(objective, VerificationObjective):
        step_size *= ON_VERIFIERS
    sizes = cosine(step_size, step_size / 100, steps_left(steps, neighbours, objective))
    plan = Plan(sizes, relative, adaptive(gamma), onto=False)
    model = model.focus(objective)
    return nearest(Oracle(model, objective), x, threat, loss, plan, neighbours, polish, rng)


def adaptive(gamma: float, patience: float | None = PATIENCE) -> Radius:
    """Return the rule of algorithm 1, lines 7 to 13; without ``patience``, exactly that one."""

    def radius(seen: Seen) -> Tensor:
        share = LAST_GAMMA + (gamma - LAST_GAMMA) * (1 + cos(pi * seen.progress)) / 2
        found = seen.nearest.isfinite()
        shrunk = (seen.radius * (1 - share)).minimum(seen.nearest)
        onward = seen.length + seen.to_plane
        if patience is not None:
            # a value that is concave could otherwise come ever nearer to the boundary, and never cross it
            least = LAST_GAMMA if seen.progress < patience else gamma
            onward = onward.maximum(seen.length * (1 + least))
        grown = torch.where(found, seen.radius * (1 + share), onward)
        return torch.where(seen.there, shrunk, grown)

    return radius
