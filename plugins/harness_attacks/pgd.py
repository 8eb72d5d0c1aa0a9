"""Projected gradient descent, PGD (Madry et al. 2018, https://arxiv.org/abs/1706.06083, section 2.1, eq. 3).

Steps of fixed size along the sign of the gradient (L-infinity) or the normalised gradient (L2), each followed
by projection onto the budget, the region and the box.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor

from harness.errors import AttackError
from harness.goals import Objective
from harness.handle import Handle
from harness.randomness import CaseRandom
from harness.threat import Threat, l2, linf
from harness_attacks.best_images import Best
from harness_attacks.oracle import NOISE

Schedule = Literal["constant", "linear", "cosine"]


def pgd(
    model: Handle,
    x: Tensor,
    objective: Objective,
    threat: Threat,
    *,
    rng: CaseRandom,
    steps: Annotated[int, Ge(1)] = 40,
    step_size: Annotated[float, Gt(0), Lt(1e6)] | None = None,
    schedule: Schedule = "constant",
    restarts: Annotated[int, Ge(1)] = 1,
    random_start: bool = True,
    early_stop: bool = True,
    loss: Literal["margin", "training"] = "margin",
) -> Tensor:
    """Images (B, C, H, W) in the budget: the first that reaches its goal as stored, else the best.

    Args:
        steps: gradient steps per restart.
        step_size: in the units of the norm; 2.5 eps / steps by default, which can cross the ball. Schedules
            that shrink it begin with twice as much, so that the way is as long.
        schedule: "constant" as published; "linear" and "cosine" shrink the step to nothing.
        restarts: how often a case that has not reached its goal begins anew.
        random_start: begin uniformly inside the ball instead of at the original.
        early_stop: a case leaves the batch once its image, as it would be stored, reaches the goal in
            float32. Without, all steps of all restarts are made.
        loss: climb the goal's margin, or climb (or, towards a target, descend) the model's training loss.
    """
    if threat.eps is None or threat.norm is None:
        raise AttackError("pgd needs a budget, such as harness.threats.Linf(8/255)")
    if restarts > 1 and not random_start:
        raise AttackError("pgd without a random start does the same at every restart; use restarts = 1")
    size = 2.5 * threat.eps / steps if step_size is None else step_size
    sizes = [size * share for share in shares(schedule, steps)]
    model = model.focus(objective)
    best = Best.of(x)

    def keep(cases: Tensor, images: Tensor, margin: Tensor, there: Tensor) -> None:
        model.take(cases[there & ~best.reached[cases]]).found()
        best.keep(cases, images, margin, there)

    for _ in range(restarts):
        active = torch.nonzero(~best.reached if early_stop else torch.ones_like(best.reached)).flatten()
        run = Run(model, x, objective, threat).take(active)
        x_adv = run.random(rng.take(active)) if random_start else run.x  # (A, C, H, W) of the active cases
        for own_size in sizes:
            if not len(active):
                break
            margin, slope = run.uphill(x_adv, loss)
            keep(active, x_adv, margin, torch.zeros_like(margin, dtype=torch.bool))
            likely = torch.nonzero(margin > 0).flatten() if early_stop else active[:0]
            keep(active[likely], *run.take(likely).settled(x_adv[likely]))
            x_adv = run.threat.project(x_adv + run.step(slope, own_size), run.x)
            staying = torch.nonzero(~best.reached[active]).flatten()
            if early_stop and len(staying) < len(active):
                active, run, x_adv = active[staying], run.take(staying), x_adv[staying]
        keep(active, *run.settled(x_adv))
    return best.values


def shares(schedule: Schedule, steps: int) -> list[float]:
    """The size of each step, in step sizes; 1 on average."""
    if schedule == "linear":
        return [2 * (1 - (step + 0.5) / steps) for step in range(steps)]
    if schedule == "cosine":
        return [1 + cos(pi * (step + 0.5) / steps) for step in range(steps)]
    return [1.0] * steps


@dataclass(frozen=True, eq=False)
class Run:
    """The cases that are still at work."""

    model: Handle
    x: Tensor  # (A, C, H, W)
    objective: Objective
    threat: Threat

    def take(self, rows: Tensor) -> Run:
        """Some of them."""
        return Run(self.model.take(rows), self.x[rows], self.objective.take(rows), self.threat.take(rows))

    def uphill(self, x_adv: Tensor, loss: str) -> tuple[Tensor, Tensor]:
        """The margin (A,) at ``x_adv``, and the gradient (A, C, H, W) of what is climbed."""
        margin = torch.empty(len(x_adv), device=x_adv.device)

        def value(outputs: Tensor) -> Tensor:  # (A,)
            own = self.objective.margin(outputs)
            margin.copy_(own.detach())
            if loss == "margin":
                return own
            training = self.objective.loss(outputs)
            return torch.where(self.objective.ascend, training, -training)

        _, slope = self.model.gradient(x_adv, value)
        return margin, slope

    def step(self, slope: Tensor, size: float) -> Tensor:
        """The step (A, C, H, W) of that size that climbs fastest."""
        if self.threat.norm == "linf":
            return slope.sign().mul_(size)
        if self.threat.mask is not None:
            slope = slope * self.threat.mask.to(slope)
        # Scaled first, for small gradients have squares that vanish; a zero gradient stays where it is.
        slope = slope / linf(slope).clamp_min(1e-30).view(-1, 1, 1, 1)
        return slope.mul_((size / l2(slope).clamp_min(1e-12)).view(-1, 1, 1, 1))

    def random(self, rng: CaseRandom) -> Tensor:
        """Images (A, C, H, W) drawn uniformly from the ball, clipped to the box."""
        eps, shape = self.threat.eps or 0.0, self.x.shape[1:]
        if self.threat.norm == "linf":
            return self.threat.project(self.x + rng.uniform(shape, -eps, eps).to(self.x), self.x)
        direction = rng.normal(shape).to(self.x)
        free = torch.full((len(self.x),), float(shape.numel()), device=self.x.device)  # (A,) dimensions
        if self.threat.mask is not None:
            mask = self.threat.mask.to(direction).expand_as(direction)
            direction, free = direction * mask, mask.flatten(1).sum(1)
        radius = eps * rng.uniform((1,))[:, 0].to(self.x) ** (1 / free.clamp_min(1))
        scale = (radius / l2(direction).clamp_min(1e-12)).view(-1, 1, 1, 1)
        return self.threat.project(self.x + scale * direction, self.x)

    def settled(self, x_adv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The images as stored (A, C, H, W), their margin (A,) and whether they reach the goal (A,)."""
        stored = self.threat.settle(x_adv, self.x)
        if not len(stored):
            return stored, stored.new_empty(0), torch.zeros(0, dtype=torch.bool, device=stored.device)
        with torch.no_grad():
            outputs = self.model.precise()(stored)
        margin = self.objective.margin(outputs)
        return stored, margin, self.objective.reached(outputs) & (margin > NOISE)
