"""SSIM, structural similarity, is computed for batches with the constants of Wang et al. 2004."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from harness.precision import exact
from harness_similarity.chunks import chunks

WINDOW, SIGMA = 11, 1.5  # pixels
K1, K2 = 0.01, 0.03
_C1, _C2 = K1**2, K2**2  # for L = 1; SSIM of images in 0 to 255 is the same, with L = 255


def structural_similarity(x_adv: Tensor, x: Tensor) -> npt.NDArray[np.float64]:
    """Return (B,) SSIM of images (B, C, H, W) in [0, 1], on any device; colour channels are averaged.

    Raises:
        ValueError: the shapes differ, or the images are smaller than the window, 11 x 11 pixels.
    """
    check(x_adv, x)
    with torch.inference_mode(), exact(x.device):
        return as_array([ssim(x_adv[part], x[part]) for part in chunks(x, 2)])


def ssim(changed: Tensor, original: Tensor) -> Tensor:
    """Return (B,) float64 SSIM of images (B, C, H, W) in [0, 1].

    It is equation 13 of Wang et al. 2004: an 11x11 Gaussian window with standard deviation 1.5, K1 = .01,
    K2 = .03 and population variances; the mean over the pixels whose window lies inside the image, as in
    their published code and in scikit-image, and over the colour channels. Colour matters: noise of 3/255
    per channel gives about .945 here and .969 on grey images.
    """
    count, channels = original.shape[:2]
    planes = [images.float().flatten(0, 1) for images in (changed, original)]
    parts = chunks(planes[0], multiple=_LANES)
    return (
        torch.cat([_of_planes(*(each[part] for each in planes)) for part in parts])
        .view(count, channels)
        .mean(1)
    )


def _of_planes(x: Tensor, y: Tensor) -> Tensor:
    """Return (P,) float64 SSIM of planes (P, H, W)."""
    # From sum and difference, four times the means, variances and the covariance need the fewest passes over
    # memory: 2 m_x m_y = (s^2 - d^2) / 2 and m_x^2 + m_y^2 = (s^2 + d^2) / 2, and so for the second moments.
    # Variances are differences of squares, which lose the fewest digits for values around 0.
    total, difference = (
        # Convolutions of single planes are fastest with the planes side by side and channels last.
        each[None].clone(memory_format=torch.channels_last)
        for each in (torch.add(x, y).sub_(1), torch.sub(x, y))
    )
    squares = torch.mul(total, total)
    spread, total = _smooth(squares), _smooth(total)
    differences = _smooth(torch.mul(difference, difference, out=squares))
    difference = _smooth(difference).square_()
    # With e = d^2, and q the like of the variances, SSIM is (1 - 2 e / (m + e)) (1 - 2 q / (v + q)).
    differences.sub_(difference)
    spread.addcmul_(total, total, value=-1).add_(differences).add_(2 * _C2)
    brightness = (
        torch.addcmul(total.new_tensor(1 + 2 * _C1), total, total).add_(total, alpha=2).add_(difference)
    )
    difference.div_(brightness)
    differences.div_(spread)
    loss = torch.add(difference, differences).addcmul_(difference, differences, value=-2)
    rows, columns = loss.shape[2:]
    sums = loss.permute(2, 3, 0, 1).reshape(rows, -1).sum(0).double().view(columns, -1).sum(0)
    return 1 - sums * (2 / (rows * columns))


def check(x_adv: Tensor, x: Tensor) -> None:
    """Raise ValueError unless both are (B, C, H, W) of one shape and at least as large as the window."""
    if x_adv.shape != x.shape or x.dim() != 4:
        raise ValueError(
            f"similarity: the shapes are {tuple(x_adv.shape)} and {tuple(x.shape)}; "
            "give two batches (B, C, H, W) of one shape"
        )
    if min(x.shape[2:]) < WINDOW:
        raise ValueError(
            f"similarity: {x.shape[2]} x {x.shape[3]} pixels are fewer than SSIM's window, "
            f"{WINDOW} x {WINDOW}; give larger images"
        )


def as_array(scores: list[Tensor]) -> npt.NDArray[np.float64]:
    """Return the scores of successive chunks as one array (B,)."""
    if not scores:
        return np.zeros(0)
    joined: npt.NDArray[np.float64] = torch.cat(scores).cpu().numpy()
    return joined


def gaussian(size: int, sigma: float) -> list[float]:
    """Return the weights of a Gaussian window, with sum 1."""
    weights = [math.exp(-0.5 * ((place - size // 2) / sigma) ** 2) for place in range(size)]
    return [weight / sum(weights) for weight in weights]


def _smooth(planes: Tensor) -> Tensor:
    """Return weighted means of planes (1, P, H, W) around all pixels whose window lies inside."""
    count = planes.shape[1]
    window = planes.new_tensor(_WEIGHTS)
    down = window.view(1, 1, WINDOW, 1).expand(count, 1, WINDOW, 1)
    across = window.view(1, 1, 1, WINDOW).expand(count, 1, 1, WINDOW)
    return F.conv2d(F.conv2d(planes, down, groups=count), across, groups=count)


_WEIGHTS = gaussian(WINDOW, SIGMA)
_LANES = 16  # planes that a processor smooths together, with AVX-512
