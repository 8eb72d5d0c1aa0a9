"""In quadratic problems, the goal is reached inside a ball, or outside it.

If u is the offset from the ball's centre, the distance in L2 is the difference of ‖u‖ and the radius r. In
L-infinity a budget of t moves each component by at most t: the ball is entered where Σ max(|uᵢ| - t, 0)² = r²
and left where Σ (|uᵢ| + t)² = r². Both sums are monotone in t. In an embedding with orthogonal rows of
disjoint supports, component j moves by at most t times the sum of its row's absolute weights.
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
    DISTANCES,
    EPS_LINF,
    Problem,
    generator,
    near_grey,
    on_grid,
    require_inside,
    uneven_weights,
)

RADIUS = 0.08
"""The radius of a ball, divided by the square root of the number of components."""


class Balls(nn.Module):
    """Balls maps images (B, C, H, W) to scores (B, M), each positive inside its ball."""

    def __init__(self, centres: Tensor, radius: float, gain: float) -> None:
        super().__init__()
        self.centres = nn.Parameter(centres.float())  # (M, C·H·W)
        self.radius = radius
        self.gain = gain

    def forward(self, x: Tensor) -> Tensor:
        squares = (x.flatten(1)[:, None] - self.centres).square().sum(2)  # (B, M)
        return self.gain * (self.radius**2 - squares)


class InsideOrOutside(Balls):
    """InsideOrOutside returns the score of one ball as two logits (B, 2): inside, outside."""

    def forward(self, x: Tensor) -> Tensor:
        score = super().forward(x)[:, :1]
        return torch.cat([score, -score], dim=1) / 2


def quadratic_scores(
    shape: tuple[int, int, int], distances: Sequence[float] = DISTANCES, *, seed: int = 2, attributes: int = 4
) -> Problem:
    """Return a problem in which scores of several balls are to be flipped, from inside and from outside."""
    centres, x, columns, _, linf, l2 = _placed(shape, distances, seed, attributes)
    model = wrap_model(Balls(centres, *_radius_and_gain(shape)), "attributes")
    return Problem("balls", model, x.float().view(-1, *shape), FlipAttribute(columns), linf, l2)


def quadratic_classes(
    shape: tuple[int, int, int], distances: Sequence[float] = DISTANCES, *, seed: int = 3
) -> Problem:
    """Return a problem whose two classes are the images inside a ball and those outside; leave the class."""
    centres, x, _, entering, linf, l2 = _placed(shape, distances, seed, 1)
    model = wrap_model(InsideOrOutside(centres, *_radius_and_gain(shape)), "classes")
    return Problem("ball classes", model, x.float().view(-1, *shape), Untargeted(entering.long()), linf, l2)


def quadratic_embedding(
    shape: tuple[int, int, int],
    distances: Sequence[float] = DISTANCES,
    *,
    towards: bool,
    seed: int = 4,
    dimensions: int = 8,
) -> Problem:
    """Return a problem of impersonation, or of evasion, with a linear embedding.

    Args:
        towards: True for impersonation, False for evasion.
    """
    random = generator(seed)
    components, cases = prod(shape), len(distances)
    owner = torch.randperm(components, generator=random) % dimensions  # each pixel feeds one dimension
    weight = torch.zeros(dimensions, components, dtype=torch.float64)
    weight[owner, torch.arange(components)] = uneven_weights(components, random=random)
    weight = (weight / weight.norm(dim=1, keepdim=True)).float().double()
    bias = (-0.5 * weight.sum(1)).float().double()
    threshold = 0.08 * components**0.5
    x = on_grid(near_grey(cases, components, random=random))
    gap = torch.tensor(distances, dtype=torch.float64) * EPS_LINF * components**0.5 * 0.9
    offset = uneven_weights(cases, dimensions, random=random)  # (B, D) from the anchor to the image
    offset *= ((threshold + (gap if towards else -gap)) / offset.norm(dim=1))[:, None]
    anchors = (x @ weight.T + bias - offset).float()
    offset = x @ weight.T + bias - anchors.double()
    largest = weight.abs().sum(1)  # (D,) the largest change of a dimension per unit of L-infinity
    linf, l2 = _distances(offset, threshold, largest, towards)
    toward_surface = (threshold / offset.norm(dim=1) - 1)[:, None] * offset
    require_inside(x + toward_surface @ weight, x + linf[:, None], x - linf[:, None])
    goal: Goal = Impersonate(anchors, threshold) if towards else Evade(anchors, threshold)
    model = wrap_model(Linear(weight, bias), "embedding", threshold=threshold)
    name = "impersonation" if towards else "evasion"
    return Problem(name, model, x.float().view(-1, *shape), goal, linf, l2)


def _radius_and_gain(shape: tuple[int, int, int]) -> tuple[float, float]:
    """Return radius and gain, such that scores are about 1 at a distance of ``EPS_LINF`` from the surface."""
    root = prod(shape) ** 0.5
    return RADIUS * root, 1 / (2 * RADIUS * root * EPS_LINF * root)


def _placed(
    shape: tuple[int, int, int], distances: Sequence[float], seed: int, balls: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return centres (M, N), images (B, N), balls (B,), whether images lie outside (B,), both distances."""
    random = generator(seed)
    components, cases = prod(shape), len(distances)
    radius, _ = _radius_and_gain(shape)
    centres = near_grey(balls, components, random=random).float().double()
    columns = torch.arange(cases) % balls
    entering = torch.arange(cases) % 3 % 2 == 0
    gap = torch.tensor(distances, dtype=torch.float64) * EPS_LINF * components**0.5
    offset = uneven_weights(cases, components, random=random)
    offset *= ((radius + torch.where(entering, gap, -gap)) / offset.norm(dim=1))[:, None]
    x = on_grid(centres[columns] + offset)
    offset = x - centres[columns]
    even = torch.ones(components, dtype=torch.float64)
    linf, l2 = torch.empty(2, cases, dtype=torch.float64)
    for side in (True, False):
        linf[entering == side], l2[entering == side] = _distances(
            offset[entering == side], radius, even, side
        )
    require_inside(centres[columns] + offset * (radius / offset.norm(dim=1))[:, None])
    require_inside(x + linf[:, None] * offset.sign(), x - linf[:, None] * offset.sign())
    return centres, x, columns, entering, linf, l2


def _distances(offset: Tensor, radius: float, largest: Tensor, entering: bool) -> tuple[Tensor, Tensor]:
    """Return (B,) L-infinity and L2 distances from the ball's surface of offsets (B, D) from its centre.

    Args:
        largest: (D,) the largest change of a component of the offset per unit of L-infinity.
    """
    size = offset.abs()

    def there(t: Tensor) -> Tensor:  # (B,) whether a budget of t crosses the surface
        moved = (size - t[:, None] * largest).clamp_min(0) if entering else size + t[:, None] * largest
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
