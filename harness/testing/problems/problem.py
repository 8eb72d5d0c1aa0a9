"""A Problem is a model, images and a goal for which the smallest distance is known in closed form."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from harness.goals import Goal
from harness.model import Model
from harness.threat import GREY_LEVELS, Threat

EPS_LINF = 8 / GREY_LEVELS
"""The usual budget; the distances of the cases lie around it."""
DISTANCES = (0.25, 0.4, 0.6, 0.8, 1.2, 1.3, 1.5, 1.7)
"""The distances of the cases in units of ``EPS_LINF``; half of the goals lie beyond it."""


@dataclass(frozen=True, eq=False)
class Problem:
    """A Problem has images at known distances from the nearest images that reach their goals."""

    name: str
    model: Model
    x: Tensor  # (B, C, H, W) float32 on the 8-bit grid
    goal: Goal
    linf: Tensor  # (B,) float64: no nearer image reaches the goal; one just beyond this distance does
    l2: Tensor  # (B,) float64
    keys: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if not self.keys:
            object.__setattr__(self, "keys", tuple(f"case {row}" for row in range(len(self.x))))

    def __len__(self) -> int:
        return len(self.x)

    def part(self, rows: slice) -> Problem:
        """Return some of the cases."""
        return replace(
            self,
            x=self.x[rows],
            goal=self.goal.part(rows),
            linf=self.linf[rows],
            l2=self.l2[rows],
            keys=self.keys[rows],
        )

    def distance(self, norm: str | None) -> Tensor:
        """Return (B,) the smallest distances in a norm."""
        return self.l2 if norm == "l2" else self.linf


def eps_of(norm: str, shape: tuple[int, ...]) -> float:
    """Return the usual budget in a norm; in L2 it is that of a change by ``EPS_LINF`` everywhere."""
    components = shape[0] * shape[1] * shape[2]
    return EPS_LINF if norm == "linf" else EPS_LINF * components**0.5


def on_grid(x: Tensor) -> Tensor:
    """Return images (B, ...) rounded as a trial rounds them, in float64."""
    return Threat().round(x.float()).double()


def require_inside(*images: Tensor) -> None:
    """Require images inside [0, 1], because the closed forms hold only without that restriction.

    Raises:
        ValueError: an image leaves the valid pixel range; change the constants of the problem.
    """
    for image in images:
        if not (image.min() > 0 and image.max() < 1):
            raise ValueError("the nearest image that reaches its goal lies outside [0, 1]")


def uneven_weights(*shape: int, random: torch.Generator) -> Tensor:
    """Return float64 weights of either sign, with absolute values between 0.3 and 1.7.

    They differ so much that the best directions of L2 and L-infinity differ by more than any tolerance, and
    so little that steps along both stay inside [0, 1].
    """
    size = 0.3 + 1.4 * torch.rand(*shape, generator=random, dtype=torch.float64)
    return torch.where(torch.rand(*shape, generator=random) < 0.5, -size, size)


def near_grey(*shape: int, random: torch.Generator) -> Tensor:
    """Return float64 images within 0.05 of grey."""
    return 0.45 + 0.1 * torch.rand(*shape, generator=random, dtype=torch.float64)


def generator(seed: int) -> torch.Generator:
    """Return a generator whose numbers are the same in every process."""
    return torch.Generator().manual_seed(seed)
