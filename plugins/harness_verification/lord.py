"""LORD is an autoencoder whose code has two parts: the class, here the person, and the content.

Gabbay and Hoshen 2020 (https://arxiv.org/abs/1906.11796), as Arvinte et al. use it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (the field's own abbreviation)

from harness_verification.face_crop import EDGE

CONTENT, CLASS = 128, 256
"""The lengths of the two codes."""
FIRST_EDGE = 4
"""The edge of the generator's first map, which every layer doubles."""
EPSILON = 1e-5
"""What is added to the variance of a map, as ``F.instance_norm`` does."""


@dataclass(frozen=True, kw_only=True)
class Design:
    """A Design is the architecture of LORD; the defaults are those of the quick preset."""

    generator_width: Annotated[int, Ge(1)] = 32
    """The channels of all of the generator's convolutions but the last two, and of the encoders' last ones;
    published: 256."""
    generator_hidden: Annotated[int, Ge(2)] = 512
    """The outputs of the generator's second fully connected layer; the first one has half as many.
    Published: 1024."""
    generator_slope: Annotated[float, Ge(0), Le(1)] = 0.2
    """The factor of LeakyReLU for negative values: 0.01 in one published code, 0.3 in the other."""
    generator_edge: Literal[32, 64] = 32
    """The height and width at which faces are drawn and looked at; those of 32 pixels are doubled afterwards.
    Published: 64."""


class Generator(nn.Module):
    """A Generator makes images (B, 3, 64, 64) in [0, 1] of content (B, 128) and class codes (B, 256)."""

    def __init__(self, design: Design) -> None:
        super().__init__()
        self.width, self.slope = design.generator_width, design.generator_slope
        width, hidden, slope = self.width, design.generator_hidden, self.slope
        doublings = doublings_of(design.generator_edge)
        self.modulation = nn.ModuleList(nn.Linear(CLASS, 2 * width) for _ in range(doublings))
        self.content = nn.Sequential(
            nn.Linear(CONTENT, hidden // 2),
            nn.LeakyReLU(slope),
            nn.Linear(hidden // 2, hidden),
            nn.LeakyReLU(slope),
            nn.Linear(hidden, FIRST_EDGE**2 * width),
            nn.LeakyReLU(slope),
        )
        self.layers = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(doublings))
        narrow = max(width // 4, 4)
        self.last = nn.Sequential(
            nn.Conv2d(width, narrow, 5, padding=2),
            nn.LeakyReLU(slope),
            nn.Conv2d(narrow, 3, 7, padding=3),
            nn.Sigmoid(),
        )

    def forward(self, content: Tensor, person: Tensor) -> Tensor:
        images = self.draw(content, person)
        if images.shape[2] == EDGE:
            return images
        return F.interpolate(images, (EDGE, EDGE), mode="bilinear")

    def draw(self, content: Tensor, person: Tensor) -> Tensor:
        """Return images (B, 3, edge, edge) before they are doubled."""
        x = self.content(content).view(-1, self.width, FIRST_EDGE, FIRST_EDGE)
        x = x.contiguous(memory_format=torch.channels_last)  # twice as fast on CPUs
        for convolution, modulation in zip(self.layers, self.modulation, strict=True):
            x = F.leaky_relu(convolution(F.interpolate(x, scale_factor=2, mode="nearest")), self.slope)
            x = modulated(x, modulation(person).view(-1, 2, self.width))  # (B, width, 8 … edge, 8 … edge)
        images: Tensor = self.last(x)
        return images


def modulated(x: Tensor, styles: Tensor) -> Tensor:
    """Return maps (B, C, H, W) whose means and deviations are those of the class (AdaIN).

    Args:
        styles: (B, 2, C): the offset, and the scale less 1, so that an untrained layer changes little.
    """
    mean = x.mean((2, 3), dtype=torch.float32)  # (B, C)
    variance = ((x - mean[:, :, None, None].to(x.dtype)).square()).mean((2, 3), dtype=torch.float32)
    factor = (variance + EPSILON).rsqrt() * (styles[:, 1].float() + 1)
    rest = styles[:, 0].float() - mean * factor
    # One pass over the maps instead of four, which are most of the time on CPUs.
    return torch.addcmul(rest[:, :, None, None].to(x.dtype), x, factor[:, :, None, None].to(x.dtype))


class Encoder(nn.Module):
    """An Encoder finds a code (B, length) of images (B, 3, 64, 64) in [0, 1]."""

    def __init__(self, length: int, design: Design) -> None:
        super().__init__()
        self.edge = design.generator_edge
        width, slope = design.generator_width, design.generator_slope
        channels = (max(width // 4, 4), max(width // 2, 4), *[width] * (doublings_of(self.edge) - 1))
        layers: list[nn.Module] = [nn.Conv2d(3, channels[0], 7, padding=3), nn.LeakyReLU(slope)]
        for narrow, wide in pairwise(channels):
            layers += [nn.Conv2d(narrow, wide, 4, 2, padding=1), nn.LeakyReLU(slope)]
        self.features = nn.Sequential(*layers)
        self.code = nn.Sequential(
            nn.Linear(FIRST_EDGE**2 * width, width),
            nn.LeakyReLU(slope),
            nn.Linear(width, width),
            nn.LeakyReLU(slope),
            nn.Linear(width, length),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = shrunk(x, self.edge)
        x = self.features(x.contiguous(memory_format=torch.channels_last))  # (B, width, 4, 4)
        code: Tensor = self.code(x.flatten(1))
        return code


class Lord(nn.Module):
    """A Lord has a generator, encoders of content and class, and the class codes of known persons."""

    persons: Tensor  # (P, 256)

    def __init__(self, people: int, design: Design) -> None:
        super().__init__()
        self.generator = Generator(design)
        self.content = Encoder(CONTENT, design)
        self.person = Encoder(CLASS, design)
        self.register_buffer("persons", torch.zeros(people, CLASS))

    def swapped(self, content_of: Tensor, persons: Tensor) -> Tensor:
        """Return images with the content of images (B, 3, 64, 64) and class codes (B, 256)."""
        images: Tensor = self.generator(self.content(content_of), persons)
        return images

    def forward(self, x: Tensor) -> Tensor:
        """Return the reconstructions of images (B, 3, 64, 64) of anybody."""
        return self.swapped(x, self.person(x))


def doublings_of(edge: int) -> int:
    """Return how often the first map is doubled: four times for 64 pixels."""
    return (edge // FIRST_EDGE).bit_length() - 1


def shrunk(x: Tensor, edge: int) -> Tensor:
    """Return images (B, 3, edge, edge): the means of blocks of pixels."""
    return x if x.shape[2] == edge else F.avg_pool2d(x.contiguous(), x.shape[2] // edge)
