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
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from harness.goals import Objective
from harness.model import Handle
from harness.randomness import CaseRandom
from harness.threat import Threat
from harness_attacks.line_search import Line, along, smallest_step


def ffa(
    model: Handle,
    x: Tensor,
    objective: Objective,
    threat: Threat,
    *,
    rng: CaseRandom,
    search: Literal["line"] = "line",
    first_step: float = 1.0,
    max_steps: int = 20,
    max_bisections: int = 24,
) -> Tensor:
    """Images (B, C, H, W) with the smallest perturbation along FFA's direction that flips the attribute.

    Args:
        search: one gradient, and a line search along it.
        first_step: grey levels of the first step.
        max_steps: at most so many steps, the last of which reaches 2^20 - 1 grey levels: components down to
            1/4000 of the largest have then crossed the whole box. The search ends sooner where the image no
            longer changes, but the smallest components of a gradient keep changing it for ever.
        max_bisections: at most so many halvings of the last section; fewer where its ends are neighbours, one
            grey level of one component apart. Halvings that yield no new image ask the model nothing.
    """
    # One backward pass in all: reduced precision would save nothing.
    model = model.focus(objective).precise()
    direction = along(-slope(model, x, objective), threat)  # (B, C, H, W)
    return smallest_step(
        model,
        Line(x, direction, threat),
        objective,
        first_step=first_step,
        max_steps=max_steps,
        max_bisections=max_bisections,
    )


def slope(model: Handle, x: Tensor, objective: Objective) -> Tensor:
    """Gradient (B, C, H, W) of 1/2 ||t - f(x)||^2, of which only the zeroed component is not constant 0."""
    if not model.has_logits:
        # The margin is the attribute's score or its negative; squared, they are one.
        return model.gradient(x, lambda outputs: objective.margin(outputs).square() / 2)[1]
    with torch.enable_grad():
        start = x.detach().requires_grad_()
        logits = model.logits(start)  # (B, 2) absent, present
        larger = logits.max(1).values  # (B,)
        return torch.autograd.grad((larger.square() / 2).sum(), start)[0]
