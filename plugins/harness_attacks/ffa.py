"""FFA, fast flipping attribute, is an attack of Rozsa et al. (https://arxiv.org/abs/1801.02480, eq. 8-9).

A target t equals the network's output f(x), except for the attribute to flip, whose target is 0. FFA descends
1/2 ||t - f(x)||^2 towards the target. (Eq. 9 is printed with the other sign, which leads away from it.)

- One output: the direction is -f ∇f.
- Joint networks (MOON): the targets of the other attributes are their own scores, so they contribute
  nothing, and the direction is -f_i ∇f_i.
- Softmax networks (section 5): the larger of the two logits gets the target 0, the other its own value, so
  that the direction is -l ∇l of the larger. If the larger logit is negative, the published attack raises it
  and cannot flip the decision.

The iterative search "recalculates the applicable loss and its gradient" at each temporary image, which is not
rounded, "until the classification of the desired attribute is flipped" (section 3.1). Three things can be
read in more than one way:

- The target of eq. 8 after the first step (``target``). "recomputed" takes it from the temporary image, so
  that only the flipped attribute acts, as above. "held" keeps that of the original image x: then every other
  score that has moved is drawn back to where it was, and the direction is -f_i∇f_i - Σ_j (f_j - f_j(x))∇f_j.
  In a network with one output, both are the same; separate networks have one output each. Of two logits, the
  one that was larger on the original keeps the target 0, and the other its first value, so that a decision
  whose smaller logit was negative cannot flip.
- Eq. 9 beyond the boundary (``crossed``). If a temporary image has crossed it, but its rounded version has
  not, the target 0 leads back to the boundary and over it again, and some searches never end: this is "back",
  eq. 9 to the letter. "onward" continues, away from the decision that is to be flipped.
- The image whose classification ends the search. Here it is the rounded one, because the published
  adversarials are rounded. If it were the temporary image, some results would not be adversarial.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from annotated_types import Le
from torch import Tensor

from harness.errors import AttackError
from harness.goals import Objective
from harness.handle import Handle
from harness.randomness import CaseRandom
from harness.threat import Threat
from harness_attacks.iterative import Uphill, follow
from harness_attacks.line import Line, along
from harness_attacks.line_search import smallest_step
from harness_attacks.oracle import Oracle, decisive
from harness_attacks.section import Root

Crossed = Literal["back", "onward"]
Target = Literal["recomputed", "held"]


def ffa(
    model: Handle,
    x: Tensor,
    objective: Objective,
    threat: Threat,
    *,
    rng: CaseRandom,
    search: Literal["line", "iterative"] = "line",
    first_step: Annotated[float, Le(255)] = 1.0,
    max_steps: int = 20,
    max_bisections: int = 24,
    root: Root = "bisect",
    trust: float = 0.1,
    max_iterations: int = 300,
    crossed: Crossed = "back",
    target: Target = "recomputed",
) -> Tensor:
    """Return images (B, C, H, W) with the smallest change along FFA's direction that flips the attribute.

    Args:
        search: "line": one gradient, and a line search along it. "iterative": steps with an L-infinity norm
            of 1/255, each along the gradient at the current image.
        first_step: line search: the first step, in units of 1/255 (8-bit levels).
        max_steps: line search: the largest number of steps, of which the last reaches 2^20 - 1 levels:
            components down to 1/4000 of the largest have then crossed [0, 1]. The search ends earlier if the
            image no longer changes, but the smallest components of a gradient hardly ever stop changing it.
        max_bisections: line search: the largest number of halvings of the last section; fewer if its ends
            differ by one level of one component. Halvings without a new image need no pass.
        root: line search: "bisect" narrows the last section as published; "interpolate" reaches such ends
            too, in fewer passes. If the score crosses 0 more than once in that section, they may find
            different crossings.
        trust: line search, reduced precision: scores farther from 0 than this are not repeated in float32,
            except at the step that is found. Scores are of size 1; bfloat16 errs by a few hundredths.
        max_iterations: iterative: the largest number of steps. The paper states no number.
        crossed: iterative: if the temporary image has flipped, but its rounded version has not, "back"
            follows eq. 9 to the letter, "onward" continues; for networks with one score per attribute.
        target: iterative: eq. 8's target is that of the temporary image ("recomputed"), or that of the
            original ("held"), so that the other scores are held where they were.

    Raises:
        AttackError: a parameter is out of range; or ``crossed`` is "onward", and there are two logits or a
            held target; or ``target`` is "held" in a line search.
    """
    _refuse_contradictions(search, target)
    if search == "iterative":
        model, step = _steps(model, x, objective, crossed, target)
        return follow(model, x, objective, threat, step, max_iterations=max_iterations, whole=False)
    model = model.focus(objective)
    # There is only one backward pass: reduced precision would save little, and change the direction.
    start, direction = downhill(model.precise(), x, objective)
    return smallest_step(
        Line(x, along(direction, threat), threat),
        Oracle(model, objective, trust),
        first_step=first_step,
        max_steps=max_steps,
        max_bisections=max_bisections,
        root=root,
        start=start,
    )


def _refuse_contradictions(search: str, target: Target) -> None:
    if target == "held" and search == "line":
        raise AttackError(
            'target = "held" needs search = "iterative"; a line has the original\'s gradient only'
        )


def _steps(
    model: Handle, x: Tensor, objective: Objective, crossed: Crossed, target: Target
) -> tuple[Handle, Uphill]:
    """Return the handle of an iterative search, and the function that gives the directions of its steps."""
    focused = model.focus(objective)
    if crossed == "onward":
        if model.has_logits:
            raise AttackError('crossed = "onward" needs one score per attribute; this network has two logits')
        if target == "held":
            raise AttackError('crossed = "onward" follows no target; leave out target = "held"')
        return focused, lambda cases, images: onward(focused.take(cases), images, objective.take(cases))
    if target == "recomputed" or (model.has_select and not model.has_logits):
        return focused, lambda cases, images: downhill(focused.take(cases), images, objective.take(cases))
    # A focused handle would compute the one score of a joint network only.
    asked = focused if model.has_logits else model
    held = _target(asked, x, objective)

    def step(cases: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        return downhill(asked.take(cases), images, objective.take(cases), held[cases])

    return asked, step


def _target(model: Handle, x: Tensor, objective: Objective) -> Tensor:
    """Return eq. 8's target at ``x``: (B, M) of all scores, or (B, 2) of the two logits behind one."""
    if objective.columns is None:
        raise AttackError('target = "held" needs a goal of attributes')
    with torch.no_grad():
        outputs = model.logits(x) if model.has_logits else model(x)
    zeroed = outputs.argmax(1) if model.has_logits else objective.columns.to(outputs.device)
    return outputs.scatter(1, zeroed[:, None], 0.0)


