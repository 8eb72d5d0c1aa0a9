"""These are the changes that Square Attack tries: stripes and squares in L-infinity, moved mass in L2.

Section and algorithm numbers are those of Andriushchenko et al. 2020, https://arxiv.org/abs/1912.00049.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.randomness import CaseRandom
from harness.threat import Threat, l2

TILES = 5
"""The start in L2 has so many tiles along the shorter side."""
NARROWEST = 3
"""The least side, in pixels, of a window in L2."""


@dataclass(frozen=True, eq=False)
class Places:
    """Places says where the squares of some cases may lie: anywhere, or around the pixels of a mask."""

    height: int
    width: int
    pixels: Tensor | None  # (A, H * W) pixel numbers, those of the mask first
    count: Tensor | None  # (A,) how many of them are of the mask

    @classmethod
    def of(cls, x: Tensor, threat: Threat) -> Places:
        """Return the places in images (A, C, H, W)."""
        height, width = x.shape[2:]
        if threat.mask is None:
            return cls(height, width, None, None)
        flat = threat.mask.to(x.device).expand(len(x), 1, height, width).flatten(1)
        pixels = flat.to(torch.uint8).argsort(dim=1, descending=True, stable=True)
        return cls(height, width, pixels, flat.sum(1))

    def take(self, rows: Tensor) -> Places:
        """Return the places of some rows (K,)."""
        if self.pixels is None or self.count is None:
            return self
        return Places(self.height, self.width, self.pixels[rows], self.count[rows])

    def corner(self, drawn: Tensor, side: int) -> tuple[Tensor, Tensor]:
        """Return the top rows and left columns (A,) of squares, by two numbers (A, 2) from 0 to 1."""
        below, right = self.height - side, self.width - side
        if self.pixels is None or self.count is None:
            top, left = (drawn * torch.tensor([below + 1, right + 1]).to(drawn)).long().unbind(1)
        else:
            at = (drawn[:, 0] * self.count).long()[:, None]
            middle = self.pixels.gather(1, at.clamp_max(self.pixels.shape[1] - 1))[:, 0]
            top, left = middle // self.width - side // 2, middle % self.width - side // 2
        return top.clamp(0, below), left.clamp(0, right)

    def window(self, corner: tuple[Tensor, Tensor], side: int) -> Tensor:
        """Return the pixel numbers (A, side * side) of squares."""
        top, left = corner
        along = torch.arange(side, device=top.device)
        rows, columns = top[:, None] + along, left[:, None] + along
        return (rows[:, :, None] * self.width + columns[:, None, :]).flatten(1)


@dataclass(frozen=True, eq=False)
class Draws:
    """Draws are the random numbers, from 0 to 1, of one query of some cases."""

    numbers: Tensor  # (A, N)

    @staticmethod
    def count(channels: int) -> int:
        """Return how many numbers a query needs."""
        return 2 + 2 + 1 + channels

    @property
    def first(self) -> Tensor:
        """Return (A, 2) the place of the first square."""
        return self.numbers[:, :2]

    @property
    def second(self) -> Tensor:
        """Return (A, 2) the place of the second square."""
        return self.numbers[:, 2:4]

    @property
    def coin(self) -> Tensor:
        """Return (A,) bool."""
        return self.numbers[:, 4] < 0.5

    @property
    def signs(self) -> Tensor:
        """Return (A, C) of -1 or +1."""
        return signs(self.numbers[:, 5:])


def signs(drawn: Tensor) -> Tensor:
    """Return -1 or +1 for numbers from 0 to 1."""
    return torch.where(drawn < 0.5, -1.0, 1.0).to(drawn)


def stripes(x: Tensor, threat: Threat, rng: CaseRandom) -> Tensor:
    """Return images (A, C, H, W) with vertical stripes of +eps or -eps (section 3.3)."""
    drawn = signs(rng.uniform((x.shape[1], 1, x.shape[3])).to(x))
    return threat.project(x + (threat.eps or 0.0) * drawn, x)


def corners(x: Tensor, x_adv: Tensor, threat: Threat, places: Places, draws: Draws, side: int) -> Tensor:
    """Return images (A, C, H, W) with +eps or -eps in a square, one sign per channel (algorithm 2)."""
    spots = places.window(places.corner(draws.first, side), side)[:, None].expand(-1, x.shape[1], -1)
    inside = torch.zeros_like(x).flatten(2).scatter(2, spots, draws.signs[:, :, None].expand(spots.shape))
    inside = inside.view_as(x)
    changed = torch.where(inside != 0, x + (threat.eps or 0.0) * inside, x_adv)
    return threat.project(changed, x)


def tiles(x: Tensor, threat: Threat, rng: CaseRandom) -> Tensor:
    """Return images (A, C, H, W) with a tile of ``bump`` everywhere, of length eps in all (section 3.4)."""
    height, width = x.shape[2:]
    side = min(max(min(height, width) // TILES, NARROWEST), height, width)
    down, across = height // side, width // side
    drawn = signs(rng.uniform((x.shape[1], down, across)).to(x))  # (A, C, down, across)
    one = torch.from_numpy(bump(side)).to(x)
    tiled = torch.einsum("acij,hw->acihjw", drawn, one).reshape(len(x), -1, down * side, across * side)
    delta = torch.zeros_like(x)
    top, left = (height - down * side) // 2, (width - across * side) // 2
    delta[:, :, top : top + down * side, left : left + across * side] = tiled
    return _stretched(x, delta, threat)


def moved_mass(x: Tensor, x_adv: Tensor, threat: Threat, places: Places, draws: Draws, side: int) -> Tensor:
    """Return images (A, C, H, W) in which the change of one window has gone to another (algorithm 3).

    The first window also gets what is left of the budget; its shape is that of its old change and a bump.
    """
    side = window_side(side, *x.shape[2:])
    channels, eps = x.shape[1], threat.eps or 0.0
    delta = (x_adv - x).flatten(2)  # (A, C, H * W)
    spots = [places.window(places.corner(drawn, side), side) for drawn in (draws.first, draws.second)]
    target, source = (one[:, None].expand(-1, channels, -1) for one in spots)
    either = torch.zeros_like(delta).scatter(2, target, 1.0).scatter(2, source, 1.0)
    mass = (delta * either).square().sum(2, keepdim=True)  # (A, C, 1)
    unused = (eps**2 - delta.square().sum((1, 2))).clamp_min(0).view(-1, 1, 1) / channels
    old = delta.gather(2, target)
    one = torch.from_numpy(bump(side)).to(x)
    shape = torch.where(draws.coin[:, None, None], one.T, one).flatten(1)[:, None]  # (A, 1, side * side)
    new = shape * draws.signs[:, :, None] + old / old.norm(dim=2, keepdim=True).clamp_min(1e-12)
    new = new / new.norm(dim=2, keepdim=True).clamp_min(1e-12) * (unused + mass).sqrt()
    delta = delta.scatter(2, source, 0.0).scatter(2, target, new)
    return _stretched(x, delta.view_as(x), threat)


def window_side(side: int, height: int, width: int) -> int:
    """Return the side of a window in L2: odd, at least three pixels, and inside the image."""
    side = min(max(side, NARROWEST) | 1, height, width)
    return side if side % 2 else max(side - 1, 1)


def _stretched(x: Tensor, delta: Tensor, threat: Threat) -> Tensor:
    """Return the images (A, C, H, W) with a change of length eps before they are clipped to [0, 1]."""
    if threat.mask is not None:
        delta = delta * threat.mask.to(delta)
    scale = (threat.eps or 0.0) / l2(delta).clamp_min(1e-12)
    return threat.project(x + delta * scale.view(-1, 1, 1, 1), x)


@cache
def bump(side: int) -> npt.NDArray[np.float32]:
    """Return (side, side) of length 1: a hill in the upper half, and a valley in the lower (section 3.4)."""
    if side == 1:
        return np.ones((1, 1), np.float32)
    upper = side // 2
    both = np.concatenate([_hill(upper, side), -_hill(side - upper, side)])
    return np.asarray(both / np.linalg.norm(both), np.float32)


def _hill(height: int, width: int) -> npt.NDArray[np.float64]:
    """Return (height, width) of length 1: nested squares whose heights fall as 1 / k^2."""
    hill = np.zeros((height, width))
    top, left = height // 2, width // 2
    for ring in range(max(height, width) // 2 + 1):
        first, last = slice(max(top - ring, 0), top + ring + 1), slice(max(left - ring, 0), left + ring + 1)
        hill[first, last] += 1 / (ring + 1) ** 2
    return hill / np.linalg.norm(hill)
