"""The convolutions of VGG-16 are F's body and, with weights of ImageNet, the judge of generated images."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (the field's own abbreviation)
from torch.nn.utils.fusion import fuse_conv_bn_weights

from harness.errors import ModelError
from harness.training import read_weights

STAGE_WIDTHS = (1, 2, 4, 8, 8)
"""The channels of the five stages, relative to those of the first one."""
VGG16_DEPTHS = (2, 2, 3, 3, 3)
"""The numbers of convolutions of the five stages."""
VGG16_WIDTH = 64


def vgg_body(width: int, depth: int | None, *, batch_norm: bool = False) -> nn.Sequential:
    """Return convolutions (B, 3, H, W) -> (B, 8 width, H / 32, W / 32), each followed by ReLU.

    Without batch normalisation, the names of weights are those that torchvision gives VGG-16's.

    Args:
        width: the channels of the first stage.
        depth: the convolutions of each stage; None: the published 2, 2, 3, 3 and 3.
        batch_norm: whether each convolution is followed by batch normalisation.
    """
    layers: list[nn.Module] = []
    channels = 3
    depths = VGG16_DEPTHS if depth is None else (depth,) * len(STAGE_WIDTHS)
    for stage, convolutions in zip(STAGE_WIDTHS, depths, strict=True):
        for _ in range(convolutions):
            if batch_norm:
                layers.append(NormalizedConvolution(channels, stage * width))
            else:
                layers.append(nn.Conv2d(channels, stage * width, 3, padding=1))
                nn.init.kaiming_normal_(layers[-1].weight, nonlinearity="relu")  # type: ignore[arg-type]
                nn.init.zeros_(layers[-1].bias)  # type: ignore[arg-type]
            layers.append(nn.ReLU(inplace=True))
            channels = stage * width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


class NormalizedConvolution(nn.Module):
    """NormalizedConvolution is a 3x3 convolution with batch normalisation."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels_out)
        nn.init.kaiming_normal_(self.convolution.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        norm, own = self.norm, self.convolution.weight
        if self.training or own.requires_grad:
            normed: Tensor = norm(self.convolution(x))
            return normed
        # Attacks make thousands of passes: merging the fixed statistics into the weights is a quarter faster.
        assert norm.running_mean is not None
        assert norm.running_var is not None
        weight, bias = fuse_conv_bn_weights(
            own, None, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
        return F.conv2d(x, weight, bias, padding=1)


def load_body(body: nn.Sequential, path: Path) -> None:
    """Load the convolutions of a VGG-16 from .safetensors, or from a .pt or .pth state dict.

    Names are torchvision's: "features.0.weight", or without "features."; other entries, such as those of the
    classifier, are left. Nothing is unpickled.

    Raises:
        ModelError: the file is missing, is no state dict, or lacks a convolution of this shape.
    """
    given = read_weights(path, "body weights")
    given = {name.removeprefix("features."): tensor for name, tensor in given.items()}
    own = body.state_dict()
    for name, tensor in own.items():
        if name not in given:
            raise ModelError(
                f"body weights {path} lack features.{name}; "
                "give VGG-16's convolutions under torchvision's names"
            )
        if given[name].shape != tensor.shape:
            there, here = tuple(given[name].shape), tuple(tensor.shape)
            raise ModelError(
                f"body weights {path} have features.{name} of shape {there}, but it needs {here}"
            )
    body.load_state_dict({name: given[name] for name in own})
