"""Views are what SimCLR makes of images (Chen et al. 2020): cut, mirrored, recoloured and blurred in batches.

Random numbers are drawn on the CPU, per step of a training, and the images are changed on their device, all
of a batch together. Brightness, contrast, saturation and hue change in this order; SimCLR draws an order.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, pi
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

Share = Annotated[float, Ge(0), Le(1)]
GREY = (0.299, 0.587, 0.114)
"""The weights of red, green and blue in a grey level (ITU-R BT.601)."""
RATIO = (3 / 4, 4 / 3)
"""The smallest and largest ratio of width to height of a cut-out."""


@dataclass(frozen=True, kw_only=True)
class ViewRecipe:
    """A ViewRecipe says how views are drawn; the defaults are SimCLR's, which the paper does not state."""

    crop_scale: tuple[float, float] = (0.1, 1.0)
    """The smallest and largest share of the image's area that is cut out, and resized to its size."""
    flip: bool = True
    """Whether a random half of the views is mirrored."""
    jitter_share: Share = 0.8
    """The share of views that are recoloured."""
    jitter: Annotated[float, Ge(0), Le(1)] = 0.4
    """The largest change of brightness, contrast and saturation, as a share."""
    hue: Annotated[float, Ge(0), Le(0.5)] = 0.1
    """The largest change of hue, as a share of the colour circle."""
    grey_share: Share = 0.2
    """The share of views without colour."""
    blur_share: Share = 0.5
    """The share of views that are blurred."""
    blur_sigma: tuple[Annotated[float, Gt(0)], Annotated[float, Gt(0)]] = (0.1, 2.0)
    """The smallest and largest σ of the Gaussian, in pixels of an image of ``blur_edge`` pixels."""

    def draw(self, random: np.random.Generator, count: int) -> Draw:
        """Draw what is done to so many images."""

        def uniform(low: float, high: float) -> Tensor:
            return torch.from_numpy(random.uniform(low, high, count)).float()

        def chosen(share: float) -> Tensor:
            return torch.from_numpy(random.random(count) < share)

        area = uniform(*self.crop_scale)
        ratio = uniform(log(RATIO[0]), log(RATIO[1])).exp()
        width, height = ((area * ratio).sqrt().clamp_max(1), (area / ratio).sqrt().clamp_max(1))
        centre = torch.stack(
            [(uniform(-1, 1) * (1 - edge)) for edge in (width, height)], 1
        )  # in [-1, 1], such that the cut-out stays inside
        recoloured = chosen(self.jitter_share)
        strength = [
            torch.where(recoloured, uniform(1 - self.jitter, 1 + self.jitter), torch.ones(count))
            for _ in range(3)
        ]
        turn = torch.where(recoloured, uniform(-self.hue, self.hue), torch.zeros(count))
        return Draw(
            centre=centre,
            size=torch.stack([width, height], 1),
            mirrored=chosen(0.5 if self.flip else 0.0),
            strengths=torch.stack(strength, 1),
            turn=turn,
            grey=chosen(self.grey_share),
            sigma=torch.where(chosen(self.blur_share), uniform(*self.blur_sigma), torch.zeros(count)),
        )


BLUR_EDGE = 224
"""The edge of the images that σ is stated for; smaller images are blurred by a smaller one."""


@dataclass(frozen=True, eq=False)
class Draw:
    """A Draw is what is done to each image of a batch: (B, ...) each."""

    centre: Tensor  # (B, 2) of the cut-out: x, y in [-1, 1]
    size: Tensor  # (B, 2) width and height, as shares of the image's
    mirrored: Tensor  # (B,) bool
    strengths: Tensor  # (B, 3) factors of brightness, contrast and saturation
    turn: Tensor  # (B,) of hue, as a share of the circle
    grey: Tensor  # (B,) bool
    sigma: Tensor  # (B,) of the blur; 0: none

    def of(self, x: Tensor) -> Tensor:
        """Return views (B, 3, H, W) in [0, 1] of images (B, 3, H, W) in [0, 1]."""
        x = self._cut(x)
        brightness, contrast, saturation = self.strengths.to(x.device).T.reshape(3, -1, 1, 1, 1)
        x = (x * brightness).clamp(0, 1)
        x = _mixed(x, grey_of(x).mean((2, 3), keepdim=True), contrast)
        x = _mixed(x, grey_of(x), saturation)
        x = turned(x, self.turn.to(x.device))
        x = torch.where(self.grey.to(x.device).view(-1, 1, 1, 1), grey_of(x).expand_as(x), x)
        return blurred(x, self.sigma.to(x.device) * x.shape[-1] / BLUR_EDGE)

    def _cut(self, x: Tensor) -> Tensor:
        sign = torch.where(self.mirrored, -1.0, 1.0)
        matrix = torch.zeros(len(x), 2, 3)
        matrix[:, 0, 0], matrix[:, 1, 1] = self.size[:, 0] * sign, self.size[:, 1]
        matrix[:, :, 2] = self.centre
        grid = F.affine_grid(matrix.to(x.device), list(x.shape), align_corners=False)
        return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)


def grey_of(x: Tensor) -> Tensor:
    """Return the grey levels (B, 1, H, W) of images (B, 3, H, W)."""
    weights = torch.tensor(GREY, device=x.device, dtype=x.dtype)
    return (x * weights.view(1, 3, 1, 1)).sum(1, keepdim=True)


def turned(x: Tensor, turn: Tensor) -> Tensor:
    """Return images whose hue is turned (B,), as a share of the circle: about the grey axis, in YIQ.

    HSV, which the reference turns, has another idea of hues between; here no pixel is a special case.
    """
    to_yiq = x.new_tensor([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
    angle = 2 * pi * turn
    turns = torch.zeros(len(x), 3, 3, device=x.device, dtype=x.dtype)
    turns[:, 0, 0] = 1
    turns[:, 1, 1] = turns[:, 2, 2] = angle.cos()
    turns[:, 1, 2], turns[:, 2, 1] = -angle.sin(), angle.sin()
    whole = torch.linalg.inv(to_yiq) @ turns @ to_yiq  # (B, 3, 3)
    return torch.einsum("bij,bjhw->bihw", whole, x).clamp(0, 1)


def blurred(x: Tensor, sigma: Tensor) -> Tensor:
    """Return images blurred by a Gaussian of σ (B,) in pixels; 0: not at all. Borders are repeated."""
    radius = int((3 * sigma.max()).ceil().clamp_min(1)) if len(sigma) else 1
    places = torch.arange(-radius, radius + 1, device=x.device, dtype=x.dtype)
    kernel = torch.exp(-0.5 * (places / sigma.clamp_min(1e-3)[:, None]).square())  # (B, K)
    kernel = kernel / kernel.sum(1, keepdim=True)
    count, channels, height, width = x.shape
    each = kernel.repeat_interleave(channels, 0)
    flat = F.pad(x, (radius,) * 4, mode="replicate").reshape(1, count * channels, *_padded(x, radius))
    flat = F.conv2d(flat, each[:, None, :, None], groups=count * channels)
    flat = F.conv2d(flat, each[:, None, None, :], groups=count * channels)
    return flat.reshape(count, channels, height, width)


def _padded(x: Tensor, radius: int) -> tuple[int, int]:
    return x.shape[2] + 2 * radius, x.shape[3] + 2 * radius


def _mixed(x: Tensor, other: Tensor, share: Tensor) -> Tensor:
    return (share * x + (1 - share) * other).clamp(0, 1)
