"""FFA, fast flipping attribute, is an attack of Rozsa et al. (https://arxiv.org/abs/1801.02480, eq. 8-9).

A target t equals the network's output f(x), except for the attribute to flip, whose target is 0. FFA descends
1/2 ||t - f(x)||^2 towards the target. (Eq. 9 is printed with the other sign, which leads away from it.)

- One output: the direction is -f ∇f.
- Joint networks (MOON): the targets of the other attributes are their own scores, so they contribute
  nothing, and the direction is -f_i ∇f_i.
- Softmax networks (section 5): the larger of the two logits gets the target 0, the other its own value, so
  that the direction is -l ∇l of the larger. If the larger logit is negative, the published attack raises it
  and cannot flip the decision.

The iterative search computes target and gradient again at each temporary image, which is not rounded. If such
an image has crossed the boundary, but its rounded version has not, the target of eq. 8 leads back to the
boundary and over it again, and some searches never end. This is inherent in the attack as published, and
kept. ``crossed = "onward"`` continues instead, away from the decision that is to be flipped.
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
            follows eq. 9 as published, "onward" continues; for networks with one score per attribute.

    Raises:
        AttackError: a parameter is out of range, or ``crossed`` is "onward" and there are two logits.
    """
    model = model.focus(objective)
    if search == "iterative":
        if crossed == "onward" and model.has_logits:
            raise AttackError('crossed = "onward" needs one score per attribute; this network has two logits')
        step = downhill if crossed == "back" else onward
        return follow(model, x, objective, threat, step, max_iterations=max_iterations, whole=False)
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


def downhill(model: Handle, x: Tensor, objective: Objective) -> tuple[Tensor, Tensor]:
    """Return the margin (B,) beyond ``NOISE``, and the descent (B, C, H, W) of 1/2 ||t - f(x)||^2.

    Only the term with target 0 contributes to the sum; the others are always 0.
    """
    margin = torch.empty(len(x), device=x.device)

    def distance(outputs: Tensor) -> Tensor:  # (B,)
        margin.copy_(decisive(objective, outputs.detach()))
        # The margin is the attribute's score or its negative; their squares are the same.
        return objective.margin(outputs).square() / 2

    def larger(logits: Tensor) -> Tensor:  # (B, 2) absent, present → (B,)
        # The score is the difference of the logits, and a flip changes its sign.
        margin.copy_(-logits.detach().diff(dim=1)[:, 0].abs())
        return logits.max(1).values.square() / 2

    if model.has_logits:
        return margin, -model.gradient(x, larger, outputs=model.logits)[1]
    return margin, -model.gradient(x, distance)[1]


def onward(model: Handle, x: Tensor, objective: Objective) -> tuple[Tensor, Tensor]:
    """Return the margin (B,) beyond ``NOISE`` and its gradient (B, C, H, W), on any side of the boundary."""
    margin = torch.empty(len(x), device=x.device)

    def reach(outputs: Tensor) -> Tensor:  # (B,)
        margin.copy_(decisive(objective, outputs.detach()))
        return objective.margin(outputs)

    return margin, model.gradient(x, reach)[1]
