"""APGD is projected gradient descent that chooses its own steps (Croce and Hein 2020, algorithm 1).

Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free Attacks,
https://arxiv.org/abs/2003.01690. Steps begin at 2 eps, with a momentum of 1/4. At checkpoints that come ever
closer, a case whose value rose too rarely, or whose best value did not improve, halves its step and goes back
to its best image.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from harness.errors import AttackError
from harness.goals import ClassObjective, Objective
from harness.handle import Handle
from harness.randomness import CaseRandom
from harness.threat import Threat, l2, linf
from harness_attacks.ascended import Ascended, aims, value_of
from harness_attacks.best_images import Best
from harness_attacks.pgd import Run

MOMENTUM = 0.75
"""The share of the new step in a step; the rest is that of the step before (alpha)."""
RISES = 0.75
"""The share of steps between two checkpoints in which the value must rise (rho)."""
FIRST, SHORTER, SHORTEST = 0.22, 0.03, 0.06
"""Shares of all steps: the first checkpoint, by how much each distance is shorter, and the shortest one."""


def apgd(
    model: Handle,
    x: Tensor,
    objective: Objective,
    threat: Threat,
    *,
    rng: CaseRandom,
    loss: Ascended = "cross-entropy",
    steps: Annotated[int, Ge(1)] = 100,
    restarts: Annotated[int, Ge(1)] = 1,
    targets: Annotated[int, Ge(1)] = 9,
    early_stop: bool = True,
) -> Tensor:
    """Return images (B, C, H, W) in the budget: the first that reaches its goal after rounding, or the best.

    Args:
        loss: the value that is ascended. "dlr" is the difference of logits ratio, "targeted-dlr" its targeted
            form, with a run for each of several classes; goals that name a class have that form only. On
            decisions between two values both are the margin.
        steps: the number of gradient steps of a run.
        restarts: the number of runs for cases that have not reached their goal, each from a random start.
        targets: the number of classes that "targeted-dlr" goes to, the likeliest first.
        early_stop: a case leaves the batch once its rounded image reaches the goal in float32. Otherwise all
            steps of all runs are made.

    Raises:
        AttackError: there is no budget.
    """
    if threat.eps is None or threat.norm is None:
        raise AttackError("apgd needs a budget, such as harness.threats.Linf(8/255)")
    model = model.focus(objective)
    best = Best.of(x)
    if not len(x):
        return best.values
    if loss == "dlr" and isinstance(objective, ClassObjective) and objective.towards:
        loss = "targeted-dlr"  # the other form does not lead to a class that is not among the first three
    every = torch.arange(len(x), device=x.device)
    for aim in aims(model, x, objective, targets) if loss == "targeted-dlr" else [None]:
        for _ in range(restarts):
            active = every[~best.reached] if early_stop else every
            if not len(active):
                return best.values
            run = Run(model, x, objective, threat).take(active)
            start = random_start(run, rng.take(active))
            own = None if aim is None else aim[active]
            _ascend(run, active, start, loss, own, steps, early_stop, best)
    return best.values


def random_start(run: Run, rng: CaseRandom) -> Tensor:
    """Return random images (A, C, H, W) whose distance is eps before they are clipped to [0, 1]."""
    eps, shape = run.threat.eps or 0.0, run.x.shape[1:]
    if run.threat.norm == "linf":
        drawn = rng.uniform(shape, -1, 1).to(run.x)
        size = linf(drawn)
    else:
        drawn = rng.normal(shape).to(run.x)
        if run.threat.mask is not None:
            drawn = drawn * run.threat.mask.to(drawn)
        size = l2(drawn)
    scale = (eps / size.clamp_min(1e-12)).view(-1, 1, 1, 1)
    return run.threat.project(run.x + scale * drawn, run.x)


def checkpoints(steps: int) -> set[int]:
    """Return the numbers of steps after which a step size may be halved."""
    gap, found, at = max(int(FIRST * steps), 1), set(), 0
    shorter, shortest = max(int(SHORTER * steps), 1), max(int(SHORTEST * steps), 1)
    while at + gap <= steps:
        at += gap
        found.add(at)
        gap = max(gap - shorter, shortest)
    return found


@dataclass(frozen=True, eq=False)
class _State:
    """A _State holds what a run knows of each active case; images are (A, C, H, W), numbers (A,)."""

    x_adv: Tensor
    before: Tensor  # the image before the last step
    gradient: Tensor  # at x_adv
    value: Tensor  # at x_adv
    top: Tensor  # the image with the best value
    top_gradient: Tensor
    top_value: Tensor
    checked_value: Tensor  # the best value at the last checkpoint
    size: Tensor  # of the step, in the units of the norm
    rises: Tensor  # steps since the last checkpoint in which the value rose
    halved: Tensor  # bool: the step was halved at the last checkpoint

    @classmethod
    def at(cls, x_adv: Tensor, value: Tensor, gradient: Tensor, size: float) -> _State:
        """Return the state at the start."""
        sizes = torch.full_like(value, size)
        halved = torch.ones_like(value, dtype=torch.bool)
        rises = torch.zeros_like(value)
        return cls(x_adv, x_adv, gradient, value, x_adv, gradient, value, value, sizes, rises, halved)

    def take(self, rows: Tensor) -> _State:
        """Return the rows (K,)."""
        return _State(*(getattr(self, each.name)[rows] for each in fields(self)))

    def moved(self, run: Run, momentum: float) -> Tensor:
        """Return the images (A, C, H, W) after the next step."""
        step = run.step(self.gradient, 1.0) * self.size.view(-1, 1, 1, 1)
        aimed = run.threat.project(self.x_adv + step, run.x)
        drift = momentum * (aimed - self.x_adv) + (1 - momentum) * (self.x_adv - self.before)
        return run.threat.project(self.x_adv + drift, run.x)

    def after(self, x_adv: Tensor, value: Tensor, gradient: Tensor) -> _State:
        """Return the state after a step to ``x_adv``."""
        better = value > self.top_value
        wide = better.view(-1, 1, 1, 1)
        return replace(
            self,
            x_adv=x_adv,
            before=self.x_adv,
            gradient=gradient,
            value=value,
            top=torch.where(wide, x_adv, self.top),
            top_gradient=torch.where(wide, gradient, self.top_gradient),
            top_value=torch.where(better, value, self.top_value),
            rises=self.rises + (value > self.value),
        )

    def checked(self, steps: int) -> _State:
        """Return the state after a checkpoint, ``steps`` steps after the last one."""
        rarely = self.rises <= RISES * steps
        stuck = ~self.halved & (self.checked_value >= self.top_value)
        halved = rarely | stuck
        wide = halved.view(-1, 1, 1, 1)
        return replace(
            self,
            x_adv=torch.where(wide, self.top, self.x_adv),
            gradient=torch.where(wide, self.top_gradient, self.gradient),
            size=torch.where(halved, self.size / 2, self.size),
            checked_value=self.top_value,
            rises=torch.zeros_like(self.rises),
            halved=halved,
        )


def _ascend(
    run: Run,
    active: Tensor,
    start: Tensor,
    loss: Ascended,
    aim: Tensor | None,
    steps: int,
    early_stop: bool,
    best: Best,
) -> None:
    """Make one run of the active cases (A,) from their starts, and keep the best images."""
    judged = partial(_judged, early_stop=early_stop, best=best)
    margin, value, gradient = _slope(run, start, loss, aim)
    state = _State.at(start, value, gradient, 2 * (run.threat.eps or 0.0))
    staying = judged(run, active, start, margin)
    checks, last = checkpoints(steps), 0
    for step in range(steps):
        if staying is not None:
            active, run, state = active[staying], run.take(staying), state.take(staying)
            aim = None if aim is None else aim[staying]
        if not len(active):
            return
        moved = state.moved(run, MOMENTUM if step else 1.0)
        if step == steps - 1:  # no step follows, so that its gradient is not needed
            with torch.no_grad():
                judged(run, active, moved, run.objective.margin(run.model(moved)))
            return
        margin, value, gradient = _slope(run, moved, loss, aim)
        state = state.after(moved, value, gradient)
        staying = judged(run, active, moved, margin)
        if step + 1 in checks:
            state, last = state.checked(step + 1 - last), step + 1


def _slope(run: Run, x_adv: Tensor, loss: Ascended, aim: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return the margin (A,), and the value (A,) that is ascended with its gradient (A, C, H, W)."""
    margin = torch.empty(len(x_adv), device=x_adv.device)

    def value(outputs: Tensor) -> Tensor:
        margin.copy_(run.objective.margin(outputs.detach()))
        return value_of(run.objective, loss, outputs, aim)

    values, gradient = run.model.gradient(x_adv, value)
    return margin, values, gradient.nan_to_num_(0, 0, 0)


def _judged(
    run: Run, active: Tensor, x_adv: Tensor, margin: Tensor, *, early_stop: bool, best: Best
) -> Tensor | None:
    """Keep the best images; return the rows (K,) of the cases that stay, or None if all do."""
    whole = torch.zeros_like(margin, dtype=torch.bool)
    best.keep(active, x_adv, margin, whole)
    likely = torch.nonzero(margin > 0).flatten()
    if not len(likely):
        return None
    cases, view = active[likely], run.take(likely)
    stored, sure, there = view.settled(x_adv[likely])
    view.model.take(there & ~best.reached[cases]).found()
    best.keep(cases, stored, sure, there)
    if not early_stop or not there.any():
        return None
    return torch.nonzero(~best.reached[active]).flatten()