def downhill(
    model: Handle, x: Tensor, objective: Objective, target: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the margin (B,) beyond ``NOISE``, and the descent (B, C, H, W) of 1/2 ||t - f(x)||^2.

    Without a ``target`` (B, M), or (B, 2) of logits, t is eq. 8's at ``x`` itself: only the term with target
    0 contributes to the sum, and the others are always 0.
    """
    margin = torch.empty(len(x), device=x.device)

    def distance(outputs: Tensor) -> Tensor:  # (B,)
        margin.copy_(decisive(objective, outputs.detach()))
        if target is not None:
            return (outputs - target).square().sum(1) / 2
        # The margin is the attribute's score or its negative; their squares are the same.
        return objective.margin(outputs).square() / 2

    def logit_distance(logits: Tensor) -> Tensor:  # (B, 2) absent, present → (B,)
        # The score is the difference of the logits, and a flip changes its sign.
        margin.copy_(-logits.detach().diff(dim=1)[:, 0].abs())
        if target is not None:
            return (logits - target).square().sum(1) / 2
        return logits.max(1).values.square() / 2

    if model.has_logits:
        return margin, -model.gradient(x, logit_distance, outputs=model.logits)[1]
    return margin, -model.gradient(x, distance)[1]


def onward(model: Handle, x: Tensor, objective: Objective) -> tuple[Tensor, Tensor]:
    """Return the margin (B,) beyond ``NOISE`` and its gradient (B, C, H, W), on any side of the boundary."""
    margin = torch.empty(len(x), device=x.device)

    def reach(outputs: Tensor) -> Tensor:  # (B,)
        margin.copy_(decisive(objective, outputs.detach()))
        return objective.margin(outputs)

    return margin, model.gradient(x, reach)[1]
