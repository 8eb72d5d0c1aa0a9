"""Quadratic problems: the goal lies inside a ball, or outside it.

With u the offset from the ball's centre, the distance in L2 is the difference of ‖u‖ and the radius r. In
L-infinity a budget of t moves each component by t at most: one enters the ball where Σ max(|uᵢ| - t, 0)² = r²
and leaves it where Σ (|uᵢ| + t)² = r². Both sums are monotone in t. Seen through an embedding with orthogonal
rows of disjoint supports, component j moves by t times the sum of its row's weights at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from harness.goals import Evade, FlipAttribute, Goal, Impersonate, Untargeted
from harness.model import wrap_model
from harness.testing.problems.linear import Linear
from harness.testing.problems.problem import (
    EPS_LINF,
    REACHES,
    Problem,
    generator,
    greyish,
    inside,
    on_grid,
    uneven,
)

RADIUS = 0.08
"""Of a ball around an image, per square root of a component."""


class Balls(nn.Module):
    """Images (B, C, H, W) to scores (B, M), positive inside the ball of each."""

    def __init__(self, centres: Tensor, radius: float, gain: float) -> None:
        super().__init__()
        self.centres = nn.Parameter(centres.float())  # (M, C·H·W)
        self.radius = radius
        self.gain = gain

    def forward(self, x: Tensor) -> Tensor:
        squares = (x.flatten(1)[:, None] - self.centres).square().sum(2)  # (B, M)
        return self.gain * (self.radius**2 - squares)


class InsideOrOutside(Balls):
    """The same of one ball as two logits (B, 2): inside, outside."""

    def forward(self, x: Tensor) -> Tensor:
        score = super().forward(x)[:, :1]
        return torch.cat([score, -score], dim=1) / 2


def ball_scores(
    shape: tuple[int, int, int], reaches: Sequence[float] = REACHES, *, seed: int = 2, attributes: int = 4
) -> Problem:
    """Flip the score of one of several balls, from inside and from outside."""
    centres, x, columns, _, linf, l2 = _placed(shape, reaches, seed, attributes)
    model = wrap_model(Balls(centres, *_measures(shape)), "attributes")
    return Problem("balls", model, x.float().view(-1, *shape), FlipAttribute(columns), linf, l2)


def ball_classes(
    shape: tuple[int, int, int], reaches: Sequence[float] = REACHES, *, seed: int = 3
) -> Problem:
    """Leave the class of the images inside a ball, or that of those outside."""
    centres, x, _, entering, linf, l2 = _placed(shape, reaches, seed, 1)
    model = wrap_model(InsideOrOutside(centres, *_measures(shape)), "classes")
    return Problem("ball classes", model, x.float().view(-1, *shape), Untargeted(entering.long()), linf, l2)


def embedded_ball(
    shape: tuple[int, int, int],
    reaches: Sequence[float] = REACHES,
    *,
    towards: bool,
    seed: int = 4,
    dimensions: int = 8,
) -> Problem:
    """Come nearer than the threshold to an anchor of a linear embedding, or get away from it.

    Args:
        towards: impersonate, otherwise evade.
    """
    draws = generator(seed)
    components, cases = prod(shape), len(reaches)
    owner = torch.randperm(components, generator=draws) % dimensions  # each pixel feeds one dimension
    weight = torch.zeros(dimensions, components, dtype=torch.float64)
    weight[owner, torch.arange(components)] = uneven(components, draws=draws)
    weight = (weight / weight.norm(dim=1, keepdim=True)).float().double()
    bias = (-0.5 * weight.sum(1)).float().double()
    threshold = 0.08 * components**0.5
    x = on_grid(greyish(cases, components, draws=draws))
    gap = torch.tensor(reaches, dtype=torch.float64) * EPS_LINF * components**0.5 * 0.9
    offset = uneven(cases, dimensions, draws=draws)  # (B, D) from the anchor to the image
    offset *= ((threshold + (gap if towards else -gap)) / offset.norm(dim=1))[:, None]
    anchors = (x @ weight.T + bias - offset).float()
    offset = x @ weight.T + bias - anchors.double()
    reach = weight.abs().sum(1)  # (D,) by how much a dimension moves per unit of L-infinity
    linf, l2 = _distances(offset, threshold, reach, towards)
    toward_surface = (threshold / offset.norm(dim=1) - 1)[:, None] * offset
    inside(x + toward_surface @ weight, x + linf[:, None], x - linf[:, None])
    goal: Goal = Impersonate(anchors, threshold) if towards else Evade(anchors, threshold)
    model = wrap_model(Linear(weight, bias), "embedding", threshold=threshold)
    name = "impersonation" if towards else "evasion"
    return Problem(name, model, x.float().view(-1, *shape), goal, linf, l2)


def _measures(shape: tuple[int, int, int]) -> tuple[float, float]:
    """Radius and gain: scores are about 1 at a distance of ``EPS_LINF`` from the surface."""
    root = prod(shape) ** 0.5
    return RADIUS * root, 1 / (2 * RADIUS * root * EPS_LINF * root)


def _placed(
    shape: tuple[int, int, int], reaches: Sequence[float], seed: int, balls: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Centres (M, N), images (B, N), their balls (B,), whether they lie outside (B,), and both distances."""
    draws = generator(seed)
    components, cases = prod(shape), len(reaches)
    radius, _ = _measures(shape)
    centres = greyish(balls, components, draws=draws).float().double()
    columns = torch.arange(cases) % balls
    entering = torch.arange(cases) % 3 % 2 == 0
    gap = torch.tensor(reaches, dtype=torch.float64) * EPS_LINF * components**0.5
    offset = uneven(cases, components, draws=draws)
    offset *= ((radius + torch.where(entering, gap, -gap)) / offset.norm(dim=1))[:, None]
    x = on_grid(centres[columns] + offset)
    offset = x - centres[columns]
    even = torch.ones(components, dtype=torch.float64)
    linf, l2 = torch.empty(2, cases, dtype=torch.float64)
    for side in (True, False):
        linf[entering == side], l2[entering == side] = _distances(
            offset[entering == side], radius, even, side
        )
    inside(centres[columns] + offset * (radius / offset.norm(dim=1))[:, None])
    inside(x + linf[:, None] * offset.sign(), x - linf[:, None] * offset.sign())
    return centres, x, columns, entering, linf, l2


def _distances(offset: Tensor, radius: float, reach: Tensor, entering: bool) -> tuple[Tensor, Tensor]:
    """(B,) L-infinity and L2 distances from the surface of the ball for offsets (B, D) from its centre.

    Args:
        reach: (D,) by how much a component of the offset moves per unit of L-infinity.
    """
    size = offset.abs()

    def there(t: Tensor) -> Tensor:  # (B,) whether a budget of t crosses the surface
        moved = (size - t[:, None] * reach).clamp_min(0) if entering else size + t[:, None] * reach
        crossed: Tensor = (torch.linalg.vector_norm(moved, dim=1) < radius) == entering
        return crossed

    low, high = torch.zeros(2, len(offset), dtype=torch.float64)
    high += size.max() + radius
    for _ in range(100):
        middle = (low + high) / 2
        crossed = there(middle)
        low, high = torch.where(crossed, low, middle), torch.where(crossed, middle, high)
    lengths: Tensor = torch.linalg.vector_norm(offset, dim=1)
    return high, (lengths - radius).abs()
