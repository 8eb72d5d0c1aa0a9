"""Fast flipping attribute, FFA (Rozsa et al., https://arxiv.org/abs/1801.02480, section 3.1, eq. 8-9).

A target t equals the network's answer f(x), but for the attribute in question, which it sets to 0. FFA
follows the gradient of 1/2 ||t - f(x)||^2 downhill, towards the target. (Eq. 9 is printed with the other
sign, which would lead away from it.)

- One output: the direction is -f ∇f.
- Joint networks (MOON): the targets of the other attributes are their own scores, so they contribute
  nothing, and the direction is -f_i ∇f_i.
- Softmax networks (section 5): the larger of the two logits gets the target 0, the other its own value, so
  that the direction is -l ∇l of the larger. Where the larger logit is negative already, the published
  attack raises it and cannot flip the decision.

The iterative search computes target and gradient anew at each temporary image, which is not rounded. Where
such an image has crossed the boundary already, and only its rounding has not, the target of eq. 8 leads back
to the boundary and over it again, and some searches never end: that, too, is inherent in the attack as it is
written, and kept. ``crossed = "onward"`` goes on instead, away from the decision that is to be flipped.
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
from harness_attacks.iterative import follow
from harness_attacks.line import Line, along
from harness_attacks.line_search import smallest_step
from harness_attacks.oracle import Oracle, decisive
from harness_attacks.section import Root

Crossed = Literal["back", "onward"]


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
) -> Tensor:
    """Images (B, C, H, W) with the smallest perturbation along FFA's direction that flips the attribute.

    Args:
        search: "line": one gradient, and a line search along it. "iterative": steps of L-infinity = 1 grey
            level, each along the gradient at the image that the last one led to.
        first_step: line: grey levels of the first step.
        max_steps: line: at most so many steps, the last of which reaches 2^20 - 1 grey levels: components
            down to 1/4000 of the largest have then crossed the whole box. The search ends sooner where the
            image no longer changes, but the smallest components of a gradient keep changing it for ever.
        max_bisections: line: at most so many halvings of the last section; fewer where its ends are
            neighbours, one grey level of one component apart. Halvings that yield no new image ask the model
            nothing.
        root: line: "bisect" narrows the last section as published; "interpolate" to neighbours of the same
            kind, in fewer passes. Where the score crosses 0 more than once in that section, the two may end
            at different crossings.
        trust: line, reduced precision: a score so far from 0 is not asked for again in float32, but at the
            step that is found. Scores are of size 1, and bfloat16 errs by a few hundredths.
        max_iterations: iterative: steps at most. The paper states no number.
        crossed: iterative: where the temporary image has flipped and its rounding has not, "back" follows
            eq. 9 as it is written, "onward" goes on; for networks with one score per attribute.

    Raises:
        AttackError: a parameter is out of range, or ``crossed`` is "onward" and there are two logits.
    """
    model = model.focus(objective)
    if search == "iterative":
        if crossed == "onward" and model.has_logits:
            raise AttackError('crossed = "onward" needs one score per attribute; this network has two logits')
        step = downhill if crossed == "back" else onward
        return follow(model, x, objective, threat, step, max_iterations=max_iterations, whole=False)
    # One backward pass in all: reduced precision would save little, and lead elsewhere.
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


def downhill(model: Handle, x: Tensor, objective: Objective) -> tuple[Tensor, Tensor]:
    """The margin (B,) beyond the noise, and the descent (B, C, H, W) of 1/2 ||t - f(x)||^2.

    Of the sum only the component whose target is 0 is not constantly 0.
    """
    margin = torch.empty(len(x), device=x.device)

    def distance(outputs: Tensor) -> Tensor:  # (B,)
        margin.copy_(decisive(objective, outputs.detach()))
        # The margin is the attribute's score or its negative; squared, they are one.
        return objective.margin(outputs).square() / 2

    def larger(logits: Tensor) -> Tensor:  # (B, 2) absent, present → (B,)
        # The score is the logits' difference, and its sign is what a flip is to change.
        margin.copy_(-logits.detach().diff(dim=1)[:, 0].abs())
        return logits.max(1).values.square() / 2

    if model.has_logits:
        return margin, -model.gradient(x, larger, outputs=model.logits)[1]
    return margin, -model.gradient(x, distance)[1]


def onward(model: Handle, x: Tensor, objective: Objective) -> tuple[Tensor, Tensor]:
    """The margin (B,) beyond the noise, and its ascent (B, C, H, W), on whatever side of the boundary."""
    margin = torch.empty(len(x), device=x.device)

    def reach(outputs: Tensor) -> Tensor:  # (B,)
        margin.copy_(decisive(objective, outputs.detach()))
        return objective.margin(outputs)

    return margin, model.gradient(x, reach)[1]
