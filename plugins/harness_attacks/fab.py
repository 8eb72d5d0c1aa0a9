"""FAB goes to the boundary and stays near the original (Croce and Hein 2020, https://arxiv.org/abs/1907.02044).

Minimally distorted Adversarial Examples with a Fast Adaptive Boundary Attack, section 2, algorithm 1, in the
targeted form of the authors' later code, which has one linear boundary per run: each step goes to the point
of the linearised boundary that is nearest, from the current image and from the original, and mixes the two.
Past the boundary, the image goes part of the way back. At the end the line from the original to the nearest
image found is searched for the nearest one that is adversarial after rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from harness.goals import ClassObjective, Objective
from harness.handle import Handle
from harness.randomness import CaseRandom
from harness.threat import FLOAT_TOLERANCE, Threat, l2, linf
from harness_attacks.ascended import aims
from harness_attacks.hyperplane import onto
from harness_attacks.oracle import Oracle
from harness_attacks.shrink import shrink

MOST_BIAS = 0.1
"""The largest share of the original's own projection in a step (alpha_max)."""
OVERSHOOT = 1.05
"""By how much a step goes beyond the linearised boundary (eta)."""
BACK = 0.9
"""The share of the change that is kept once the boundary is passed (beta)."""
FARTHEST = {"linf": 0.1, "l2": 1.0}
"""The distance of random starts while no image has reached the goal and no eps is given."""


def fab(
    model: Handle,
    x: Tensor,
    objective: Objective,
    threat: Threat,
    *,
    rng: CaseRandom,
    steps: Annotated[int, Ge(1)] = 100,
    restarts: Annotated[int, Ge(1)] = 1,
    targets: Annotated[int, Ge(1)] = 9,
    tests: Annotated[int, Ge(0)] = 10,
    early_stop: bool = False,
) -> Tensor:
    """Return the nearest images (B, C, H, W) that reach the goal after rounding, or the originals.

    Args:
        steps: the number of gradient steps of a run.
        restarts: the number of runs. The first starts at the original; the others start at random, no farther
            from it than half of the nearest image so far, or of eps.
        targets: the number of classes that are tried one after the other, the likeliest first; decisions
            between two values have one other side.
        tests: the largest number of tests that search the line from the original for the nearest image.
        early_stop: with an eps, a case leaves the batch once its rounded image reaches the goal within it.
    """
    model = model.focus(objective)
    if not len(x):
        return x.clone()
    oracle = Oracle(model, objective)
    clean = oracle.margin(torch.arange(len(x), device=x.device), threat.round(x))
    cases = torch.nonzero(~(clean > 0)).flatten()
    best = x.clone()
    if not len(cases):
        return best
    walk = _Walk(oracle.take(cases), x[cases], threat.take(cases), _Nearest.of(x[cases]))
    walk.all_runs(rng.take(cases), steps, restarts, targets, early_stop)
    near = walk.near
    best[cases[near.done]] = near.images[near.done]
    rows = torch.nonzero(near.length.isfinite() & ~near.done).flatten()
    if len(rows):
        at, start = cases[rows], x[cases[rows]]
        own = threat.take(at)
        found = shrink(oracle, at, start, near.images[rows], own, tests, clean[at])
        inside = found.reached
        if own.eps is not None:
            inside = inside & (own.distance(found.images - start) <= own.eps + FLOAT_TOLERANCE)
        best[at[inside]] = found.images[inside]
        model.take(at[inside]).found()
    return best


@dataclass(frozen=True, eq=False)
class _Nearest:
    """A _Nearest holds the nearest images so far, and is updated in place."""

    images: Tensor  # (A, C, H, W)
    length: Tensor  # (A,) of their changes; infinite where no image has reached the goal
    done: Tensor  # (A,) bool: the image is rounded and inside the budget, and no other is wanted

    @classmethod
    def of(cls, x: Tensor) -> _Nearest:
        """Return what is known before the first step."""
        length = torch.full((len(x),), torch.inf, dtype=x.dtype, device=x.device)
        return cls(x.clone(), length, torch.zeros_like(length, dtype=torch.bool))


