"""PASS and SSIM by OpenCV and scikit-image, one pair at a time: what the measures are held against."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from skimage.metrics import structural_similarity as skimage_ssim
from torch import Tensor

Picture = npt.NDArray[np.float32]  # (H, W, C) in 8-bit levels


def reference_pass(
    x_adv: Tensor,
    x: Tensor,
    *,
    colour: str = "channels",
    iterations: int = 50,
    precision: float = 1e-6,
    filter_size: int = 5,
    least_correlation: float = 0.5,
) -> npt.NDArray[np.float64]:
    """(B,) PASS of images (B, C, H, W) in [0, 1]."""
    scores = []
    for changed, original in zip(pictures(x_adv), pictures(x), strict=True):
        aligned = align(changed, original, iterations, precision, filter_size, least_correlation)
        if colour == "grey":
            scores.append(ssim(grey(aligned)[..., None], grey(original)[..., None]))
        else:
            scores.append(ssim(aligned, original))
    return np.array(scores)


def reference_ssim(x_adv: Tensor, x: Tensor) -> npt.NDArray[np.float64]:
    """(B,) SSIM of images (B, C, H, W) in [0, 1]."""
    return np.array([ssim(a, b) for a, b in zip(pictures(x_adv), pictures(x), strict=True)])


def align(
    changed: Picture,
    original: Picture,
    iterations: int = 50,
    precision: float = 1e-6,
    filter_size: int = 5,
    least_correlation: float = 0.5,
) -> Picture:
    """``changed`` warped by the homography that maximises ECC with ``original``, or as it is on failure."""
    template, moving = grey(original), grey(changed)
    if np.array_equal(template, moving):
        return changed
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, iterations, precision)
    start = np.eye(3, dtype=np.float32)
    try:
        correlation, warp = cv2.findTransformECC(  # type: ignore[call-overload]
            template, moving, start, cv2.MOTION_HOMOGRAPHY, stop, None, filter_size
        )
    except cv2.error:  # a constant image, a negative, no convergence
        return changed
    if not correlation >= least_correlation or not np.isfinite(warp).all():
        return changed
    height, width = template.shape
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpPerspective(changed, warp, (width, height), flags=flags)
    return np.asarray(warped, np.float32).reshape(changed.shape)


def ssim(changed: Picture, original: Picture) -> float:
    """Of two images in 8-bit levels, per colour channel and averaged."""
    return float(
        skimage_ssim(  # type: ignore[no-untyped-call]
            changed,
            original,
            data_range=255,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            K1=0.01,
            K2=0.03,
            channel_axis=2,
        )
    )


def grey(picture: Picture) -> npt.NDArray[np.float32]:
    """(H, W) luma of an RGB picture (H, W, 3), or its only channel."""
    if picture.shape[2] == 1:
        return np.ascontiguousarray(picture[..., 0])
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.float32)


def pictures(x: Tensor) -> Picture:
    """(B, H, W, C) in 8-bit levels of images (B, C, H, W) in [0, 1]."""
    levels: Picture = (x.detach().cpu().float() * 255).permute(0, 2, 3, 1).numpy()
    return np.ascontiguousarray(levels)
