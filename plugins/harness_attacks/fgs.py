"""Fast gradient sign, FGS (Goodfellow et al. 2015, https://arxiv.org/abs/1412.6572, eq. for η in section 4).

The direction is the sign of the gradient of the model's own training loss J(θ, x, y) on the true label y. A
line search finds the smallest integer eps (Rozsa et al., section 3.1, eq. 7).

- Right decisions are lost by ascending the loss, wrong ones corrected by descending it (natural adversarials,
  section 3.2), and a targeted class is reached by descending the loss on it.
- On a network trained with Euclidean loss, a score that overshoots its label (f y > 1) has a loss gradient
  that points away from the boundary. It is inherent in the published attack, and kept.
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

DOUBLINGS = 8
"""1 + 2 + … + 128 = 255 grey levels cross the whole box; as many bisections bring 255 down to 1."""


def fgs(
    model: Handle,
    x: Tensor,
    objective: Objective,
    threat: Threat,
    *,
    rng: CaseRandom,
    search: Literal["line"] = "line",
    first_step: int = 1,
) -> Tensor:
    """Images (B, C, H, W) with the smallest whole number of grey levels that reaches the goal.

    Args:
        search: one gradient, and a line search along its sign.
        first_step: grey levels of the first step.
    """
    # One backward pass in all: reduced precision would save nothing.
    model = model.focus(objective).precise()
    reached = torch.zeros(len(x), dtype=torch.bool, device=x.device)

    def uphill(outputs: Tensor) -> Tensor:  # (B,)
        reached.copy_(objective.reached(outputs))
        loss = objective.loss(outputs)
        return torch.where(objective.ascend, loss, -loss)

    _, slope = model.gradient(x, uphill)  # (B, C, H, W)
    # An image that is where it should be is its own adversarial: it has nowhere to go.
    direction = along(slope.sign(), threat) * ~reached.view(-1, 1, 1, 1)
    return smallest_step(
        model,
        Line(x, direction, threat),
        objective,
        first_step=first_step,
        max_steps=DOUBLINGS,
        max_bisections=DOUBLINGS,
        whole=True,
    )
