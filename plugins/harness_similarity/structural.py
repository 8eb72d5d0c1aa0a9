"""SSIM with the constants that Wang et al. 2004 publish, by scikit-image."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from skimage.metrics import structural_similarity as skimage_ssim
from torch import Tensor

GREY_LEVELS = 255


def structural_similarity(x_adv: Tensor, x: Tensor) -> npt.NDArray[np.float64]:
    """(B,) SSIM of images (B, C, H, W) in [0, 1], H and W at least 11."""
    pairs = zip(grey_levels(x_adv), grey_levels(x), strict=True)
    return np.array([ssim(changed, original) for changed, original in pairs])


def ssim(changed: npt.NDArray[np.float32], original: npt.NDArray[np.float32]) -> float:
    """SSIM of two images (H, W, C) in grey levels.

    11x11 Gaussian window of standard deviation 1.5, K1 = .01, K2 = .03, population covariance; the mean
    over pixels and colour channels. Colour matters: noise of 3 grey levels per channel gives .945 here and
    .969 on grey images.
    """
    return float(
        skimage_ssim(  # type: ignore[no-untyped-call]
            changed,
            original,
            data_range=GREY_LEVELS,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            K1=0.01,
            K2=0.03,
            channel_axis=2,
        )
    )


def grey_levels(x: Tensor) -> npt.NDArray[np.float32]:
    """(B, H, W, C) float32 in 0..255 of images (B, C, H, W) in [0, 1]."""
    levels: npt.NDArray[np.float32] = (x.detach().cpu().float() * GREY_LEVELS).permute(0, 2, 3, 1).numpy()
    return np.ascontiguousarray(levels)
