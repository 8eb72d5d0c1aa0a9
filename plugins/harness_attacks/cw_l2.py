"""CW-L2 (Carlini and Wagner 2017, https://arxiv.org/abs/1608.04644, section 5 and VI-A), for every head.

Adam minimises ||x' - x||^2 + c max(κ - margin(x'), 0) over an unbounded variable whose tanh is the image, so
that the box needs no clipping. The constant c is searched for each case: where the goal was reached it is
halved towards the largest one that failed, elsewhere it is multiplied by ten until one succeeds; variable and
Adam's averages begin anew at each search. The margin is the goal's own: of two logits, of one attribute's
score, or of the distance to an anchor.

What the published attack does not have, and what a parameter turns off: cases that reached nothing get more
searches (``rescues``), and the result is drawn towards the original as far as the goal holds (``polish``),
along its line and along the boundary, on images as they are stored and in float32.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from math import inf
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor

from harness.goals import Objective
from harness.handle import Handle
from harness.randomness import CaseRandom
from harness.threat import Threat
from harness_attacks.adam import Adam
from harness_attacks.oracle import Oracle
from harness_attacks.shrink import polished
from harness_attacks.tanh_space import from_tanh, steepness, to_tanh

CHECKS = 20
"""How often a search looks whether a case still gets on."""
GROWTH = 10.0
"""Of the constant, while nothing has succeeded."""


def cw_l2(
    model: Handle,
    x: Tensor,
    objective: Objective,
    threat: Threat,
    *,
    rng: CaseRandom,
    searches: Annotated[int, Ge(1)] = 3,
    iterations: Annotated[int, Ge(1)] = 500,
    learning_rate: Annotated[float, Gt(0), Lt(100)] = 0.01,
    initial_constant: Annotated[float, Gt(0), Lt(1e10)] = 0.01,
    confidence: Annotated[float, Ge(0), Lt(1e10)] = 0.0,
    abort_early: bool = True,
    progress: Annotated[float, Gt(0), Le(1)] = 0.9,
    rescues: Annotated[int, Ge(0)] = 6,
    polish: Annotated[int, Ge(0)] = 10,
) -> Tensor:
    """Images (B, C, H, W) with a small L2 perturbation that reaches the goal; the originals where none does.

    Args:
        searches: values of the constant that are tried for each case.
        iterations: Adam's steps for each value, at most.
        learning_rate: Adam's.
        initial_constant: the first value.
        confidence: κ, the margin that is asked for, in the units of the model's scores.
        abort_early: a case leaves a search once a twentieth of the iterations has hardly lowered its loss:
        progress: to no less than this share of it. (As published: .9999, and a tenth.) What more iterations
            would gain, the polish gains in a few.
        rescues: so many more values, each ten times the last, for cases that have reached nothing.
        polish: rounds in which the result is drawn towards the original as far as the goal holds; 0: it stays
            as Adam found it.
    """
    model = model.focus(objective)
    oracle = Oracle(model, objective)
    every = torch.arange(len(x), device=x.device)
    best = x.clone()
    distance = torch.full((len(x),), torch.inf, device=x.device)  # of the best so far, squared
    # An image that is where it should be is its own adversarial.
    active = every[~(oracle.margin(every, x) > 0)] if len(x) else every
    begun = active
    constant = _Constant.first(len(x), initial_constant, x)
    for search in range(searches + rescues):
        if search >= searches:
            active = active[distance[active].isinf()]
        if not len(active):
            break
        work = _Search.begin(model, x, objective, threat, active, constant.value[active], confidence)
        reached = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        work.run(iterations, learning_rate, progress if abort_early else inf, best, distance, reached)
        constant.update(active, reached[active])
    fooled = begun[distance[begun].isfinite()]
    if polish and len(fooled):
        limits = threat.take(fooled)
        best[fooled], found = polished(oracle, fooled, x[fooled], best[fooled], limits, polish)
        model.take(fooled[found]).found()
    return best


@dataclass(frozen=True, eq=False)
class _Constant:
    """The constant of each case, between the largest that failed and the smallest that succeeded."""

    value: Tensor  # (B,)
    low: Tensor  # (B,)
    high: Tensor  # (B,) infinite until one succeeds

    @classmethod
    def first(cls, cases: int, value: float, like: Tensor) -> _Constant:
        filled = torch.full((cases,), value, device=like.device)
        return cls(filled, torch.zeros_like(filled), torch.full_like(filled, torch.inf))

    def update(self, cases: Tensor, reached: Tensor) -> None:
        """After a search of ``cases`` (K,), of which some ``reached`` (K,) their goals."""
        value = self.value[cases]
        self.high[cases] = torch.where(reached, self.high[cases].minimum(value), self.high[cases])
        self.low[cases] = torch.where(reached, self.low[cases], self.low[cases].maximum(value))
        middle = (self.low[cases] + self.high[cases]) / 2
        self.value[cases] = torch.where(middle.isfinite(), middle, value * GROWTH)


@dataclass(frozen=True, eq=False)
class _Search:
    """Cases at work in one search; row a is case ``cases[a]``."""

    model: Handle
    objective: Objective
    cases: Tensor  # (A,)
    constant: Tensor  # (A, 1, 1, 1)
    confidence: float
    x: Tensor  # (A, C, H, W)
    start: Tensor  # (A, C, H, W) x in tanh space
    moved: Tensor  # (A, C, H, W) from there
    adam: Adam
    mask: Tensor | None  # (A, 1, H, W) or (1, 1, H, W)

    @classmethod
    def begin(
        cls,
        model: Handle,
        x: Tensor,
        objective: Objective,
        threat: Threat,
        cases: Tensor,
        constant: Tensor,
        confidence: float,
    ) -> _Search:
        own = x[cases]
        mask = threat.take(cases).mask
        return cls(
            model.take(cases),
            objective.take(cases),
            cases,
            constant.view(-1, 1, 1, 1),
            confidence,
            own,
            to_tanh(own),
            torch.zeros_like(own),
            Adam(len(own), own[0].numel(), own.device),
            None if mask is None else (mask if mask.ndim == 4 else mask[None, None]).to(own),
        )

    def take(self, rows: Tensor) -> _Search:
        """Some of the cases; the others' averages are gone."""
        values = {
            field.name: getattr(self, field.name)[rows]
            for field in fields(self)
            if field.name in ("cases", "constant", "x", "start", "moved")
        }
        self.adam.take(rows)
        mask = self.mask if self.mask is None or len(self.mask) == 1 else self.mask[rows]
        return replace(
            self, model=self.model.take(rows), objective=self.objective.take(rows), mask=mask, **values
        )

    def run(
        self,
        iterations: int,
        learning_rate: float,
        progress: float,
        best: Tensor,
        distance: Tensor,
        reached: Tensor,
    ) -> None:
        """Adam's steps; improves ``best`` and its squared ``distance``, and marks who ``reached`` a goal.

        The three are of the whole batch. Cases leave whose loss is above the share ``progress`` of what it
        was a twentieth of the iterations ago.
        """
        left, before = self, torch.full((len(self.cases),), torch.inf, device=self.x.device)
        every = max(1, iterations // CHECKS)
        for iteration in range(iterations):
            loss = left.step(learning_rate, best, distance, reached)
            if iteration % every == every - 1:
                staying = loss <= before * progress
                before = loss
                if not staying.all():
                    rows = torch.nonzero(staying).flatten()
                    if not len(rows):
                        return
                    left, before = left.take(rows), before[rows]

    def step(self, learning_rate: float, best: Tensor, distance: Tensor, reached: Tensor) -> Tensor:
        """Test the image of each case, and make Adam's next step from it; the loss (A,) before the step."""
        image = from_tanh(self.start + self.moved)
        slope_of_tanh = steepness(image)
        if self.mask is not None:
            image = torch.where(self.mask > 0, image, self.x)
        margin, slope = self.model.gradient(image, self.objective.margin)
        change = image - self.x
        squared = change.flatten(1).square().sum(1)
        there = (margin > 0) & (margin >= self.confidence)
        self.keep(there, image, squared, best, distance, reached)
        short = (self.confidence - margin).clamp_min(0)
        # The model's slope counts only where the margin still falls short. A slope that is no number is none.
        pull = self.constant * (short > 0).view(-1, 1, 1, 1)
        gradient = change.mul_(2).sub_(slope.nan_to_num_(0, 0, 0).mul_(pull)).mul_(slope_of_tanh)
        self.moved.sub_(self.adam.step(gradient.flatten(1)).view_as(gradient), alpha=learning_rate)
        return squared + self.constant.flatten() * short

    def keep(
        self, there: Tensor, image: Tensor, squared: Tensor, best: Tensor, distance: Tensor, reached: Tensor
    ) -> None:
        """Remember the images that reach their goals and are the nearest so far."""
        reached[self.cases[there]] = True
        rows = torch.nonzero(there & (squared < distance[self.cases])).flatten()
        if len(rows):
            cases = self.cases[rows]
            best[cases], distance[cases] = image[rows], squared[rows]
            self.model.found(rows)
