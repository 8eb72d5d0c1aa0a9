"""PASS, the perceptual adversarial similarity score: SSIM after the homography that aligns best.

PASS(x~, x) = SSIM(psi(x~), x), where psi maximises the enhanced correlation coefficient of the two (Rozsa et
al. 2016; Evangelidis and Psarakis 2008), on OpenCV and scikit-image, one image pair at a time.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
from torch import Tensor

from harness_similarity.structural import grey_levels, ssim

Picture = npt.NDArray[np.float32]  # (H, W, C) in grey levels


def perceptual_similarity(
    x_adv: Tensor,
    x: Tensor,
    *,
    colour: Literal["channels", "grey"] = "channels",
    iterations: int = 50,
    precision: float = 1e-6,
    filter_size: int = 5,
    least_correlation: float = 0.5,
) -> npt.NDArray[np.float64]:
    """(B,) PASS of images (B, C, H, W) in [0, 1].

    Args:
        colour: SSIM per colour channel and averaged, or of the grey images. Alignment is always on grey.
        iterations, precision: where the alignment stops; precision is of the correlation's growth.
        filter_size: of the Gaussian that smooths both images before alignment, in pixels, odd.
        least_correlation: unrelated images align to nonsense of hardly any correlation; an alignment that
            ends below this, or fails, is replaced by none.
    """
    scores = []
    for changed, original in zip(grey_levels(x_adv), grey_levels(x), strict=True):
        aligned = align(changed, original, iterations, precision, filter_size, least_correlation)
        if colour == "grey":
            scores.append(ssim(grey(aligned)[..., None], grey(original)[..., None]))
        else:
            scores.append(ssim(aligned, original))
    return np.array(scores)


def align(
    changed: Picture,
    original: Picture,
    iterations: int = 50,
    precision: float = 1e-6,
    filter_size: int = 5,
    least_correlation: float = 0.5,
) -> Picture:
    """``changed`` warped by the homography that maximises ECC with ``original``, or as it is on failure.

    What the warp moves in from outside the picture is black, OpenCV's default.
    """
    template, moving = grey(original), grey(changed)
    if np.array_equal(template, moving):
        return changed
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, iterations, precision)
    try:
        correlation, warp = cv2.findTransformECC(  # type: ignore[call-overload]
            template,
            moving,
            np.eye(3, dtype=np.float32),
            cv2.MOTION_HOMOGRAPHY,
            stop,
            None,
            filter_size,
        )
    except cv2.error:  # a constant image, a negative, no convergence
        return changed
    if not correlation >= least_correlation or not np.isfinite(warp).all():
        return changed
    height, width = template.shape
    warped = cv2.warpPerspective(
        changed,
        warp,
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
    )
    return np.asarray(warped, np.float32).reshape(changed.shape)


def grey(picture: Picture) -> npt.NDArray[np.float32]:
    """(H, W) luma of an RGB picture (H, W, 3), or its only channel."""
    if picture.shape[2] == 1:
        return np.ascontiguousarray(picture[..., 0])
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.float32)
