"""CW-L2 is the attack of Carlini and Wagner (https://arxiv.org/abs/1608.04644, 5 and VI-A) for every head.

Adam minimises ||x' - x||^2 + c max(κ - margin(x'), 0) over an unbounded variable whose tanh is the image, so
that images need no clipping to [0, 1]. The constant c is searched for each case: after a success, it is the
middle between the constant and the largest one that failed; before, it is multiplied by ten. The variable and
Adam's moments are reset for each search. The margin is that of the goal: of two logits, of one attribute's
score, or of the distance to an anchor.

Three parameters add to the published attack, and can be 0. A short descent of DDN comes first (``warm_up``):
its image is a result to be improved on, and the slope of the boundary there gives the constant at which the
sum above is smallest near it, so that few searches do. Adam hardly improves on that image: with the defaults,
the result is mostly that of the descent and the polish. Cases without a success get more searches
(``rescues``), and the result is moved towards the original while the goal stays reached (``polish``), along
the line between them and along the boundary, with tests of rounded images in float32.
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
from harness.threat import Threat, l2
from harness_attacks.adam import Adam
from harness_attacks.ddn import plan_of
from harness_attacks.descent import Nearest, descend, followed
from harness_attacks.oracle import Oracle
from harness_attacks.shrink import polished
from harness_attacks.tanh_space import from_tanh, steepness, to_tanh

GROWTH = 10.0
"""The factor by which the constant grows before the first success."""
LARGEST = 1e10
"""The largest first constant."""
FIRST = 0.01
"""The first constant of a case that the warm-up does not give one, as Richardson and Weiss have it."""
ABOVE = 2.0
"""The first constant after a warm-up, in units of the one at which its image would be at rest. A constant
that is a little too small ends before the boundary."""


def cw_l2(
    model: Handle,
    x: Tensor,
    objective: Objective,
    threat: Threat,
    *,
    rng: CaseRandom,
    warm_up: Annotated[int, Ge(0)] = 40,
    searches: Annotated[int, Ge(1)] = 2,
    iterations: Annotated[int, Ge(1)] = 75,
    learning_rate: Annotated[float, Gt(0), Lt(100)] = 0.01,
    initial_constant: Annotated[float, Gt(0), Lt(1e10)] | None = None,
    confidence: Annotated[float, Ge(0), Lt(1e10)] = 0.0,
    abort_early: bool = True,
    progress: Annotated[float, Gt(0), Le(1)] = 0.9,
    checks: Annotated[int, Ge(1)] = 20,
    rescues: Annotated[int, Ge(0)] = 6,
    polish: Annotated[int, Ge(0)] = 10,
) -> Tensor:
    """Return images (B, C, H, W) with a small L2 perturbation that reaches the goal, or the originals.

    Args:
        warm_up: the steps of a descent as ``ddn`` makes it, along the cross-entropy; its nearest image
            counts, and gives the first constant. 0: none, as published.
        searches: how many values of the constant are tried for each case. (Published: 9.)
        iterations: the largest number of Adam's steps for each value. (Published: 1,000.)
        learning_rate: the learning rate of Adam.
        initial_constant: the first value of the constant; by default from the warm-up, or .01 where it found
            nothing.
        confidence: κ, the margin that is required, in the units of the model's scores. Polished images have
            it after rounding; without ``polish``, as published, images have it before they are rounded.
        abort_early: a case leaves a search if its loss does not fall enough between two checks.
        progress: the share of its loss at the last check to which a case must get. (Published: .9999.)
        checks: how often this is checked in a search, at equal intervals; the first check only notes the
            loss. (Published: 10 intervals from the first step on, and the sum of the losses of a batch, which
            ends for all of its images at once. Here each case ends by itself, so that its result does not
            depend on the batch.)
        rescues: how many more values, each ten times the last, are tried for cases without a success.
        polish: rounds in which the result is moved towards the original while the goal stays reached; 0: the
            result is what Adam found.
    """
    model = model.focus(objective)
    oracle = Oracle(model, objective, confidence=confidence)
    every = torch.arange(len(x), device=x.device)
    best = x.clone()
    distance = torch.full((len(x),), torch.inf, device=x.device)  # the squared distance of the best image
    # An original that has reached its goal, with this confidence, is returned as it is.
    active = begun = every[~(oracle.margin(every, x) > 0)] if len(x) else every
    constant = _Constant.first(len(x), initial_constant or FIRST, x)
    if warm_up and len(active):
        near = _warmed(oracle.take(active), x[active], threat.take(active), warm_up)
        best[active], distance[active] = near.images, near.length.square()
        if initial_constant is None:
            constant.value[active] = _at_rest(oracle.take(active), x[active], threat.take(active), near)
    for search in range(searches + rescues):
        if search >= searches:
            active = active[distance[active].isinf()]
        if not len(active):
            break
        work = _Search.begin(model, x, objective, threat, active, constant.value[active], confidence)
        reached = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        interval, share = max(1, iterations // checks), progress if abort_early else inf
        work.run(iterations, learning_rate, interval, share, best, distance, reached)
        constant.update(active, reached[active])
    fooled = begun[distance[begun].isfinite()]
    if polish and len(fooled):
        best[fooled], found = polished(oracle, fooled, x[fooled], best[fooled], threat.take(fooled), polish)
        model.take(fooled[found]).found()
    return best


def _warmed(oracle: Oracle, x: Tensor, threat: Threat, steps: int) -> Nearest:
    """Return the nearest images (A, C, H, W) that a descent of DDN finds."""
    near = Nearest.of(x)
    descend(oracle, x, threat, near, "cross-entropy", plan_of(steps))
    return near


def _at_rest(oracle: Oracle, x: Tensor, threat: Threat, near: Nearest) -> Tensor:
    """Return the constants (A,) a little above those at which the nearest images would stay where they are.

    There the gradient 2 (x' - x) of the squared distance is the constant times the margin's.
    """
    _, _, slope = followed(oracle, near.images, "margin")
    slope = slope.nan_to_num_(0, 0, 0)
    if threat.mask is not None:
        slope = slope * threat.mask.to(slope)
    constant = ABOVE * 2 * near.length / l2(slope)
    return torch.where((constant > 0) & (constant < LARGEST), constant, FIRST)


@dataclass(frozen=True, eq=False)
class _Constant:
    """The constant of each case lies between the largest that failed and the smallest that succeeded."""

    value: Tensor  # (B,)
    low: Tensor  # (B,)
    high: Tensor  # (B,) infinite until the first success

    @classmethod
    def first(cls, cases: int, value: float, like: Tensor) -> _Constant:
        filled = torch.full((cases,), value, device=like.device)
        return cls(filled, torch.zeros_like(filled), torch.full_like(filled, torch.inf))

    def update(self, cases: Tensor, reached: Tensor) -> None:
        """Update the constants after a search of ``cases`` (K,), given which ``reached`` (K,) their goals."""
        value = self.value[cases]
        self.high[cases] = torch.where(reached, self.high[cases].minimum(value), self.high[cases])
        self.low[cases] = torch.where(reached, self.low[cases], self.low[cases].maximum(value))
        middle = (self.low[cases] + self.high[cases]) / 2
        self.value[cases] = torch.where(middle.isfinite(), middle, value * GROWTH)


@dataclass(frozen=True, eq=False)
class _Search:
    """A _Search holds the active cases of one search; row a is case ``cases[a]``."""

    model: Handle
    objective: Objective
    cases: Tensor  # (A,)
    constant: Tensor  # (A, 1, 1, 1)
    confidence: float
    x: Tensor  # (A, C, H, W)
    start: Tensor  # (A, C, H, W) x in tanh space
    moved: Tensor  # (A, C, H, W) the change in tanh space
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
        """Return some of the cases; Adam's moments of the others are lost."""
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
        interval: int,
        progress: float,
        best: Tensor,
        distance: Tensor,
        reached: Tensor,
    ) -> None:
        """Make Adam's steps; update ``best``, its squared ``distance`` and ``reached`` of the whole batch.

        A case leaves if its loss is above the share ``progress`` of what it was ``interval`` steps before.
        """
        left, before = self, torch.full((len(self.cases),), torch.inf, device=self.x.device)
        for iteration in range(iterations):
            loss = left.step(learning_rate, best, distance, reached)
            if iteration % interval == interval - 1:
                staying = loss <= before * progress
                before = loss
                if not staying.all():
                    rows = torch.nonzero(staying).flatten()
                    if not len(rows):
                        return
                    left, before = left.take(rows), before[rows]

    def step(self, learning_rate: float, best: Tensor, distance: Tensor, reached: Tensor) -> Tensor:
        """Test the image of each case, make Adam's next step, and return the loss (A,) before the step."""
        image = from_tanh(self.start + self.moved)
        tanh_gradient = steepness(image)
        if self.mask is not None:
            image = torch.where(self.mask > 0, image, self.x)
        margin, model_gradient = self.model.gradient(image, self.objective.margin)
        change = image - self.x
        squared = change.flatten(1).square().sum(1)
        there = (margin > 0) & (margin >= self.confidence)
        self.keep(there, image, squared, best, distance, reached)
        short = (self.confidence - margin).clamp_min(0)
        # The model's gradient counts only where the margin is too small. Values that are not finite become 0.
        pull = self.constant * (short > 0).view(-1, 1, 1, 1)
        gradient = change.mul_(2).sub_(model_gradient.nan_to_num_(0, 0, 0).mul_(pull)).mul_(tanh_gradient)
        self.moved.sub_(self.adam.step(gradient.flatten(1)).view_as(gradient), alpha=learning_rate)
        return squared + self.constant.flatten() * short

    def keep(
        self, there: Tensor, image: Tensor, squared: Tensor, best: Tensor, distance: Tensor, reached: Tensor
    ) -> None:
        """Keep the images that reach their goals and are the nearest so far."""
        reached[self.cases] |= there
        rows = torch.nonzero(there & (squared < distance[self.cases])).flatten()
        if len(rows):
            cases = self.cases[rows]
            best[cases], distance[cases] = image[rows], squared[rows]
            self.model.found(rows)
