"""Training images are mirrored, shifted, and partly replaced by noise: the part that an attack may change."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log

import numpy as np
import torch
from torch import Tensor

from harness_verification.face_crop import EDGE


@dataclass(frozen=True)
class Eraser:
    """An Eraser draws rectangles, each as a share of the image's area and a ratio of height to width."""

    share: float
    """The share of the images that have a rectangle."""
    area: tuple[float, float]
    """The smallest and largest area, as a share of the image; uniform."""
    aspect: tuple[float, float] = (0.5, 2.0)
    """The smallest and largest ratio of height to width; its logarithm is uniform."""

    def masks(self, random: np.random.Generator, count: int) -> Tensor:
        """Return masks (count, 1, 64, 64), true inside; those of images without a rectangle are empty."""
        masks = torch.zeros((count, 1, EDGE, EDGE), dtype=torch.bool)
        for place in np.flatnonzero(random.random(count) < self.share):
            area = random.uniform(*self.area) * EDGE * EDGE
            ratio = exp(random.uniform(log(self.aspect[0]), log(self.aspect[1])))
            height, width = (
                min(max(round(edge), 1), EDGE) for edge in ((area * ratio) ** 0.5, (area / ratio) ** 0.5)
            )
            top, left = random.integers(0, EDGE + 1 - height), random.integers(0, EDGE + 1 - width)
            masks[place, :, top : top + height, left : left + width] = True
        return masks


def moved(x: Tensor, random: np.random.Generator, *, shift: int, flip: bool = True) -> Tensor:
    """Return images (B, 3, 64, 64), a random half of them mirrored, each shifted by up to ``shift`` pixels.

    Pixels that come in from outside repeat the border.
    """
    count = len(x)
    offsets = torch.from_numpy(random.integers(-shift, shift + 1, (2, count)))
    mirrored = torch.from_numpy(random.random(count) < (0.5 if flip else 0.0))
    places = torch.arange(EDGE)
    rows = (places + offsets[0][:, None]).clamp(0, EDGE - 1).to(x.device)  # (B, 64)
    columns = torch.where(mirrored[:, None], places.flip(0), places)
    columns = (columns + offsets[1][:, None]).clamp(0, EDGE - 1).to(x.device)
    images = torch.arange(count, device=x.device)[:, None, None]
    return x.permute(0, 2, 3, 1)[images, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def filled(x: Tensor, masks: Tensor, random: np.random.Generator) -> Tensor:
    """Return images (B, 3, 64, 64) with uniform noise inside their masks (B, 1, 64, 64)."""
    noise = torch.from_numpy(random.random(x.shape, dtype=np.float32)).to(x.device)
    return torch.where(masks.to(x.device), noise, x)
