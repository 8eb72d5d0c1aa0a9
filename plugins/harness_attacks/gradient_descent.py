"""Gradient descent: steps of a fixed size along the margin's gradient, until the goal is reached.

The plainest of all minimal attacks, and the one with which the Bayes-optimal study measures its models
(Richardson and Weiss 2021, https://arxiv.org/abs/2002.10563, section 4). The step over the boundary is
searched for the boundary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, NamedTuple

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor

from harness.errors import AttackError
from harness.goals import Objective
from harness.handle import Handle
from harness.randomness import CaseRandom
from harness.threat import GREY_LEVELS, Threat, l2, linf
from harness_attacks.oracle import Oracle
from harness_attacks.shrink import polished, shrink

STEPS = {"l2": 0.05, "linf": 0.5 / GREY_LEVELS}
"""The default step by norm."""


def gradient_descent(
    model: Handle,
    x: Tensor,
    objective: Objective,
    threat: Threat,
    *,
    rng: CaseRandom,
    step_size: Annotated[float, Gt(0), Lt(1e6)] | None = None,
    iterations: Annotated[int, Ge(1)] = 1000,
    tests: Annotated[int, Ge(0)] = 10,
    polish: Annotated[int, Ge(0)] = 0,
) -> Tensor:
    """The first images (B, C, H, W) on the way that reach the goal as they are stored; else the originals.

    A case leaves the batch once it is there, where its gradient is zero, and where the budget, if there is
    one, is used up.

    Args:
        step_size: in the units of the norm: along the gradient in L2, along its sign in L-infinity. By
            default .05, or half a grey level.
        iterations: steps at most.
        tests: by which the boundary is looked for in the last step, at most.
        polish: rounds along the boundary towards the original, in L2; where a boundary bends, the point at
            which a walk meets it may be far from its nearest one. Not part of the published attack.
    """
    model = model.focus(objective)

    def slope(active: Tensor, images: Tensor) -> Tensor:
        return model.take(active).gradient(images, objective.take(active).margin)[1]

    walked = walk(model, x, objective, threat, slope, step_size, iterations, tests)
    return drawn_nearer(model, x, objective, threat, walked, polish)


class Walked(NamedTuple):
    """Where a walk ended."""

    images: Tensor
    """(B, C, H, W) as they are stored; the originals where the goal was not reached."""
    reached: Tensor
    """(B,) bool."""


def walk(
    model: Handle,
    x: Tensor,
    objective: Objective,
    threat: Threat,
    slope: Callable[[Tensor, Tensor], Tensor],
    step_size: float | None,
    iterations: int,
    tests: int,
) -> Walked:
    """Steps of a fixed size along a slope until the goal is reached, and then back to the boundary.

    Args:
        model: focused on the objective.
        slope: of what is to rise: cases (A,) and their images now (A, C, H, W) to (A, C, H, W).
        step_size: as of ``gradient_descent``, as are the others.
    """
    oracle = Oracle(model, objective)
    size = STEPS[threat.norm or "l2"] if step_size is None else step_size
    best, reached = x.clone(), torch.zeros(len(x), dtype=torch.bool, device=x.device)
    active = torch.arange(len(x), device=x.device)
    if len(x):
        reached = oracle.margin(active, x) > 0  # those that are there already stay where they are
        active = active[~reached]
    x_adv = x[active]
    for _ in range(iterations):
        if not len(active):
            break
        own = threat.take(active)
        step = _along(slope(active, x_adv), own, size)
        free = replace(own, eps=None).project(x_adv + step, x[active])
        moved = own.project(free, x[active])
        there = oracle.rough_margin(active, own.round(moved)) > 0
        rows = torch.nonzero(there).flatten()
        if len(rows):
            cases = active[rows]
            found = shrink(oracle, cases, x_adv[rows], moved[rows], own.take(rows), tests)
            best[cases], reached[cases] = found.images, found.reached
            there[rows] = found.reached
            model.take(cases[found.reached]).found()
        # Where nothing changes any more, nothing ever will; and a walk does not go along a budget's edge.
        moving = (moved != x_adv).flatten(1).any(1)
        if own.eps is not None:
            moving &= own.distance(free - x[active]) < own.eps
        staying = torch.nonzero(~there & moving).flatten()
        active, x_adv = active[staying], moved[staying]
    best[active] = x[active]
    return Walked(best, reached)


def drawn_nearer(
    model: Handle, x: Tensor, objective: Objective, threat: Threat, walked: Walked, rounds: int
) -> Tensor:
    """The images (B, C, H, W) at which walks ended, drawn towards the originals where they reached the goal.

    Args:
        model: focused on the objective.
        rounds: along the boundary, at most; 0 leaves the images as they are.

    Raises:
        AttackError: in another norm than L2, for what is nearer there is another point of the boundary.
    """
    if not rounds:
        return walked.images
    if threat.norm == "linf":
        raise AttackError('polish looks for what is nearer in L2; leave it out with norm = "linf"')
    moved = (walked.images != x).flatten(1).any(1)
    cases = torch.nonzero(walked.reached & moved).flatten()
    best = walked.images.clone()
    if len(cases):
        start, own = x[cases], threat.take(cases)
        images, reached = polished(Oracle(model, objective), cases, start, walked.images[cases], own, rounds)
        better = reached & (own.distance(images - start) < own.distance(walked.images[cases] - start))
        best[cases[better]] = images[better]
        model.take(cases[better]).found()
    return best


def _along(slope: Tensor, threat: Threat, size: float) -> Tensor:
    """The step (A, C, H, W) of that size that climbs fastest inside the region; none where nothing climbs."""
    slope = slope.nan_to_num(0, 0, 0)
    if threat.mask is not None:
        slope = slope * threat.mask.to(slope)
    if threat.norm == "linf":
        return slope.sign().mul_(size)
    # Scaled first, for small gradients have squares that vanish.
    slope = slope / linf(slope).clamp_min(1e-30).view(-1, 1, 1, 1)
    return slope.mul_((size / l2(slope).clamp_min(1e-12)).view(-1, 1, 1, 1))
