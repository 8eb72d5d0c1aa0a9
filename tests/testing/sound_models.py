"""Sound models with the idioms of real code: views, in-place and learnt activations, dropout, weight norm."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Flatten(nn.Module):
    """As in many published networks; it fails on an empty batch."""

    def forward(self, x: Tensor) -> Tensor:
        return x.view(x.size(0), -1)


def block(inputs: int, outputs: int, kernel: int = 1, groups: int = 1, **said: Any) -> nn.Sequential:
    """A convolution, batch normalisation and PReLU, as in MobileFaceNet."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, groups=groups, bias=False, **said),
        nn.BatchNorm2d(outputs),
        nn.PReLU(outputs),
    )


class Bottleneck(nn.Module):
    """An inverted residual with a depthwise convolution and a linear projection."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.residual = stride == 1
        self.body = nn.Sequential(
            block(width, 2 * width),
            block(2 * width, 2 * width, 3, 2 * width, stride=stride, padding=1),
            nn.Conv2d(2 * width, width, 1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.residual else self.body(x)


class MobileFaceNet(nn.Module):
    """Embeddings of unit length, from a global depthwise convolution and a view."""

    threshold = 1.1

    def __init__(self, shape: tuple[int, int, int], width: int = 16, dimensions: int = 32) -> None:
        super().__init__()
        if shape[1] % 8:
            raise ValueError("the height must be a multiple of 8")
        self.register_buffer("mean", torch.full((1, 3, 1, 1), 127.5 / 255))
        self.body = nn.Sequential(
            block(3, width, 3, stride=2, padding=1),
            block(width, width, 3, width, padding=1),
            *(Bottleneck(width, stride) for stride in (2, 1, 1, 2, 1)),
            block(width, 2 * width),
        )
        self.whole = nn.Conv2d(2 * width, 2 * width, shape[1] // 8, groups=2 * width, bias=False)
        self.normal = nn.BatchNorm2d(2 * width)
        self.flatten = Flatten()
        self.linear = nn.Linear(2 * width, dimensions, bias=False)
        self.last = nn.BatchNorm1d(dimensions)
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")

    mean: Tensor

    def forward(self, x: Tensor) -> Tensor:
        x = self.normal(self.whole(self.body((x - self.mean) / 0.5)))
        return nn.functional.normalize(self.last(self.linear(self.flatten(x))))


class Residual(nn.Module):
    """A basic block, whose activations are in place."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.normal = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.last = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.short = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        nn.init.zeros_(self.last.weight)

    def forward(self, x: Tensor) -> Tensor:
        y = self.last(self.second(self.relu(self.normal(self.first(x)))))
        y += self.short(x)
        return self.relu(y)


class ResNet(nn.Module):
    """Logits, from statistics of ImageNet, in-place ReLU, max pooling, and dropout before the output."""

    def __init__(self, classes: int, width: int = 16) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 7, 2, 3, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, 1),
        )
        self.layers = nn.Sequential(Residual(width, width, 1), Residual(width, 2 * width, 2))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(0.5, inplace=True)
        self.output = nn.utils.parametrizations.weight_norm(nn.Linear(2 * width, classes))

    mean: Tensor
    std: Tensor

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers(self.stem((x - self.mean) / self.std))
        return self.output(self.dropout(self.pool(x).view(x.size(0), -1)))


class ViT(nn.Module):
    """Scores of attributes, from patches with a class token, and the older weight normalisation."""

    def __init__(self, names: tuple[str, ...], edge: int, width: int = 32, patch: int = 4) -> None:
        super().__init__()
        self.attribute_names = names
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(0.02 * torch.randn(1, (edge // patch) ** 2 + 1, width))
        self.dropout = nn.Dropout(0.1)
        layer = nn.TransformerEncoderLayer(
            width, 4, 2 * width, 0.1, "gelu", batch_first=True, norm_first=True
        )
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.normal = nn.LayerNorm(width)
        self.output = nn.utils.weight_norm(nn.Linear(width, len(names)))  # type: ignore[no-untyped-call]

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches((x - 0.5) / 0.5).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1)
        x = self.body(self.dropout(x + self.positions))
        return self.output(self.normal(x)[:, 0])


def mobile_face_net(task):
    return MobileFaceNet(task.shape)


def resnet(task):
    return ResNet(len(task.class_names))


def vit(task):
    return ViT(task.attribute_names, task.shape[1])
