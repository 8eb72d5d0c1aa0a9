"""PASS and SSIM of the same pairs on two devices, and the time of each."""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from harness_similarity.homography import Lattice, places
from harness_similarity.perceptual import perceptual_similarity
from harness_similarity.structural import structural_similarity
from tests.gpu.report import Row

CLOSE = {"pass": 1e-3, "ssim": 1e-5}
"""The largest difference. A search for an alignment may end a step earlier on one device."""


def pairs(count: int, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return images (N, 3, H, W), warped a little and noisy, and the smooth images that they are made of."""
    draws = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 12, 10, generator=draws)
    x = F.interpolate(coarse, size=size, mode="bicubic", align_corners=False).clamp(0, 1)
    warps = torch.eye(3, dtype=torch.float64).repeat(count, 1, 1)
    warps[:, :2] += 0.01 * torch.randn(count, 2, 3, generator=draws, dtype=torch.float64)
    warps[:, 2, :2] += 0.005 * torch.randn(count, 2, generator=draws, dtype=torch.float64)
    moved = places(warps, Lattice.of(x)).sample(x)
    moved[0] = x[0]  # one is only noisy
    noisy = (moved + 0.02 * torch.randn(x.shape, generator=draws)).clamp(0, 1)
    return torch.round(noisy * 255) / 255, torch.round(x * 255) / 255


def compared(count: int, size: tuple[int, int], devices: tuple[torch.device, torch.device]) -> list[Row]:
    """Measure the pairs on both devices."""
    x_adv, x = pairs(count, size)
    rows = []
    for name, measure in (("pass", perceptual_similarity), ("ssim", structural_similarity)):
        values, seconds = [], []
        for device in devices:
            pair = x_adv.to(device), x.to(device)
            measure(pair[0][:2], pair[1][:2])  # the first call on a device loads what it needs
            start = time.perf_counter()
            values.append(measure(*pair))  # it returns NumPy's numbers, so the device has ended
            seconds.append((time.perf_counter() - start) / count * 1000)
        apart = float(np.abs(values[0] - values[1]).max())
        figures = {
            "largest": apart,
            "mean": float(values[1].mean()),
            "ms_per_image": f"{seconds[0]:.2f}/{seconds[1]:.2f}",
        }
        status = "same" if apart <= CLOSE[name] and values[1].max() <= 1 + 1e-6 else "differs"
        rows.append(Row("similarity", name, status, "", figures))
    return rows
