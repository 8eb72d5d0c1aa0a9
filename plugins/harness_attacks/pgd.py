"""PGD is projected gradient descent (Madry et al. 2018, https://arxiv.org/abs/1706.06083, eq. 3).

It makes steps of fixed size along the sign of the gradient (L-infinity) or the normalised gradient (L2), each
followed by a projection onto the budget, the region and the pixel range [0, 1].
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
    """Return images (B, C, H, W) in the budget: the first that reaches its goal after rounding, or the best.

    Args:
        steps: the number of gradient steps per restart.
        step_size: in the units of the norm; by default 2.5 eps / steps, which can cross the budget's ball.
            Schedules that reduce it begin with twice as much, so that the total length is the same.
        schedule: "constant" as published; "linear" and "cosine" reduce the step to 0.
        restarts: the number of runs for cases that have not reached their goal.
        random_start: begin uniformly inside the ball instead of at the original.
        early_stop: a case leaves the batch once its rounded image reaches the goal in float32. Otherwise all
            steps of all restarts are made.
        loss: "margin": ascend the goal's margin; "training": ascend the model's training loss, or descend it
            towards a target.
    """
    if restarts > 1 and not random_start:
        raise AttackError("pgd without a random start is the same in every restart; use restarts = 1")
    sizes = _sizes(threat, steps, step_size, schedule)
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
            margin, gradient = run.uphill(x_adv, loss)
            best.keep(active, x_adv, margin, torch.zeros_like(margin, dtype=torch.bool))
            likely = torch.nonzero(margin > 0).flatten() if early_stop else active[:0]
            if len(likely):
                keep(active[likely], *run.take(likely).settled(x_adv[likely]))
            x_adv = run.threat.project(run.step(gradient, own_size).add_(x_adv), run.x)
            # Only a success waits for the device again.
            staying = torch.nonzero(~best.reached[active]).flatten() if len(likely) else active
            if len(staying) < len(active):
                active, run, x_adv = active[staying], run.take(staying), x_adv[staying]
        keep(active, *run.settled(x_adv))
    return best.values


def _sizes(threat: Threat, steps: int, step_size: float | None, schedule: Schedule) -> list[float]:
    """Return the size of each step, in the units of the norm."""
    if threat.eps is None or threat.norm is None:
        raise AttackError("pgd needs a budget, such as harness.threats.Linf(8/255)")
    size = 2.5 * threat.eps / steps if step_size is None else step_size
    return [size * share for share in shares(schedule, steps)]


def shares(schedule: Schedule, steps: int) -> list[float]:
    """Return the size of each step relative to the step size; the mean is 1."""
    if schedule == "linear":
        return [2 * (1 - (step + 0.5) / steps) for step in range(steps)]
    if schedule == "cosine":
        return [1 + cos(pi * (step + 0.5) / steps) for step in range(steps)]
    return [1.0] * steps


@dataclass(frozen=True, eq=False)
class Run:
    """A Run holds the active cases."""

    model: Handle
    x: Tensor  # (A, C, H, W)
    objective: Objective
    threat: Threat

    def take(self, rows: Tensor) -> Run:
        """Return some of the cases."""
        return Run(self.model.take(rows), self.x[rows], self.objective.take(rows), self.threat.take(rows))

    def uphill(self, x_adv: Tensor, loss: str) -> tuple[Tensor, Tensor]:
        """Return the margin (A,) at ``x_adv``, and the gradient (A, C, H, W) to ascend."""
        margin = torch.empty(len(x_adv), device=x_adv.device)

        def value(outputs: Tensor) -> Tensor:  # (A,)
            own = self.objective.margin(outputs)
            margin.copy_(own.detach())
            if loss == "margin":
                return own
            training = self.objective.loss(outputs)
            return torch.where(self.objective.ascend, training, -training)

        _, gradient = self.model.gradient(x_adv, value)
        return margin, gradient

    def step(self, gradient: Tensor, size: float) -> Tensor:
        """Return the steepest step (A, C, H, W) of that size."""
        if self.threat.norm == "linf":
            return gradient.sign().mul_(size)
        if self.threat.mask is not None:
            gradient = gradient * self.threat.mask.to(gradient)
        # The gradient is scaled first, because the squares of small values would become 0; 0 stays 0.
        gradient = gradient / linf(gradient).clamp_min(1e-30).view(-1, 1, 1, 1)
        return gradient.mul_((size / l2(gradient).clamp_min(1e-12)).view(-1, 1, 1, 1))

    def random(self, rng: CaseRandom) -> Tensor:
        """Return images (A, C, H, W) sampled uniformly from the budget's ball and clipped to [0, 1]."""
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
        """Return the rounded images (A, C, H, W), their margin (A,) and whether they reach the goal (A,)."""
        stored = self.threat.settle(x_adv, self.x)
        if not len(stored):
            return stored, stored.new_empty(0), torch.zeros(0, dtype=torch.bool, device=stored.device)
        with torch.no_grad():
            outputs = self.model.precise()(stored)
        margin = self.objective.margin(outputs)
        return stored, margin, self.objective.reached(outputs) & (margin > NOISE)