@dataclass(frozen=True, eq=False)
class _Walk:
    """A _Walk holds the cases whose originals have not reached their goals."""

    oracle: Oracle
    x: Tensor  # (A, C, H, W)
    threat: Threat
    near: _Nearest

    def all_runs(self, rng: CaseRandom, steps: int, restarts: int, targets: int, early_stop: bool) -> None:
        """Make the runs of all targets."""
        early_stop = early_stop and self.threat.eps is not None
        every = torch.arange(len(self.x), device=self.x.device)
        for aim in aims(self.oracle.model, self.x, self.oracle.objective, targets):
            for restart in range(restarts):
                rows = every[~self.near.done]
                if not len(rows):
                    return
                start = self._start(rows, rng.take(rows)) if restart else self.x[rows]
                self._run(rows, start, aim, steps, early_stop)

    def _start(self, rows: Tensor, rng: CaseRandom) -> Tensor:
        """Return random images (K, C, H, W) not too far from the originals."""
        x, threat = self.x[rows], self.threat.take(rows)
        eps = torch.inf if threat.eps is None else threat.eps
        length = self.near.length[rows].clamp_max(eps)
        length = length.where(length.isfinite(), FARTHEST[threat.norm or "l2"]) / 2
        drawn = rng.uniform(x.shape[1:], -1, 1).to(x)
        if threat.norm != "linf":
            drawn = rng.normal(x.shape[1:]).to(x)
        if threat.mask is not None:
            drawn = drawn * threat.mask.to(drawn)
        scale = length / threat.distance(drawn).clamp_min(1e-12)
        return (x + drawn * scale.view(-1, 1, 1, 1)).clamp(0, 1)

    def _run(self, rows: Tensor, start: Tensor, aim: Tensor | None, steps: int, early_stop: bool) -> None:
        """Make one run of some rows (K,) from their starts."""
        oracle, x, threat, x_adv = self.oracle.take(rows), self.x[rows], self.threat.take(rows), start
        for _ in range(steps):
            height, normal = _boundary(oracle, x_adv, None if aim is None else aim[rows], threat)
            x_adv, moving = _stepped(x, x_adv, height, normal, threat.norm or "l2")
            with torch.no_grad():
                there = oracle.objective.margin(oracle.model(x_adv)) > 0
            staying = moving
            if there.any():
                self._keep(rows, x_adv, there, threat.distance(x_adv - x), early_stop)
                back = torch.lerp(x, x_adv, BACK)
                x_adv = torch.where(there.view(-1, 1, 1, 1), back, x_adv)
                staying = moving & ~self.near.done[rows]
            if not staying.all():
                on = torch.nonzero(staying).flatten()
                if not len(on):
                    return
                rows, oracle, x, threat, x_adv = rows[on], oracle.take(on), x[on], threat.take(on), x_adv[on]

    def _keep(self, rows: Tensor, x_adv: Tensor, there: Tensor, length: Tensor, early_stop: bool) -> None:
        """Keep the images (K, C, H, W) that have reached their goals and are the nearest so far."""
        nearer = torch.nonzero(there & (length < self.near.length[rows])).flatten()
        cases = rows[nearer]
        self.near.images[cases], self.near.length[cases] = x_adv[nearer], length[nearer]
        self.oracle.model.take(cases).found()
        if not early_stop or not len(cases):
            return
        slack = self.threat.rounding_slack(self.x[0].numel())
        likely = nearer[length[nearer] <= (self.threat.eps or 0.0) + slack]
        if not len(likely):
            return
        cases = rows[likely]
        stored = self.threat.take(cases).settle(x_adv[likely], self.x[cases])
        inside = self.threat.distance(stored - self.x[cases]) <= (self.threat.eps or 0.0) + FLOAT_TOLERANCE
        sure = inside & (self.oracle.margin(cases, stored) > 0)
        self.near.images[cases[sure]], self.near.done[cases[sure]] = stored[sure], True


def _boundary(oracle: Oracle, x_adv: Tensor, aim: Tensor | None, threat: Threat) -> tuple[Tensor, Tensor]:
    """Return the value (K,) that is 0 at the boundary and positive past it, and its gradient (K, C, H, W)."""
    objective = oracle.objective

    def value(outputs: Tensor) -> Tensor:
        if aim is None or not isinstance(objective, ClassObjective) or objective.towards:
            return objective.margin(outputs)
        pair = outputs.gather(1, torch.stack([aim, objective.classes], 1))
        return pair[:, 0] - pair[:, 1]

    height, normal = oracle.model.gradient(x_adv, value)
    normal = normal.nan_to_num(0, 0, 0)
    return height, normal if threat.mask is None else normal * threat.mask.to(normal)


def _stepped(x: Tensor, x_adv: Tensor, height: Tensor, normal: Tensor, norm: str) -> tuple[Tensor, Tensor]:
    """Return the images (K, C, H, W) after a step, and whether there was a direction (K,)."""
    there = height + (normal * (x - x_adv)).flatten(1).sum(1)  # of the linearised boundary, at the original
    own, first = onto(x_adv, normal, height, norm), onto(x, normal, there, norm)
    size = linf if norm == "linf" else l2
    here, origin = size(own).clamp_min(1e-8), size(first).clamp_min(1e-8)
    bias = (here / (here + origin)).clamp_max(MOST_BIAS).view(-1, 1, 1, 1)
    moved = torch.lerp(x_adv + OVERSHOOT * own, x + OVERSHOOT * first, bias).clamp(0, 1)
    moving = (normal != 0).flatten(1).any(1) & moved.isfinite().flatten(1).all(1)
    return torch.where(moving.view(-1, 1, 1, 1), moved, x_adv), moving
