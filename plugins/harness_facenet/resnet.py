"""ResNets (He et al. 2016) without their classifier, under the names that torchvision gives their parts."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (the field's own abbreviation)

STAGES = (1, 2, 4, 8)
"""The width of the four stages, relative to that of the first one."""
DEPTHS = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3)}


class Block(nn.Module):
    """A Block adds what its convolutions make of the input to the input: what both kinds share."""

    expansion = 1
    downsample: nn.Sequential | None

    def shortcut(self, channels: int, width: int, stride: int) -> None:
        """Give the block a projection of its input, where that has another shape than its output."""
        self.downsample = None
        if stride != 1 or channels != width * self.expansion:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, width * self.expansion, 1, stride, bias=False),
                nn.BatchNorm2d(width * self.expansion),
            )

    def residual(self, x: Tensor) -> Tensor:
        """Return what is added to the input."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        kept = x if self.downsample is None else self.downsample(x)
        return F.relu(kept + self.residual(x))


class BasicBlock(Block):
    """A BasicBlock has two 3x3 convolutions."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut(channels, width, stride)

    def residual(self, x: Tensor) -> Tensor:
        """Return what is added to the input."""
        x = F.relu(self.bn1(self.conv1(x)))
        found: Tensor = self.bn2(self.conv2(x))
        return found


class Bottleneck(Block):
    """A Bottleneck has convolutions 1x1, 3x3 with the stride, and 1x1 to four times the width."""

    expansion = 4

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)
        self.shortcut(channels, width, stride)

    def residual(self, x: Tensor) -> Tensor:
        """Return what is added to the input."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        found: Tensor = self.bn3(self.conv3(x))
        return found


class ResNet(nn.Module):
    """A ResNet maps images (B, 3, H, W) to features (B, ``features``), the means of its last maps."""

    def __init__(self, name: str, width: int, *, small_stem: bool) -> None:
        """Make an untrained ResNet.

        Args:
            name: "resnet18" or "resnet50".
            width: the channels of the first stage; published: 64.
            small_stem: begin with a 3x3 convolution of stride 2 in place of 7x7 and a max pooling, for small
                images.
        """
        super().__init__()
        kind: type[BasicBlock | Bottleneck] = Bottleneck if name == "resnet50" else BasicBlock
        self.small_stem = small_stem
        edge = 3 if small_stem else 7
        self.conv1 = nn.Conv2d(3, width, edge, 2, edge // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        channels = width
        for number, (ratio, depth) in enumerate(zip(STAGES, DEPTHS[name], strict=True), start=1):
            blocks: list[nn.Module] = []
            for place in range(depth):
                stride = 2 if place == 0 and number > 1 else 1
                blocks.append(kind(channels, width * ratio, stride))
                channels = width * ratio * kind.expansion
            self.add_module(f"layer{number}", nn.Sequential(*blocks))
        self.features = channels
        begin(self)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        if not self.small_stem:
            x = F.max_pool2d(x, 3, 2, 1)
        for number in range(1, len(STAGES) + 1):
            x = getattr(self, f"layer{number}")(x)
        return x.mean((2, 3))


@torch.no_grad()
def begin(net: nn.Module) -> None:
    """Draw the weights of a network's convolutions (He et al. 2015)."""
    for part in net.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
