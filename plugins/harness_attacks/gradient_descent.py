"""Gradient descent makes steps of a fixed size along the margin's gradient, until the goal is reached.

It is the simplest minimum-norm attack, and the one that the Bayes-optimal study uses (Richardson and Weiss
2021, https://arxiv.org/abs/2002.10563, section 4). The published attack ends at the step that crosses the
boundary; here that step is then searched for the boundary, unless ``tests`` is 0.
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
"""The default step size of each norm."""


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
    """Return the first images (B, C, H, W) that reach the goal after rounding, or the originals.

    A case leaves the batch once it reaches its goal, has a gradient of zero, or has used up the budget.

    Args:
        step_size: in the units of the norm: along the gradient in L2, along its sign in L-infinity. The
            default is .05 in L2, and half an 8-bit level in L-infinity.
        iterations: the largest number of steps.
        tests: the largest number of tests that search for the boundary in the last step; 0: the image after
            that step.
        polish: rounds along the boundary towards the original, in L2; on a curved boundary, the point at
            which a walk meets it may be far from the nearest one. This is not in the published attack.
    """
    model = model.focus(objective)

    def gradient(active: Tensor, images: Tensor) -> Tensor:
        return model.take(active).gradient(images, objective.take(active).margin)[1]

    walked = walk(model, x, objective, threat, gradient, step_size, iterations, tests)
    return drawn_nearer(model, x, objective, threat, walked, polish)


class Walked(NamedTuple):
    """A Walked holds the results of a walk."""

    images: Tensor
    """(B, C, H, W) rounded images; the originals of cases that did not reach their goal."""
    reached: Tensor
    """(B,) bool: the goal is reached."""


def walk(
    model: Handle,
    x: Tensor,
    objective: Objective,
    threat: Threat,
    gradient: Callable[[Tensor, Tensor], Tensor],
    step_size: float | None,
    iterations: int,
    tests: int,
) -> Walked:
    """Make steps of a fixed size along a gradient until the goal is reached, then go back to the boundary.

    Args:
        model: focused on the objective.
        gradient: a function of cases (A,) and their current images (A, C, H, W) that returns the gradient
            (A, C, H, W) to ascend.
        step_size, iterations, tests: as in ``gradient_descent``.
    """
    oracle = Oracle(model, objective)
    size = STEPS[threat.norm or "l2"] if step_size is None else step_size
    best, reached = x.clone(), torch.zeros(len(x), dtype=torch.bool, device=x.device)
    active = torch.arange(len(x), device=x.device)
    if len(x):
        reached = oracle.margin(active, x) > 0  # originals that have reached their goal stay as they are
        active = active[~reached]
    x_adv = x[active]
    for _ in range(iterations):
        if not len(active):
            break
        own = threat.take(active)
        step = _along(gradient(active, x_adv), own, size)
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
        # A case whose image no longer changes is finished; so is one that has reached the edge of the budget.
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
    """Move images (B, C, H, W) of walks that reached their goals along the boundary, towards the originals.

    Args:
        model: focused on the objective.
        rounds: the largest number of rounds; 0 leaves the images as they are.

    Raises:
        AttackError: the norm is L-infinity, in which another point of the boundary is the nearest.
    """
    if not rounds:
        return walked.images
    if threat.norm == "linf":
        raise AttackError('polish looks for the nearest image in L2; leave it out with norm = "linf"')
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


def _along(gradient: Tensor, threat: Threat, size: float) -> Tensor:
    """Return the steepest step (A, C, H, W) of that size inside the region; 0 where the gradient is 0."""
    gradient = gradient.nan_to_num(0, 0, 0)
    if threat.mask is not None:
        gradient = gradient * threat.mask.to(gradient)
    if threat.norm == "linf":
        return gradient.sign().mul_(size)
    # The gradient is scaled first, because the squares of small values would become 0.
    gradient = gradient / linf(gradient).clamp_min(1e-30).view(-1, 1, 1, 1)
    return gradient.mul_((size / l2(gradient).clamp_min(1e-12)).view(-1, 1, 1, 1))
