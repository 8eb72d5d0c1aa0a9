"""A network like MobileFaceNet (Chen et al. 2018): inverted residuals, PReLU, and a learned pooling.

It is like that, and not that: the published one takes 112 x 112 pixels and pools its last maps with a
depthwise convolution of their size. This one takes images of any size, of which it weighs the 7 x 7 cells
that its last maps are brought to.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from harness_facenet.resnet import begin

WIDTH = 64
"""The channels of the first convolution that are published."""
ROWS = ((2, 1, 5, 2), (4, 2, 1, 2), (2, 2, 6, 1), (4, 2, 1, 2), (2, 2, 2, 1))
"""Expansion, channels relative to the first ones, number of blocks, and stride of the first (table 1)."""
CELLS = 7


class Inverted(nn.Module):
    """Inverted is a residual of a wide depthwise convolution between two 1x1 convolutions."""

    def __init__(self, channels: int, width: int, expansion: int, stride: int) -> None:
        super().__init__()
        inner = channels * expansion
        self.expand = normed(channels, inner, 1, 1)
        self.depthwise = normed(inner, inner, 3, stride, groups=inner)
        self.project = normed(inner, width, 1, 1, linear=True)
        self.adds = stride == 1 and channels == width

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + found if self.adds else found


class MobileFace(nn.Module):
    """MobileFace maps images (B, 3, H, W) to features (B, ``features``)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = normed(3, width, 3, 2)
        self.conv2 = normed(width, width, 3, 1, groups=width)
        blocks: list[nn.Module] = []
        channels = width
        for expansion, ratio, count, stride in ROWS:
            for place in range(count):
                blocks.append(Inverted(channels, width * ratio, expansion, stride if place == 0 else 1))
                channels = width * ratio
        self.blocks = nn.Sequential(*blocks)
        self.features = 8 * width
        self.conv3 = normed(channels, self.features, 1, 1)
        self.weigh = nn.Sequential(
            nn.Conv2d(self.features, self.features, CELLS, groups=self.features, bias=False),
            nn.BatchNorm2d(self.features),
        )
        begin(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv3(self.blocks(self.conv2(self.conv1(x))))
        if x.shape[2:] != (CELLS, CELLS):
            x = F.interpolate(x, (CELLS, CELLS), mode="bilinear", align_corners=False)
        pooled: Tensor = self.weigh(x)
        return pooled.flatten(1)


def normed(
    channels: int, width: int, edge: int, stride: int, *, groups: int = 1, linear: bool = False
) -> nn.Sequential:
    """Return a convolution with batch normalisation and, unless it is ``linear``, PReLU."""
    layers: list[nn.Module] = [
        nn.Conv2d(channels, width, edge, stride, edge // 2, groups=groups, bias=False),
        nn.BatchNorm2d(width),
    ]
    if not linear:
        layers.append(nn.PReLU(width))
    return nn.Sequential(*layers)
