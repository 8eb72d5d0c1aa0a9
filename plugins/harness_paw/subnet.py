"""A subnet maps an image to a score per attribute, each from its own feature maps and their average (GAP)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (the field's own abbreviation)

from harness_paw.layers import Layer

EPSILON = 1e-5
"""What batch normalisation adds to a variance."""
MOMENTUM = 0.1
"""The weight of a batch in the running statistics of batch normalisation."""


MEAN_ACTIVITY = 0.4
"""The mean of a ReLU of standard normal numbers, as batch normalisation makes them."""
FEW_CHANNELS = 16
"""With fewer, batch normalisation is trained with channels first on CPUs. With channels last, the threads'
sums of 8 channels share a cache line, and a backward pass takes many times as long on two cores."""


class Convolution(nn.Module):
    """A Convolution has the weights of a convolution and of its batch normalisation, of one or more subnets.

    Those of G subnets have G as their first dimension.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, layer: Layer, count: tuple[int, ...] = ()) -> None:
        """Make the weights of ``count`` subnets, (G,), or of a single one, ()."""
        super().__init__()
        self.pooled = layer.pooled
        out = (*count, layer.channels)
        weight = torch.empty(layer.channels, channels, layer.kernel, layer.kernel)
        nn.init.kaiming_normal_(weight, nonlinearity="relu")
        self.weight = nn.Parameter(weight.expand(*count, *weight.shape).clone())  # (G, O, C, k, k)
        self.bias = nn.Parameter(torch.zeros(out))
        self.scale = nn.Parameter(torch.ones(out))
        self.shift = nn.Parameter(torch.zeros(out))
        self.register_buffer("running_mean", torch.zeros(out))
        self.register_buffer("running_var", torch.ones(out))

    def merged(self) -> tuple[Tensor, Tensor]:
        """Return weight and bias with the fixed statistics of batch normalisation merged into them.

        Attacks make thousands of passes, and need no pass of their own for the normalisation.
        """
        scale = self.scale * torch.rsqrt(self.running_var + EPSILON)
        return self.weight * scale[..., None, None, None], self.shift + (
            self.bias - self.running_mean
        ) * scale


class Subnet(nn.Module):
    """A Subnet maps images (B, C, H, W) in [0, 1] to scores (B, M); TNet, SNet1 to SNet3 are subnets.

    The last convolution has K maps per attribute (branches), 32 in the paper. Attribute j has one weight per
    map of its own, and its score is their weighted sum, averaged over all places (section "Face Region
    Localization"). A convolution has a bias and batch normalisation, and pooling rounds sizes up: with these
    the numbers of parameters are those of FACTS; the paper states neither.
    """

    def __init__(self, channels: int, layers: tuple[Layer, ...], attributes: int) -> None:
        """Make an untrained subnet for images of so many channels."""
        super().__init__()
        convolutions = []
        for layer in layers:
            convolutions.append(Convolution(channels, layer))
            channels = layer.channels
        self.layers = nn.ModuleList(convolutions)
        self.weight = nn.Parameter(torch.empty(attributes, channels // attributes))  # (M, K)
        self.bias = nn.Parameter(torch.zeros(attributes))
        # A map begins as evidence for its attribute. With negative weights alone, a heatmap would be largest
        # where nothing is seen.
        nn.init.uniform_(self.weight, 0.0, 2 * self.weight.shape[1] ** -0.5)
        self.expect(torch.full((attributes,), 0.5))  # else it would call every attribute present

    def forward(self, x: Tensor) -> Tensor:
        return self.scores(self.features(x))

    def features(self, x: Tensor) -> Tensor:
        """Return the maps (B, M * K, h, w) of the last convolution for images (B, C, H, W)."""
        return self.rest(self.trunk(x))

    def trunk(self, x: Tensor) -> Tensor:
        """Return the output (B, C', h, w) of all convolutions but the last one."""
        # Channels last is twice as fast on CPUs.
        x = normalised(x).contiguous(memory_format=torch.channels_last)
        for layer in self.layers[:-1]:
            x = _convolved(layer, x, self.training)
        return x

    def rest(self, x: Tensor) -> Tensor:
        """Return the maps (B, M * K, h, w) that the last convolution makes of the trunk's output."""
        return _convolved(self.layers[-1], x, self.training)

    def scores(self, features: Tensor) -> Tensor:
        """Return the scores (B, M) of the maps of the last convolution."""
        averages = features.mean((2, 3)).view(-1, *self.weight.shape)  # (B, M, K)
        return (averages * self.weight).sum(2) + self.bias

    @torch.no_grad()
    def expect(self, rates: Tensor) -> None:
        """Set the biases so that an untrained subnet's mean scores are those of the attributes' rates (M,).

        Otherwise all of an attribute's maps would first learn how rare it is.
        """
        self.bias.copy_(torch.logit(rates).to(self.bias) - MEAN_ACTIVITY * self.weight.sum(1))

    def heatmaps(self, features: Tensor) -> Tensor:
        """Return the heatmaps (B, M, h, w): H_j is the sum of w_ji F_i over the maps of attribute j."""
        own = features.reshape(len(features), *self.weight.shape, *features.shape[2:])  # (B, M, K, h, w)
        return (own * self.weight[:, :, None, None]).sum(2)


def normalised(x: Tensor) -> Tensor:
    """Return pixels in [0, 1] with a mean near 0 and a variance near 1."""
    return (x - 0.5) * 4


def _normed(layer: Convolution, x: Tensor) -> Tensor:
    """Return what batch normalisation makes of x (B, C, H, W) in training, in the memory layout of x."""
    few = x.shape[1] < FEW_CHANNELS and x.device.type == "cpu"
    mean, variance = layer.running_mean, layer.running_var
    normed = F.batch_norm(
        x.contiguous() if few else x, mean, variance, layer.scale, layer.shift, True, MOMENTUM, EPSILON
    )
    if few and normed.requires_grad:
        normed.register_hook(Tensor.contiguous)  # type: ignore[no-untyped-call]
    return normed.contiguous(memory_format=torch.channels_last) if few else normed


def rectified(x: Tensor, *, pooled: bool) -> Tensor:
    """Return the ReLU of maps (B, C, H, W), pooled or not; their largest values need no other order."""
    return F.relu(F.max_pool2d(x, 2, ceil_mode=True) if pooled else x, inplace=True)


def _convolved(layer: nn.Module, x: Tensor, training: bool) -> Tensor:
    assert isinstance(layer, Convolution)
    padding = layer.weight.shape[-1] // 2
    if training:
        x = _normed(layer, F.conv2d(x, layer.weight, layer.bias, padding=padding))
    else:
        x = F.conv2d(x, *layer.merged(), padding=padding)
    return rectified(x, pooled=layer.pooled)
