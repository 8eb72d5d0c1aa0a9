"""VGG networks for attributes: the published 16 layers, and a narrow one that trains in a minute on a CPU."""

from __future__ import annotations

from math import ceil
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (the field's own abbreviation)

Architecture = Literal["vgg-16", "narrow-vgg"]

FACE_MEAN = (129.1863, 104.7624, 93.5940)
"""Grey levels of red, green and blue that VGG-Face subtracts (Parkhi et al. 2015)."""
PUBLISHED_WIDTH = 64
"""Channels of VGG-16's first convolutions."""
STAGE_WIDTHS = (1, 2, 4, 8, 8)
"""Channels of the five stages, in units of the first one's."""
VGG16_DEPTHS = (2, 2, 3, 3, 3)
"""Convolutions of the five stages."""


def build_vgg(
    architecture: Architecture,
    shape: tuple[int, int, int],
    outputs: int,
    *,
    width: int,
    depth: int | None,
    dropout: float,
    mean: tuple[float, float, float] = FACE_MEAN,
) -> nn.Module:
    """A network from images (B, C, H, W) in [0, 1] to linear outputs (B, ``outputs``).

    Args:
        architecture: "vgg-16" is the published one, "narrow-vgg" the quick one.
        shape: channels, height, width of the images.
        outputs: number of linear outputs.
        width: channels of the first stage; the others are 2, 4, 8 and 8 times as wide.
        depth: convolutions of each stage; None: the published 2, 2, 3, 3 and 3.
        dropout: share of the inputs of each fully connected layer but the first that training leaves out
            (vgg-16), or of those of the only one (narrow-vgg).
        mean: grey levels of red, green and blue to subtract; other images than RGB get their average.
    """
    network = VGG16 if architecture == "vgg-16" else NarrowVGG
    return network(shape, outputs, width=width, depth=depth, dropout=dropout, mean=mean)


class VGG16(nn.Module):
    """The 16-layer network of Parkhi et al. 2015 on images of any size (Rozsa et al., section 2.1).

    With a width of 64 and images of 178 x 218 pixels (width x height): 119,584,577 parameters for one output.
    Pooling rounds sizes up, as Caffe does; shapes in comments are of that size.
    """

    mean: Tensor

    def __init__(
        self,
        shape: tuple[int, int, int],
        outputs: int,
        *,
        width: int = PUBLISHED_WIDTH,
        depth: int | None = None,
        dropout: float = 0.5,
        mean: tuple[float, float, float] = FACE_MEAN,
    ) -> None:
        super().__init__()
        channels, height, columns = shape
        self.register_buffer("mean", _channel_means(mean, channels), persistent=False)
        stages: list[nn.Module] = []
        for stage_width, convolutions in zip(STAGE_WIDTHS, _depths(depth), strict=True):
            for _ in range(convolutions):
                stages += [nn.Conv2d(channels, stage_width * width, 3, padding=1), nn.ReLU(inplace=True)]
                channels = stage_width * width
            stages.append(nn.MaxPool2d(2, ceil_mode=True))
        self.features = nn.Sequential(*stages)
        hidden = 64 * width  # 4096
        self.classifier = nn.Sequential(
            nn.Linear(channels * _pooled(height) * _pooled(columns), hidden),  # fc6 of 21,504 inputs
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),  # fc7
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(hidden, outputs),
        )
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                # Caffe's "xavier" filler, variance 1 / inputs. The variance halves with each rectifier, which
                # takes inputs of some 70 grey levels to scores near the labels; He's would leave them there.
                nn.init.kaiming_uniform_(layer.weight, nonlinearity="linear")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = x * 255 - self.mean  # (B, 3, 218, 178) in grey levels
        # Twice as fast on CPUs as planes one after the other, whatever the layout of the weights.
        x = self.features(x.contiguous(memory_format=torch.channels_last))  # (B, 512, 7, 6)
        scores: Tensor = self.classifier(x.flatten(1))  # (B, outputs)
        return scores


class NarrowVGG(nn.Module):
    """Few convolutions, with batch normalisation, and one fully connected layer.

    Batch normalisation is what lets it learn in a few hundred steps. The fully connected layer sees where on
    the aligned face something is, which an average over places would hide. Shapes in comments are of a width
    of 16 and images of 72 x 88 pixels (width x height).
    """

    mean: Tensor

    def __init__(
        self,
        shape: tuple[int, int, int],
        outputs: int,
        *,
        width: int = 16,
        depth: int | None = 2,
        dropout: float = 0.0,
        mean: tuple[float, float, float] = FACE_MEAN,
    ) -> None:
        super().__init__()
        channels, height, columns = shape
        self.register_buffer("mean", _channel_means(mean, channels), persistent=False)
        stages: list[nn.Module] = []
        for stage_width, convolutions in zip(STAGE_WIDTHS, _depths(depth), strict=True):
            for _ in range(convolutions):
                stages.append(NormalizedConvolution(channels, stage_width * width))
                channels = stage_width * width
            stages.append(nn.MaxPool2d(2, ceil_mode=True))
        self.features = nn.Sequential(*stages)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(channels * _pooled(height) * _pooled(columns), outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = (x * 255 - self.mean) / 64  # (B, 3, 88, 72), about unit variance
        x = self.features(x.contiguous(memory_format=torch.channels_last))  # (B, 128, 3, 3)
        scores: Tensor = self.output(self.dropout(x.flatten(1)))  # (B, outputs)
        return scores


class NormalizedConvolution(nn.Module):
    """A 3x3 convolution, batch normalisation and a rectifier."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels_out)
        nn.init.kaiming_normal_(self.convolution.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return F.relu(self.norm(self.convolution(x)), inplace=True)
        # Attacks ask for thousands of passes: fixed statistics go into the weights, a quarter faster.
        norm = self.norm
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)  # (channels_out,)
        weight = self.convolution.weight * scale[:, None, None, None]
        bias = norm.bias - norm.running_mean * scale
        return F.relu(F.conv2d(x, weight, bias, padding=1), inplace=True)


def _depths(depth: int | None) -> tuple[int, ...]:
    return VGG16_DEPTHS if depth is None else (depth,) * len(STAGE_WIDTHS)


def _pooled(edge: int) -> int:
    """What five pools that round up leave of an edge: 218 pixels become 7, 178 become 6."""
    for _ in STAGE_WIDTHS:
        edge = ceil(edge / 2)
    return edge


def _channel_means(mean: tuple[float, float, float], channels: int) -> Tensor:
    """(C, 1, 1) in grey levels."""
    means = torch.tensor(mean) if channels == 3 else torch.tensor(mean).mean().repeat(channels)
    return means[:, None, None]
