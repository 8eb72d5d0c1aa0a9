"""Linear problems: the goal lies behind a hyperplane, or the nearest of several.

A score w·x + b changes its sign at the distance |w·x + b| / ‖w‖ of the dual norm: ‖w‖₂ in L2, ‖w‖₁ in
L-infinity. A class is left behind the nearest of the hyperplanes between it and another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from harness.goals import FlipAttribute, Untargeted
from harness.model import wrap_model
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

FAR = (6.4, 6.8, 7.2, 7.6, 8.0, 8.2, 8.4, 8.5)
"""In units of ``EPS_LINF``: so far that a whole grey level is less than 2 % of it."""


class Linear(nn.Module):
    """Images (B, C, H, W) to outputs (B, M), linear in the pixels."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.float())  # (M, C·H·W)
        self.bias = nn.Parameter(bias.float())  # (M,)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x.flatten(1), self.weight, self.bias)


def linear_scores(
    shape: tuple[int, int, int],
    reaches: Sequence[float] = REACHES,
    *,
    seed: int = 0,
    attributes: int = 4,
    one_way: bool = False,
) -> Problem:
    """Flip one of several linear attribute scores; scores are 1 at a distance of ``EPS_LINF``.

    Args:
        reaches: distance of each case in units of ``EPS_LINF``.
        one_way: all attributes are present, so that all cases of one want the same change.
    """
    draws = generator(seed)
    cases = len(reaches)
    weight = uneven(attributes, prod(shape), draws=draws)
    weight = (weight / (weight.abs().sum(1, keepdim=True) * EPS_LINF)).float().double()
    bias = (-0.5 * weight.sum(1)).float().double()  # grey lies on every boundary
    columns = torch.arange(cases) % attributes
    normal = weight[columns]  # (B, N)
    x = greyish(cases, prod(shape), draws=draws)
    score = (normal * x).sum(1) + bias[columns]
    wanted = torch.tensor(reaches, dtype=torch.float64)
    wanted = wanted if one_way else wanted * _signs(cases)
    x = on_grid(x + (wanted - score)[:, None] * EPS_LINF * normal.sign())
    score = (normal * x).sum(1) + bias[columns]  # as it is after rounding
    linf, l2 = score.abs() / normal.abs().sum(1), score.abs() / normal.norm(dim=1)
    side = score.sign()[:, None]
    inside(x - side * linf[:, None] * normal.sign(), x - side * l2[:, None] * _unit(normal))
    model = wrap_model(Linear(weight, bias), "attributes")
    return Problem("linear scores", model, x.float().view(-1, *shape), FlipAttribute(columns), linf, l2)


def linear_classes(
    shape: tuple[int, int, int], reaches: Sequence[float] = REACHES, *, seed: int = 1, classes: int = 4
) -> Problem:
    """Leave the true one of several classes with linear logits."""
    draws = generator(seed)
    cases = len(reaches)
    weight = uneven(classes, prod(shape), draws=draws)
    weight = (weight / (weight.abs().sum(1, keepdim=True) * EPS_LINF)).float().double()
    bias = (-0.5 * weight.sum(1)).float().double()
    labels = torch.arange(cases) % classes
    others = torch.tensor([[other for other in range(classes) if other != label] for label in labels])
    normals = weight[labels][:, None] - weight[others]  # (B, K - 1, N): towards the true class
    offsets = bias[labels][:, None] - bias[others]  # (B, K - 1)
    width = normals.abs().sum(2)
    x = greyish(cases, prod(shape), draws=draws)
    away = normals.mean(1).sign()  # (B, N)
    lead = torch.einsum("bkn,bn->bk", normals, x) + offsets
    wanted = torch.tensor(reaches, dtype=torch.float64)[:, None] * EPS_LINF * width
    # Every lead grows along ``away``: the largest of the steps that the leads need gives all at least theirs.
    step = ((wanted - lead) / torch.einsum("bkn,bn->bk", normals, away)).amax(1)
    x = on_grid(x + step[:, None] * away)
    lead = torch.einsum("bkn,bn->bk", normals, x) + offsets
    linf, nearest_linf = (lead / width).min(1)
    l2, nearest_l2 = (lead / normals.norm(dim=2)).min(1)
    rows = torch.arange(cases)
    inside(x - linf[:, None] * normals[rows, nearest_linf].sign())
    inside(x - l2[:, None] * _unit(normals[rows, nearest_l2]))
    model = wrap_model(Linear(weight, bias), "classes")
    return Problem("linear classes", model, x.float().view(-1, *shape), Untargeted(labels), linf, l2)


def _signs(cases: int) -> Tensor:
    """(B,) -1 and +1, whatever the attribute's turn."""
    return 1.0 - 2.0 * (torch.arange(cases) % 3 % 2).double()


def _unit(vectors: Tensor) -> Tensor:
    lengths: Tensor = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return vectors / lengths
