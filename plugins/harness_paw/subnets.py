"""All subnets of a cascade are one batched computation, in place of a loop over them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (the field's own abbreviation)

from harness.training import StateDict
from harness_paw.layers import Layer
from harness_paw.subnet import EPSILON, MOMENTUM, Convolution, normalised, rectified


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
        return self._run(x, self._weights(), (self.weight, self.bias))

    def chosen(self, x: Tensor, which: Tensor) -> Tensor:
        """Return the scores (B, M) of subnet ``which[b]`` for image b of (B, C, H, W); no other one runs."""
        assert not self.training
        weights = [(weight[which], bias[which]) for weight, bias in self._weights()]
        return self._run(x[None], weights, (self.weight[which], self.bias[which]))[0]

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
        """Return the scores (B, G, M) of images (B, G, C, H, W) with such weights."""
        groups = x.shape[1]
        # Groups of channels are the subnets. Channels last is twice as fast on CPUs.
        x = normalised(x).flatten(1, 2).contiguous(memory_format=torch.channels_last)  # (B, G * C, H, W)
        for layer, (weight, bias) in zip(self.layers, weights, strict=True):
            assert isinstance(layer, Convolution)
            padding = weight.shape[-1] // 2
            x = F.conv2d(x, weight.flatten(0, 1), bias.flatten(), padding=padding, groups=groups)
            x = rectified(_normed(layer, x) if self.training else x, pooled=layer.pooled)
        own, bias = head
        averages = x.mean((2, 3)).view(len(x), *own.shape)  # (B, G, M, K)
        return (averages * own).sum(3) + bias


def _normed(layer: Convolution, x: Tensor) -> Tensor:
    """Return what the batch normalisation of each subnet makes of x (B, G * O, H, W) in training."""
    mean, variance = layer.running_mean.view(-1), layer.running_var.view(-1)
    scale, shift = layer.scale.view(-1), layer.shift.view(-1)
    return F.batch_norm(x, mean, variance, scale, shift, True, MOMENTUM, EPSILON)
