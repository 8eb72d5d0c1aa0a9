"""The CNN of the Bayes-optimal study has 3 x 3 convolutions and LeakyReLU (appendix B.3)."""

from __future__ import annotations

from itertools import pairwise
from math import log2
from typing import Annotated, Any

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn

from harness.dataset import Dataset
from harness.errors import ModelError
from harness.training import Context, Task
from harness_bayes.two_class_images import check_task
from harness_bayes.two_class_recipe import DEFAULT, Recipe, cross_entropy, fit

SLOPE = 0.2
"""The factor of LeakyReLU for negative values: TensorFlow's default, as the paper does not state it."""
SMALLEST_MAP = 8
"""The approximate edge of the last map, which decides the number of strides; the paper does not state it."""
SMALLEST_EDGE = 8
"""The smallest edge of the images, in pixels."""


class Cnn(nn.Module):
    """Cnn maps images (B, C, H, W) in [0, 1] to logits (B, 2)."""

    def __init__(self, shape: tuple[int, int, int], design: dict[str, Any], strides: list[int]) -> None:
        """Make the network; ``design`` holds its parameters, ``strides`` has one number per convolution."""
        super().__init__()
        self.design = design
        channels, height, width = shape
        layers: list[nn.Module] = []
        filters = int(design["width"])
        for stride in strides:
            filters *= stride
            layers += [nn.Conv2d(channels, filters, 3, stride, padding=1), nn.LeakyReLU(SLOPE)]
            height, width, channels = -(-height // stride), -(-width // stride), filters
        self.features = nn.Sequential(*layers)
        self.classify = nn.Linear(channels * height * width, 2)
        for layer in layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, SLOPE, nonlinearity="leaky_relu")
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        # Channels last is about twice as fast on CPUs.
        maps = self.features(x.contiguous(memory_format=torch.channels_last))
        logits: Tensor = self.classify(maps.flatten(1))
        return logits


def build(
    task: Task,
    *,
    width: Annotated[int, Ge(1), Le(4096)] = 8,
    depth: Annotated[int, Ge(1), Le(200)] = 4,
    halvings: Annotated[int, Ge(0), Le(10)] | None = None,
) -> Cnn:
    """Build an untrained network.

    Args:
        width: the filters of the first convolution; each stride doubles them.
        depth: the number of convolutions; one fully connected layer follows.
        halvings: the number of convolutions with a stride of 2, spread evenly and including the last one;
            None: as many as make the last map about 8 pixels wide, and at least one.

    Raises:
        ModelError: the task has another number of classes than two, its images are too small, or there are
            more halvings than convolutions or than the images allow.
    """
    check_task(task)
    edge = min(task.shape[1:])
    if edge < SMALLEST_EDGE:
        raise ModelError(f"images of {edge} pixels are too small for cnn; give at least {SMALLEST_EDGE}")
    if halvings is None:
        halvings = min(max(round(log2(edge / SMALLEST_MAP)), 1), depth)
    if halvings > depth or 2**halvings > edge:
        raise ModelError(
            f"halvings = {halvings} is too many for depth = {depth} and images of {edge} pixels; give fewer"
        )
    done = [layer * halvings // depth for layer in range(depth + 1)]
    strides = [1 + after - before for before, after in pairwise(done)]
    return Cnn(task.shape, {"width": width, "depth": depth, "halvings": halvings}, strides)


def train(module: Cnn, dataset: Dataset, context: Context, *, recipe: Recipe = DEFAULT) -> None:
    """Train in place with Adam on the cross-entropy.

    Raises:
        DatasetError: there is no training set.
        ModelError: the data set does not have two classes, or training diverged.
    """
    fit(module, dataset, cross_entropy, recipe, context, module.design)
