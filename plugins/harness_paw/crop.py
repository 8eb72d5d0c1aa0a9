"""The crop of an attribute is a square of the image around the place where its heatmap is largest."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (the field's own abbreviation)

CropMode = Literal["hard", "soft"]
FINER = 2
"""How many cells of a smoothed heatmap lie along one of the heatmap's own, in each direction."""
SHARPNESS = 8.0
"""How many standard deviations of a heatmap weigh e-fold in the soft place: the inverse temperature."""


def smoothed(heatmaps: Tensor, deviation: float) -> Tensor:
    """Return heatmaps (B, M, h, w) smoothed by a Gaussian that is cut at the borders, (B, M, 2 h, 2 w).

    A cell that sees the edge of a part often lies beside it. Of smoothed cells, the largest one lies in the
    middle of what was seen. What is smooth has a maximum between cells, too, so that the result has
    ``FINER`` times as many. The weights in each of them sum to 1.

    Args:
        deviation: in cells; 0 returns the heatmaps as they are, (B, M, h, w).
    """
    if deviation == 0:
        return heatmaps
    rows, columns = (_gaussian(side, deviation, heatmaps) for side in heatmaps.shape[2:])
    return rows @ heatmaps @ columns.T


def _gaussian(side: int, deviation: float, like: Tensor) -> Tensor:
    """Return (FINER * side, side) the weights of each cell in each smoothed one."""
    cells = torch.arange(side, device=like.device, dtype=like.dtype)
    finer = (torch.arange(FINER * side, device=like.device, dtype=like.dtype) + 0.5) / FINER - 0.5
    return ((finer[:, None] - cells) / deviation).square().div(-2).softmax(1)


def hard_places(heatmaps: Tensor, size: tuple[int, int]) -> Tensor:
    """Return (B, M, 2) the row and column, in pixels, of the centre of each heatmap's largest cell.

    The surface that interpolates a heatmap (B, M, h, w) bilinearly over the image (H, W) is largest at the
    centre of its largest cell, so that it need not be upsampled to find the maximum. The place is constant
    for the gradient.
    """
    width = heatmaps.shape[3]
    best = heatmaps.detach().flatten(2).argmax(2)  # (B, M)
    cells = torch.stack([best // width, best % width], 2)
    return (cells + 0.5) * _cell(heatmaps, size)


def soft_places(heatmaps: Tensor, size: tuple[int, int]) -> Tensor:
    """Return (B, M, 2) like ``hard_places``, but such that the gradient reaches the heatmap.

    It is the mean place of the largest cell and its up to eight neighbours, weighted by the softmax of the
    heatmap, and so lies within one cell of the hard place.
    """
    height, width = heatmaps.shape[2:]
    best = heatmaps.detach().flatten(2).argmax(2)  # (B, M)
    rows = torch.arange(height, device=heatmaps.device)
    columns = torch.arange(width, device=heatmaps.device)
    near_row = (rows - (best // width)[..., None]).abs() <= 1  # (B, M, h)
    near_column = (columns - (best % width)[..., None]).abs() <= 1  # (B, M, w)
    near = near_row[..., None] & near_column[..., None, :]
    # The square root has no gradient at 0.
    spread = (heatmaps.flatten(2).var(2, correction=0) + 1e-12).sqrt()[..., None, None]
    scaled = (heatmaps * SHARPNESS / spread).masked_fill(~near, float("-inf"))
    share = scaled.flatten(2).softmax(2).view_as(scaled)  # (B, M, h, w)
    mean = torch.stack([(share.sum(3) * (rows + 0.5)).sum(2), (share.sum(2) * (columns + 0.5)).sum(2)], dim=2)
    return mean * _cell(heatmaps, size)


def corners(places: Tensor, side: int, size: tuple[int, int]) -> Tensor:
    """Return (B, M, 2) the upper left corners of crops around places, shifted to stay inside the image."""
    free = torch.tensor([size[0] - side, size[1] - side], device=places.device, dtype=places.dtype)
    return torch.minimum((places - side / 2).clamp_min(0), free)


def hard_crops(x: Tensor, places: Tensor, side: int) -> Tensor:
    """Return (B, M, C, side, side) the crops of images (B, C, H, W) around places (B, M, 2).

    Corners are rounded to whole pixels, so that crops hold the image's own pixels.
    """
    batch, channels, height, width = x.shape
    corner = corners(places, side, (height, width)).round().long()
    if x.device.type != "cpu" and x.requires_grad:
        # On GPUs, gradients that meet in one pixel are added in an order that changes from run to run.
        return soft_crops(x, corner.to(x.dtype), side)
    step = torch.arange(side, device=x.device)
    rows, columns = corner[..., :1] + step, corner[..., 1:] + step  # (B, M, side)
    pixel = (rows[..., None] * width + columns[..., None, :]).flatten(1)  # (B, M * side * side)
    found = x.flatten(2).gather(2, pixel[:, None].expand(-1, channels, -1))
    return found.view(batch, channels, -1, side, side).transpose(1, 2)


def soft_crops(x: Tensor, corner: Tensor, side: int) -> Tensor:
    """Return (B, M, C, side, side) crops whose corners (B, M, 2) may lie between pixels, bilinearly.

    The gradient passes through the image and through the corners. A row of weights per row of the crop, and
    one per column, makes it a product of matrices: it is the same each time on each device.
    """
    with torch.autocast(x.device.type, enabled=False):  # bfloat16 would round pixels and places
        x, corner = _full(x), _full(corner)
        rows = _weights(corner[..., 0], side, x.shape[2])  # (B, M, side, H)
        columns = _weights(corner[..., 1], side, x.shape[3])  # (B, M, side, W)
        lines = torch.einsum("bmih,bchw->bmciw", rows, x)
        return torch.einsum("bmciw,bmjw->bmcij", lines, columns)


def _weights(start: Tensor, side: int, length: int) -> Tensor:
    """Return (B, M, side, length) the weights of pixels in the bilinear values at start, start + 1, …"""
    wanted = start[..., None] + torch.arange(side, device=start.device)  # (B, M, side)
    pixels = torch.arange(length, device=start.device, dtype=start.dtype)
    return F.relu(1 - (wanted[..., None] - pixels).abs())


def _full(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()


def _cell(heatmaps: Tensor, size: tuple[int, int]) -> Tensor:
    """Return (2,) the height and width of a heatmap's cell in pixels."""
    height, width = heatmaps.shape[2:]
    return torch.tensor([size[0] / height, size[1] / width], device=heatmaps.device, dtype=heatmaps.dtype)
