"""Verifiers see the middle of a face image, 64 x 64 pixels of it, whatever the size of the image."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (the field's own abbreviation)

EDGE = 64
"""The height and width that the networks of this plugin take."""
HEIGHT_SHARE, WIDTH_SHARE = 128 / 218, 128 / 178
"""The middle 128 x 128 of CelebA's aligned images of 178 x 218 pixels (width x height)."""


def window(height: int, width: int) -> tuple[int, int, int, int]:
    """Return top, left, height and width of the part of an image that a verifier sees.

    Images that are higher than wide are taken as CelebA's aligned ones, of which the middle is used; square
    and wide ones are taken as faces that were cut out before, and are used whole.
    """
    if height <= width:
        return 0, 0, height, width
    rows, columns = round(height * HEIGHT_SHARE), round(width * WIDTH_SHARE)
    return (height - rows) // 2, (width - columns) // 2, rows, columns


def face_crop(x: Tensor) -> Tensor:
    """Return (B, 3, 64, 64) the part of images (B, C, H, W) that a verifier sees; it has gradients."""
    top, left, height, width = window(x.shape[2], x.shape[3])
    x = x[:, :, top : top + height, left : left + width]
    if (height, width) != (EDGE, EDGE):
        x = F.interpolate(x, (EDGE, EDGE), mode="bilinear", antialias=True)
    return x if x.shape[1] == 3 else x.mean(1, keepdim=True).expand(-1, 3, -1, -1)


def crops_of(images: Tensor) -> Tensor:
    """Return (B, 3, 64, 64) the crops of 8-bit images (B, C, H, W), as 8-bit images."""
    return (face_crop(images.float() / 255) * 255).round().clamp(0, 255).to(torch.uint8)
