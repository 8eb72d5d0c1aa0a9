"""In rugged problems, every pixel has optima of its own inside the budget, and gradients grow on the way.

On a linear problem an attack ends in the same corner wherever it starts, whatever the scale of its gradients.
Here the start and the scale of each step decide where it ends: that shows random numbers and statistics that
cases share. No smallest distance is known.
"""

from __future__ import annotations

from math import prod
from typing import cast

import torch
from torch import Tensor, nn

from harness.goals import FlipAttribute, Goal, Impersonate, Untargeted
from harness.model import wrap_model
from harness.specs import HeadKind
from harness.testing.problems.problem import Problem, generator, near_grey, on_grid

FREQUENCY = 60.0
"""Half a wave is about as long as the usual budget is wide."""
HEIGHT = 0.2
"""The size of the waves: an attack can move the sum of all of them by a few units."""
LEVELS = (2.0, -2.0, 0.5, -0.5)
"""What is added to the outputs, so that some goals are near and others far."""


class Rugged(nn.Module):
    """Rugged maps images (B, C, H, W) to outputs (B, M): sums of waves over the pixels, in an exponent.

    It computes in float64, so that no output depends on the order in which a batch is added up.
    """

    def __init__(self, phases: Tensor, sizes: Tensor) -> None:
        super().__init__()
        self.register_buffer("phases", phases)  # (M, C·H·W) float64
        self.register_buffer("sizes", sizes)  # (M, C·H·W) float64
        self.register_buffer("levels", torch.tensor(LEVELS, dtype=torch.float64))  # (M,)

    phases: Tensor
    sizes: Tensor
    levels: Tensor

    def forward(self, x: Tensor) -> Tensor:
        waves = (FREQUENCY * x.flatten(1).double()[:, None] + self.phases).sin() * self.sizes
        return torch.expm1(waves.sum(2) + self.levels).float()


def rugged(shape: tuple[int, int, int], head: str, *, seed: int = 8, cases: int = 4) -> Problem:
    """Return a problem of a head, with goals that are near for some cases and far for others."""
    random = generator(seed)
    components = prod(shape)
    phases = 6.3 * torch.rand(len(LEVELS), components, generator=random, dtype=torch.float64)
    sizes = HEIGHT / components**0.5 * (0.3 + 1.4 * torch.rand(phases.shape, generator=random).double())
    x = on_grid(near_grey(cases, components, random=random)).float().view(-1, *shape)
    model = wrap_model(
        Rugged(phases, sizes), cast(HeadKind, head), threshold=1.0 if head == "embedding" else None
    )
    outputs = model.scores(x)
    goal: Goal
    if head == "attributes":
        goal = FlipAttribute(torch.arange(cases) % len(LEVELS))
    elif head == "classes":
        goal = Untargeted(outputs.argmax(1))
    else:
        wanted = outputs.roll(1, 1)  # levels of the others: some near, some far
        goal = Impersonate(wanted, float((wanted - outputs).norm(dim=1).min()) / 2)
    unknown = torch.full((cases,), torch.nan, dtype=torch.float64)
    return Problem("waves", model, x, goal, unknown, unknown)
