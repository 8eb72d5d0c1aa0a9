"""FGS, fast gradient sign, is the attack of Goodfellow et al. (https://arxiv.org/abs/1412.6572, section 4).

The direction is the sign of the gradient of the model's own training loss J(θ, x, y) on the true label y. A
line search finds the smallest integer eps (Rozsa et al., section 3.1, eq. 7); the iterative search (Kurakin
et al. 2017) steps by 1/255 along each sign, so that its images stay on the 8-bit grid.

- Correct decisions are changed by ascending the loss, wrong ones by descending it (natural adversarials,
  section 3.2); a targeted class is reached by descending the loss on it.
- On a network trained with Euclidean loss, a score beyond its label (f y > 1) has a loss gradient that points
  away from the boundary. This is inherent in the published attack, and kept at each step.
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
"""1 + 2 + … + 128 = 255 levels cross all of [0, 1], and as many bisections reduce 255 to 1."""


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
    """Return images (B, C, H, W) with the smallest whole number of 8-bit levels that reaches the goal.

    Args:
        search: "line": one gradient, and a line search along its sign. "iterative": steps of 1/255 along the
            sign of the gradient at the current image.
        first_step: line search: the first step, in units of 1/255.
        max_iterations: iterative: the largest number of steps. The paper states no number.
    """
    model = model.focus(objective)
    if search == "iterative":

        def step(cases: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
            return uphill(model.take(cases), images, objective.take(cases))

        return follow(model, x, objective, threat, step, max_iterations=max_iterations, whole=True)
    # There is only one backward pass: reduced precision would save nothing.
    model = model.precise()
    margin, gradient = uphill(model, x, objective)
    # An original that has reached its goal gets no direction, and stays as it is.
    direction = along(gradient, threat) * ~(margin > 0).view(-1, 1, 1, 1)
    return smallest_step(
        Line(x, direction, threat),
        Oracle(model, objective),
        first_step=first_step,
        max_steps=DOUBLINGS,
        max_bisections=DOUBLINGS,
        whole=True,
    )


def uphill(model: Handle, x: Tensor, objective: Objective) -> tuple[Tensor, Tensor]:
    """Return the margin (B,) beyond ``NOISE``, and the sign (B, C, H, W) of the training loss's gradient.

    The sign is reversed where the goal asks to descend the loss.
    """
    margin = torch.empty(len(x), device=x.device)

    def loss(outputs: Tensor) -> Tensor:  # (B,)
        margin.copy_(decisive(objective, outputs.detach()))
        own = objective.loss(outputs)
        return torch.where(objective.ascend, own, -own)

    _, gradient = model.gradient(x, loss)
    return margin, gradient.sign()
