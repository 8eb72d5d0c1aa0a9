"""All subnets of a cascade are one batched computation, in place of a loop over them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (the field's own abbreviation)

from harness.training import StateDict
from harness_paw.layers import Layer
from harness_paw.subnet import EPSILON, MOMENTUM, Convolution, normalised


class Subnets(nn.Module):
    """Subnets are G subnets of one architecture, with weights of their own, each for images of its own.

    Their state has the names of a ``Subnet``, and G as the first dimension of each tensor.
    """

    def __init__(self, count: int, channels: int, layers: tuple[Layer, ...], attributes: int) -> None:
        """Make ``count`` untrained subnets with the same weights."""
        super().__init__()
        self.count = count
        self.layers = nn.ModuleList()
        for layer in layers:
            self.layers.append(Convolution(channels, layer, (count,)))
            channels = layer.channels
        self.weight = nn.Parameter(torch.empty(count, attributes, channels // attributes))  # (G, M, K)
        self.bias = nn.Parameter(torch.zeros(count, attributes))
        nn.init.kaiming_uniform_(self.weight[0], nonlinearity="linear")
        with torch.no_grad():
            self.weight.copy_(self.weight[:1].expand_as(self.weight).clone())

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores (B, G, M) of subnet g for the images x[:, g] of (B, G, C, H, W)."""
        x = x.transpose(0, 1)
        return self._run(x, self._weights(), (self.weight, self.bias)).transpose(0, 1)

    def chosen(self, x: Tensor, which: Tensor) -> Tensor:
        """Return the scores (B, M) of subnet ``which[b]`` for image b of (B, C, H, W); no other one runs."""
        assert not self.training
        weights = [(weight[which], bias[which]) for weight, bias in self._weights()]
        return self._run(x[:, None], weights, (self.weight[which], self.bias[which]))[:, 0]

    def put(self, states: Sequence[StateDict]) -> None:
        """Give each subnet the state of a ``Subnet``; one state is given to all of them."""
        states = list(states) * (self.count if len(states) == 1 else 1)
        self.load_state_dict({name: torch.stack([state[name] for state in states]) for name in states[0]})

    def one(self, index: int) -> StateDict:
        """Return the state of one subnet, as that of a ``Subnet``."""
        return {name: tensor[index] for name, tensor in self.state_dict().items()}

    def _weights(self) -> list[tuple[Tensor, Tensor]]:
        """Return the weight (G, O, C, k, k) and bias (G, O) of each convolution."""
        found = []
        for layer in self.layers:
            assert isinstance(layer, Convolution)
            found.append((layer.weight, layer.bias) if self.training else layer.merged())
        return found

    def _run(self, x: Tensor, weights: list[tuple[Tensor, Tensor]], head: tuple[Tensor, Tensor]) -> Tensor:
        """Return the scores (G, B, M) of images (G, B, C, H, W) with such weights."""
        x = normalised(x)
        for layer, (weight, bias) in zip(self.layers, weights, strict=True):
            assert isinstance(layer, Convolution)
            x = convolved(x, weight, bias)
            x = F.relu(self._norm(layer, x) if self.training else x)
            if layer.pooled:
                x = F.max_pool2d(x.flatten(0, 1), 2, ceil_mode=True).unflatten(0, x.shape[:2])
        weight, bias = head
        averages = x.mean((3, 4)).unflatten(2, weight.shape[1:])  # (G, B, M, K)
        return (averages * weight[:, None]).sum(3) + bias[:, None]

    def _norm(self, layer: Convolution, x: Tensor) -> Tensor:
        """Return what the batch normalisation of each subnet makes of x (G, B, O, H, W) in training."""
        groups, _, channels = x.shape[:3]
        merged = x.transpose(0, 1).flatten(1, 2)  # (B, G * O, H, W)
        normed = F.batch_norm(
            merged,
            layer.running_mean.view(-1),
            layer.running_var.view(-1),
            layer.scale.view(-1),
            layer.shift.view(-1),
            True,
            MOMENTUM,
            EPSILON,
        )
        return normed.unflatten(1, (groups, channels)).transpose(0, 1)


def convolved(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return the convolution (G, B, O, H, W) of images (G, B, C, H, W) with weights (G, O, C, k, k)."""
    groups = len(weight)
    merged = x.transpose(0, 1).flatten(1, 2)  # (B, G * C, H, W)
    found = F.conv2d(
        merged, weight.flatten(0, 1), bias.flatten(), padding=weight.shape[-1] // 2, groups=groups
    )
    return found.unflatten(1, (groups, -1)).transpose(0, 1)
