"""Generated images are compared with real ones by VGG-16, or without its weights by SSIM and L1."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (the field's own abbreviation)

from harness_verification.vgg_body import VGG16_WIDTH, load_body, vgg_body

ImageLoss = Callable[[Tensor, Tensor], Tensor]
"""A function of generated and of real images (B, 3, 64, 64) in [0, 1] that returns the loss (B,)."""
Scale = Literal["imagenet", "caffe"]
HEARD = (2, 7, 12, 21, 30)
"""The layers of VGG-16 whose outputs are compared: conv1_2, conv2_2, conv3_2, conv4_3 and pool5."""
SCALES = 3
"""The number of sizes at which SSIM is computed, each half the one before."""
WINDOW, BETWEEN = 8, 4
"""The edge of SSIM's windows, and the distance between two."""
K1, K2 = 0.01, 0.03


def image_loss(weights: str | None, scale: Scale, device: torch.device) -> ImageLoss:
    """Return the perceptual loss of VGG-16 with the user's weights, or the substitute where there are none.

    Args:
        weights: a file of VGG-16's convolutions.
        scale: "imagenet" for torchvision's weights, of images less their mean over their deviation;
            "caffe" for those of images in 0 to 255 with blue first, less their mean.

    Raises:
        ModelError: the file does not hold them.
    """
    if weights is None:
        return similarity_loss
    body = vgg_body(VGG16_WIDTH, None)
    load_body(body, Path(weights))
    return PerceptualLoss(body.to(device), scale)


def similarity_loss(generated: Tensor, real: Tensor) -> Tensor:
    """Return (B,) the mean absolute difference of pixels plus 1 - SSIM, averaged over three sizes."""
    generated, real = generated.contiguous(), real.contiguous()
    each = (generated - real).abs().flatten(1).mean(1)
    for size in range(SCALES):
        if size:
            generated, real = F.avg_pool2d(generated, 2), F.avg_pool2d(real, 2)
        each = each + (1 - ssim(generated, real)) / SCALES
    return each


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Return (B,) the mean structural similarity of images (B, C, H, W) in [0, 1].

    Windows are uniform, of 8 x 8 pixels, and begin at every fourth pixel.
    """
    a, b = a.contiguous(), b.contiguous()  # pooling three channels that come last takes many times as long

    def local(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, WINDOW, BETWEEN)

    mean_a, mean_b = local(a), local(b)
    variance_a, variance_b = local(a * a) - mean_a**2, local(b * b) - mean_b**2
    covariance = local(a * b) - mean_a * mean_b
    one, two = K1**2, K2**2
    alike = (2 * mean_a * mean_b + one) * (2 * covariance + two)
    whole = (mean_a**2 + mean_b**2 + one) * (variance_a + variance_b + two)
    return (alike / whole).flatten(1).mean(1)


class PerceptualLoss:
    """A PerceptualLoss is the mean absolute difference of features of VGG-16, averaged over five layers."""

    def __init__(self, body: nn.Sequential, scale: Scale) -> None:
        for layer in body:
            if isinstance(layer, nn.ReLU):
                layer.inplace = False  # conv1_2 is heard before its ReLU
        self.body, self.scale = body.eval().requires_grad_(False), scale

    def __call__(self, generated: Tensor, real: Tensor) -> Tensor:
        each = torch.zeros(len(real), device=real.device)
        pair = self._scaled(torch.cat([generated, real]))
        for number, layer in enumerate(self.body):
            pair = layer(pair)
            if number in HEARD:
                ours, theirs = pair.float().chunk(2)
                each = each + (ours - theirs).abs().flatten(1).mean(1) / len(HEARD)
        return each

    def _scaled(self, x: Tensor) -> Tensor:
        if self.scale == "caffe":
            return x.flip(1) * 255 - x.new_tensor([103.939, 116.779, 123.68])[:, None, None]
        mean, deviation = x.new_tensor([0.485, 0.456, 0.406]), x.new_tensor([0.229, 0.224, 0.225])
        return (x - mean[:, None, None]) / deviation[:, None, None]
