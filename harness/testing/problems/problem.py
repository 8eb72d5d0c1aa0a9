"""Problem: a model, images and a goal of which the smallest distance is known in closed form."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from harness.goals import Goal
from harness.model import Model
from harness.threat import GREY_LEVELS, Threat

EPS_LINF = 8 / GREY_LEVELS
"""The usual budget; cases lie around it."""
REACHES = (0.25, 0.4, 0.6, 0.8, 1.2, 1.3, 1.5, 1.7)
"""Distances of the cases in units of ``EPS_LINF``: one half is out of its reach."""


@dataclass(frozen=True, eq=False)
class Problem:
    """Images that lie at known distances from where their goals are reached."""

    name: str
    model: Model
    x: Tensor  # (B, C, H, W) float32 on the 8-bit grid
    goal: Goal
    linf: Tensor  # (B,) float64: no image nearer than this reaches the goal, and one at it all but does
    l2: Tensor  # (B,) float64
    keys: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if not self.keys:
            object.__setattr__(self, "keys", tuple(f"case {row}" for row in range(len(self.x))))

    def __len__(self) -> int:
        return len(self.x)

    def part(self, rows: slice) -> Problem:
        """Some of the cases."""
        return replace(
            self,
            x=self.x[rows],
            goal=self.goal.part(rows),
            linf=self.linf[rows],
            l2=self.l2[rows],
            keys=self.keys[rows],
        )

    def distance(self, norm: str | None) -> Tensor:
        """(B,) the smallest distance in a norm."""
        return self.l2 if norm == "l2" else self.linf


def eps_of(norm: str, shape: tuple[int, ...]) -> float:
    """A budget that is as large in either norm, for perturbations that are spread over the image."""
    components = shape[0] * shape[1] * shape[2]
    return EPS_LINF if norm == "linf" else EPS_LINF * components**0.5


def on_grid(x: Tensor) -> Tensor:
    """Images (B, ...) rounded as a trial rounds them, float64."""
    return Threat().round(x.float()).double()


def inside(*images: Tensor) -> None:
    """Closed forms know no box: the nearest images that reach the goals must lie in it.

    Raises:
        ValueError: they do not; the problem's numbers must be chosen otherwise.
    """
    for image in images:
        if not (image.min() > 0 and image.max() < 1):
            raise ValueError("the nearest image that reaches its goal lies outside [0, 1]")


def uneven(*shape: int, draws: torch.Generator) -> Tensor:
    """Weights of either sign and sizes between 0.3 and 1.7, float64.

    They are so uneven that the best directions of L2 and L-infinity differ by more than any tolerance, and
    even enough for steps along both to stay in the box.
    """
    size = 0.3 + 1.4 * torch.rand(*shape, generator=draws, dtype=torch.float64)
    return torch.where(torch.rand(*shape, generator=draws) < 0.5, -size, size)


def greyish(*shape: int, draws: torch.Generator) -> Tensor:
    """Images within 0.05 of grey, float64."""
    return 0.45 + 0.1 * torch.rand(*shape, generator=draws, dtype=torch.float64)


def generator(seed: int) -> torch.Generator:
    """Draws that are the same in every process."""
    return torch.Generator().manual_seed(seed)
