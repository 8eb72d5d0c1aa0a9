"""DDN looks for the nearest adversarial in L2 (Rony et al. 2019, algorithm 1).

Decoupling Direction and Norm, https://arxiv.org/abs/1811.09600: a step along the normalised gradient, and
then back to a sphere around the original, whose radius shrinks by a share while the goal is reached and grows
by it while it is not. Published is a first radius of 1, a share of .05, and steps that fall from 1 to .01
along a cosine. Here the first radius comes from the distance to the linearised boundary, steps are shares of
the radius, and the share by which it changes falls as well, so that one setting serves boundaries at any
distance. The published loop is the preset ``paper``. What is found is moved to the nearest point of the
boundary and settled on the 8-bit grid.
"""

from __future__ import annotations

from math import cos, pi
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor

from harness.goals import Objective
from harness.handle import Handle
from harness.randomness import CaseRandom
from harness.threat import FLOAT_TOLERANCE, Threat
from harness_attacks.descent import Loss, Nearest, Plan, Radius, Seen, descend
from harness_attacks.grid import settled
from harness_attacks.neighbours import has_others, try_neighbours
from harness_attacks.oracle import Oracle

BEGINNING = 0.3
"""The first radius, as a share of the distance to the linearised boundary. Where the boundary bends, a
descent that begins near the original finds nearer parts of it."""
LAST_STEP = 0.01
"""The length of the last step."""
SMALLEST_RADIUS = 1e-4
"""The smallest first radius, where the value at the original is near 0."""


def ddn(
    model: Handle,
    x: Tensor,
    objective: Objective,
    threat: Threat,
    *,
    rng: CaseRandom,
    steps: Annotated[int, Ge(1)] = 50,
    loss: Loss = "cross-entropy",
    radius: Annotated[float, Gt(0), Lt(1e6)] | None = None,
    gamma: Annotated[float, Gt(0), Lt(1)] = 0.4,
    last_gamma: Annotated[float, Gt(0), Lt(1)] = 0.005,
    step_size: Annotated[float, Gt(0), Lt(1e6)] = 0.5,
    relative: bool = True,
    neighbours: Annotated[int, Ge(0)] = 3,
    polish: Annotated[int, Ge(0)] = 1,
) -> Tensor:
    """Return the nearest images (B, C, H, W) that reach the goal after rounding, or the originals.

    Args:
        steps: the number of gradient steps, for each loss.
        loss: what is ascended: the cross-entropy of classes, which often finds a nearer part of the boundary
            than the margin does; the model's own training loss; the margin; or "both", first the
            cross-entropy and then the margin, of which the nearer image is kept. On decisions between two
            values (an attribute, a person) the cross-entropy and the margin are the same.
        radius: the first radius; by default .3 of the distance to the boundary as it is linearised at the
            original.
        gamma: the share by which the radius shrinks or grows at the first step.
        last_gamma: the share at the last step; it falls along a cosine, but radii inside which nothing has
            reached the goal yet grow by ``gamma``.
        step_size: the length of the first step; lengths fall to .01 along a cosine.
        relative: lengths are shares of the radius; otherwise lengths in L2, as published.
        neighbours: the number of other classes whose boundaries, linearised at the image found, are tried;
            where there are such, the steps are so many fewer.
        polish: the largest number of moves along the boundary at the end, each of which costs a gradient.
    """
    plan = plan_of(steps_left(steps, neighbours, objective), radius, gamma, last_gamma, step_size, relative)
    model = model.focus(objective)
    return nearest(Oracle(model, objective), x, threat, loss, plan, neighbours, polish, rng)


def plan_of(
    steps: int,
    radius: float | None = None,
    gamma: float = 0.4,
    last_gamma: float = 0.005,
    step_size: float = 0.5,
    relative: bool = True,
) -> Plan:
    """Return how a descent of ``ddn`` moves; the parameters are those of ``ddn``, and so are the defaults."""
    sizes = cosine(step_size, min(step_size, LAST_STEP), steps)
    return Plan(sizes, relative, shrinking(radius, gamma, last_gamma), onto=True)


def nearest(
    oracle: Oracle,
    x: Tensor,
    threat: Threat,
    loss: Loss,
    plan: Plan,
    neighbours: int,
    polish: int,
    rng: CaseRandom,
) -> Tensor:
    """Return the rounded nearest images (B, C, H, W) of descents along one loss or both, or the originals.

    Args:
        oracle: that of the whole batch.
        loss, neighbours, polish, rng: as in ``ddn``.
    """
    best = x.clone()
    if not len(x):
        return best
    clean = oracle.margin(torch.arange(len(x), device=x.device), threat.round(x))
    cases = torch.nonzero(~(clean > 0)).flatten()
    if not len(cases):
        return best
    near = Nearest.of(x[cases])
    own = oracle.take(cases)
    for followed in ("cross-entropy", "margin") if loss == "both" else (loss,):
        descend(own, x[cases], threat.take(cases), near, followed, plan, rng.take(cases))
    try_neighbours(own, x[cases], threat.take(cases), near, neighbours)
    rows = torch.nonzero(near.length.isfinite()).flatten()
    if len(rows):
        at = cases[rows]
        images, reached = settled(
            own.take(rows), x[at], near.images[rows], threat.take(at), clean[at], polish
        )
        if threat.eps is not None:
            reached = reached & (threat.distance(images - x[at]) <= threat.eps + FLOAT_TOLERANCE)
        best[at[reached]] = images[reached]
        oracle.model.take(at[reached]).found()
    return best


def steps_left(steps: int, neighbours: int, objective: Objective) -> int:
    """Return how many steps a descent makes, so that the gradients of neighbours are among the steps."""
    return max(1, steps - neighbours) if has_others(objective) else steps


def cosine(first: float, last: float, steps: int) -> list[float]:
    """Return numbers that fall, or rise, from the first towards the last along half a cosine."""
    return [last + (first - last) * (1 + cos(pi * step / steps)) / 2 for step in range(steps)]


def shrinking(first: float | None, gamma: float, last_gamma: float) -> Radius:
    """Return the rule by which a radius shrinks while the goal is reached, and grows while it is not."""

    def radius(seen: Seen) -> Tensor:
        begun = seen.progress > 0
        if not begun and first is None:
            return (BEGINNING * seen.plane).clamp_min(SMALLEST_RADIUS)
        before = seen.radius if begun else torch.full_like(seen.radius, first or SMALLEST_RADIUS)
        share = last_gamma + (gamma - last_gamma) * (1 + cos(pi * seen.progress)) / 2
        growth = torch.where(seen.nearest.isfinite(), 1 + share, 1 + gamma)
        return before * torch.where(seen.there, 1 - share, growth)

    return radius
