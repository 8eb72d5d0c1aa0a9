"""In linear problems, the goal is reached behind a hyperplane, or behind the nearest of several.

A score w·x + b changes its sign at the distance |w·x + b| / ‖w‖, where ‖w‖ is the dual norm: ‖w‖₂ in L2, ‖w‖₁
in L-infinity. The decision for a class changes behind the nearest hyperplane between it and another class.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from harness.goals import FlipAttribute, Untargeted
from harness.model import wrap_model
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

FAR = (6.4, 6.8, 7.2, 7.6, 8.0, 8.2, 8.4, 8.5)
"""Distances, in units of ``EPS_LINF``, of which a whole 8-bit level is less than 2 %."""


class Linear(nn.Module):
    """Linear maps images (B, C, H, W) to outputs (B, M) that are linear in the pixels."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.float())  # (M, C·H·W)
        self.bias = nn.Parameter(bias.float())  # (M,)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x.flatten(1), self.weight, self.bias)


def linear_scores(
    shape: tuple[int, int, int],
    distances: Sequence[float] = DISTANCES,
    *,
    seed: int = 0,
    attributes: int = 4,
    one_way: bool = False,
) -> Problem:
    """Return a problem with linear attribute scores to flip, which are 1 at a distance of ``EPS_LINF``.

    Args:
        distances: the distance of each case in units of ``EPS_LINF``.
        one_way: all attributes are present, so that all cases of one attribute need the same change.
    """
    random = generator(seed)
    cases = len(distances)
    weight = uneven_weights(attributes, prod(shape), random=random)
    weight = (weight / (weight.abs().sum(1, keepdim=True) * EPS_LINF)).float().double()
    bias = (-0.5 * weight.sum(1)).float().double()  # grey lies on every boundary
    columns = torch.arange(cases) % attributes
    normal = weight[columns]  # (B, N)
    x = near_grey(cases, prod(shape), random=random)
    score = (normal * x).sum(1) + bias[columns]
    wanted = torch.tensor(distances, dtype=torch.float64)
    wanted = wanted if one_way else wanted * _alternating(cases)
    x = on_grid(x + (wanted - score)[:, None] * EPS_LINF * normal.sign())
    score = (normal * x).sum(1) + bias[columns]  # the score after rounding
    linf, l2 = score.abs() / normal.abs().sum(1), score.abs() / normal.norm(dim=1)
    side = score.sign()[:, None]
    require_inside(x - side * linf[:, None] * normal.sign(), x - side * l2[:, None] * _unit(normal))
    model = wrap_model(Linear(weight, bias), "attributes")
    return Problem("linear scores", model, x.float().view(-1, *shape), FlipAttribute(columns), linf, l2)


def linear_classes(
    shape: tuple[int, int, int], distances: Sequence[float] = DISTANCES, *, seed: int = 1, classes: int = 4
) -> Problem:
    """Return a problem with linear logits, in which the true class is to be left."""
    random = generator(seed)
    cases = len(distances)
    weight = uneven_weights(classes, prod(shape), random=random)
    weight = (weight / (weight.abs().sum(1, keepdim=True) * EPS_LINF)).float().double()
    bias = (-0.5 * weight.sum(1)).float().double()
    labels = torch.arange(cases) % classes
    others = torch.tensor([[other for other in range(classes) if other != label] for label in labels])
    normals = weight[labels][:, None] - weight[others]  # (B, K - 1, N): towards the true class
    offsets = bias[labels][:, None] - bias[others]  # (B, K - 1)
    width = normals.abs().sum(2)
    x = near_grey(cases, prod(shape), random=random)
    away = normals.mean(1).sign()  # (B, N)
    lead = torch.einsum("bkn,bn->bk", normals, x) + offsets
    wanted = torch.tensor(distances, dtype=torch.float64)[:, None] * EPS_LINF * width
    # Every lead grows along ``away``, so the largest step that any lead needs is enough for all of them.
    step = ((wanted - lead) / torch.einsum("bkn,bn->bk", normals, away)).amax(1)
    x = on_grid(x + step[:, None] * away)
    lead = torch.einsum("bkn,bn->bk", normals, x) + offsets
    linf, nearest_linf = (lead / width).min(1)
    l2, nearest_l2 = (lead / normals.norm(dim=2)).min(1)
    rows = torch.arange(cases)
    require_inside(x - linf[:, None] * normals[rows, nearest_linf].sign())
    require_inside(x - l2[:, None] * _unit(normals[rows, nearest_l2]))
    model = wrap_model(Linear(weight, bias), "classes")
    return Problem("linear classes", model, x.float().view(-1, *shape), Untargeted(labels), linf, l2)


def _alternating(cases: int) -> Tensor:
    """Return (B,) signs -1 and +1, mixed so that each attribute has both."""
    return 1.0 - 2.0 * (torch.arange(cases) % 3 % 2).double()


def _unit(vectors: Tensor) -> Tensor:
    lengths: Tensor = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return vectors / lengths
