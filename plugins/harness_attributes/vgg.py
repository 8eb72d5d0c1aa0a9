"""There are two VGG networks for attributes: the published one, and one that trains in a minute on a CPU."""

from __future__ import annotations

from math import ceil
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (the field's own abbreviation)

Architecture = Literal["vgg-16", "narrow-vgg"]

FACE_MEAN = (129.1863, 104.7624, 93.5940)
"""The values of red, green and blue, from 0 to 255, that VGG-Face subtracts (Parkhi et al. 2015)."""
PUBLISHED_WIDTH = 64
"""The channels of VGG-16's first convolutions."""
STAGE_WIDTHS = (1, 2, 4, 8, 8)
"""The channels of the five stages, relative to those of the first one."""
FEW_CHANNELS = 16
"""With fewer, batch normalisation is trained with channels first on CPUs. With channels last, the threads'
sums of 8 channels share a cache line, and a backward pass takes 13 times as long on two cores."""
VGG16_DEPTHS = (2, 2, 3, 3, 3)
"""The numbers of convolutions of the five stages."""


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
    """Build a network from images (B, C, H, W) in [0, 1] to linear outputs (B, ``outputs``).

    Args:
        architecture: "vgg-16" is the published one, "narrow-vgg" the quick one.
        shape: the channels, height and width of the images.
        outputs: the number of linear outputs.
        width: the channels of the first stage; the others are 2, 4, 8 and 8 times as wide.
        depth: the convolutions of each stage; None: the published 2, 2, 3, 3 and 3.
        dropout: the share of inputs that training leaves out, of each fully connected layer except the first
            (vgg-16) or of the only one (narrow-vgg).
        mean: the values of red, green and blue, from 0 to 255, to subtract; their mean for other images.
    """
    network = VGG16 if architecture == "vgg-16" else NarrowVGG
    return network(shape, outputs, width=width, depth=depth, dropout=dropout, mean=mean)


class VGG16(nn.Module):
    """VGG16 is the 16-layer network of Parkhi et al. 2015 for images of any size (Rozsa et al., section 2.1).

    With a width of 64 and images of 178 x 218 pixels (width x height), it has 119,584,577 parameters for one
    output. Pooling rounds sizes up, as in Caffe; shapes in comments are for these images.
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
                # Caffe's "xavier" filler has a variance of 1 / inputs. Each ReLU halves it, which
                # brings inputs of about 70 to scores near the labels; with He's, scores would be as large.
                nn.init.kaiming_uniform_(layer.weight, nonlinearity="linear")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = x * 255 - self.mean  # (B, 3, 218, 178) in 0 to 255, less the mean
        # Channels last is twice as fast on CPUs, whatever the memory layout of the weights.
        x = self.features(x.contiguous(memory_format=torch.channels_last))  # (B, 512, 7, 6)
        scores: Tensor = self.classifier(x.flatten(1))  # (B, outputs)
        return scores


class NarrowVGG(nn.Module):
    """NarrowVGG has few convolutions, with batch normalisation, and one fully connected layer.

    Batch normalisation lets it learn in a few hundred steps. The fully connected layer uses the position of
    features on the aligned face, which an average over positions would lose. Shapes in comments are for a
    width of 16 and images of 72 x 88 pixels (width x height).
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
    """NormalizedConvolution is a 3x3 convolution with batch normalisation and ReLU."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels_out)
        nn.init.kaiming_normal_(self.convolution.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return F.relu(_trained_norm(self.norm, self.convolution(x)), inplace=True)
        # Attacks make thousands of passes: merging the fixed statistics into the weights is a quarter faster.
        norm = self.norm
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)  # (channels_out,)
        weight = self.convolution.weight * scale[:, None, None, None]
        bias = norm.bias - norm.running_mean * scale
        return F.relu(F.conv2d(x, weight, bias, padding=1), inplace=True)


def _trained_norm(norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """Return what ``norm`` makes of x (B, C, H, W) in training, in the memory layout of x."""
    if x.shape[1] >= FEW_CHANNELS or x.device.type != "cpu":
        normed: Tensor = norm(x)
        return normed
    normed = norm(x.contiguous())
    if normed.requires_grad:
        normed.register_hook(torch.Tensor.contiguous)  # type: ignore[no-untyped-call]
    return normed.contiguous(memory_format=torch.channels_last)


def _depths(depth: int | None) -> tuple[int, ...]:
    return VGG16_DEPTHS if depth is None else (depth,) * len(STAGE_WIDTHS)


def _pooled(edge: int) -> int:
    """Return the size of an edge after five poolings that round up: 218 pixels become 7, 178 become 6."""
    for _ in STAGE_WIDTHS:
        edge = ceil(edge / 2)
    return edge


def _channel_means(mean: tuple[float, float, float], channels: int) -> Tensor:
    """Return (C, 1, 1) the means of the channels, from 0 to 255."""
    means = torch.tensor(mean) if channels == 3 else torch.tensor(mean).mean().repeat(channels)
    return means[:, None, None]
