"""Fast gradient sign, FGS (Goodfellow et al. 2015, https://arxiv.org/abs/1412.6572, eq. for η in section 4).

The direction is the sign of the gradient of the model's own training loss J(θ, x, y) on the true label y. A
line search finds the smallest integer eps (Rozsa et al., section 3.1, eq. 7); the iterative search (Kurakin
et al. 2017) moves by one grey level along each sign, so that its images stay on the 8-bit grid.

- Right decisions are lost by ascending the loss, wrong ones corrected by descending it (natural adversarials,
  section 3.2), and a targeted class is reached by descending the loss on it.
- On a network trained with Euclidean loss, a score that overshoots its label (f y > 1) has a loss gradient
  that points away from the boundary. It is inherent in the published attack, and kept, at each step.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from harness.goals import Objective
from harness.handle import Handle
from harness.randomness import CaseRandom
from harness.threat import Threat
from harness_attacks.iterative import follow
from harness_attacks.line import Line, along
from harness_attacks.line_search import smallest_step
from harness_attacks.oracle import Oracle, decisive

DOUBLINGS = 8
"""1 + 2 + … + 128 = 255 grey levels cross the whole box; as many bisections bring 255 down to 1."""


def fgs(
    model: Handle,
    x: Tensor,
    objective: Objective,
    threat: Threat,
    *,
    rng: CaseRandom,
    search: Literal["line", "iterative"] = "line",
    first_step: int = 1,
    max_iterations: int = 300,
) -> Tensor:
    """Images (B, C, H, W) with the smallest whole number of grey levels that reaches the goal.

    Args:
        search: "line": one gradient, and a line search along its sign. "iterative": steps of one grey level
            along the sign of the gradient at the image that the last one led to.
        first_step: line: grey levels of the first step.
        max_iterations: iterative: steps at most. The paper states no number.
    """
    model = model.focus(objective)
    if search == "iterative":
        return follow(model, x, objective, threat, uphill, max_iterations=max_iterations, whole=True)
    # One backward pass in all: reduced precision would save nothing.
    model = model.precise()
    margin, slope = uphill(model, x, objective)
    # An image that is where it should be is its own adversarial: it has nowhere to go.
    direction = along(slope, threat) * ~(margin > 0).view(-1, 1, 1, 1)
    return smallest_step(
        Line(x, direction, threat),
        Oracle(model, objective),
        first_step=first_step,
        max_steps=DOUBLINGS,
        max_bisections=DOUBLINGS,
        whole=True,
    )


def uphill(model: Handle, x: Tensor, objective: Objective) -> tuple[Tensor, Tensor]:
    """The margin (B,) beyond the noise, and the sign (B, C, H, W) of the slope of the training loss.

    The loss is ascended or descended as the goal wants.
    """
    margin = torch.empty(len(x), device=x.device)

    def loss(outputs: Tensor) -> Tensor:  # (B,)
        margin.copy_(decisive(objective, outputs.detach()))
        own = objective.loss(outputs)
        return torch.where(objective.ascend, own, -own)

    _, slope = model.gradient(x, loss)
    return margin, slope.sign()
