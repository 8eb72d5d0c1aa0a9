"""A VGG of a quarter of the usual width, trained for half a minute, and images of its classes to attack."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

SIDE, CLASSES = 64, 10


@dataclass(frozen=True)
class Sizes:
    """How much there is to learn, to attack and to compare with."""

    training: int  # batches of 32 images
    drawn: int  # images, among which are the cases
    cases: int
    steps: int  # of PGD
    searches: int  # of CW-L2, each with so many iterations
    iterations: int
    peers: tuple[str, ...]
    alone: tuple[str, ...]
    """The peers that run once more in processes of their own."""


class QuarterVgg(nn.Sequential):
    """VGG-16 at a quarter of its width, as a user would bring it: (B, 3, 64, 64) to (B, 10)."""

    def __init__(self) -> None:
        layers: list[nn.Module] = []
        channels = 3
        for width, depth in ((16, 2), (32, 2), (64, 3), (128, 3), (128, 3)):
            for _ in range(depth):
                convolution = nn.Conv2d(channels, width, 3, padding=1)
                nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
                nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
                layers += [convolution, nn.ReLU()]
                channels = width
            layers.append(nn.MaxPool2d(2))
        super().__init__(*layers, nn.Flatten(), nn.Linear(channels * (SIDE // 32) ** 2, CLASSES))


@dataclass(frozen=True, eq=False)
class Setting:
    """What all attacks are given."""

    module: nn.Module
    x: Tensor  # (B, 3, SIDE, SIDE)
    labels: Tensor  # (B,) the truth; the network is right about all of them
    sizes: Sizes


def drawn(cases: int, draws: torch.Generator) -> tuple[Tensor, Tensor]:
    """Images (N, 3, 64, 64) on the 8-bit grid, each with the blurred pattern of its class in noise."""
    coarse = torch.randn(CLASSES, 3, 8, 8, generator=torch.Generator().manual_seed(7))
    blurred = F.interpolate(coarse, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    labels = torch.randint(0, CLASSES, (cases,), generator=draws)
    noise = torch.randn(cases, 3, SIDE, SIDE, generator=draws)
    images = (0.5 + 0.06 * blurred[labels] + 0.15 * noise).clamp(0, 1)
    return torch.round(images * 255) / 255, labels


@cache
def setting(sizes: Sizes) -> Setting:
    """The trained network, and images that it classifies correctly."""
    torch.manual_seed(0)
    module = QuarterVgg()
    optimizer = torch.optim.Adam(module.parameters(), 5e-4)
    draws = torch.Generator().manual_seed(1)
    for _ in range(sizes.training):
        x, labels = drawn(32, draws)
        optimizer.zero_grad()
        F.cross_entropy(module(x), labels).backward()
        optimizer.step()
    module.eval().requires_grad_(False)
    x, labels = drawn(sizes.drawn, torch.Generator().manual_seed(2))
    with torch.no_grad():
        right = torch.nonzero(module(x).argmax(1) == labels).flatten()[: sizes.cases]
    assert len(right) == sizes.cases, "the network did not learn its classes"
    return Setting(module, x[right], labels[right], sizes)
