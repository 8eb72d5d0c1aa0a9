"""PASS, the perceptual adversarial similarity score, is SSIM after the homography that aligns best.

PASS(x~, x) = SSIM(psi(x~), x), where psi maximises the enhanced correlation coefficient (ECC) of the two
(Rozsa et al. 2016; Evangelidis and Psarakis 2008). Details that these papers leave open are as in OpenCV's
``findTransformECC`` and ``warpPerspective``, which are commonly used for PASS.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from harness.precision import exact
from harness_similarity.alignment import align
from harness_similarity.chunks import chunks
from harness_similarity.homography import Lattice, places
from harness_similarity.structural import as_array, check, gaussian, ssim

LUMA = (0.299, 0.587, 0.114)  # the weights of red, green and blue in ITU-R BT.601
_SEARCHED_TOGETHER = 8  # chunks, because the few images that need many steps cost as much as a chunk


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
    """Return (B,) PASS of images (B, C, H, W) in [0, 1], C = 1 or 3, on any device.

    Pixels that the warp moves in from outside the picture are black. The score of an image does not depend
    on the others of its batch.

    Args:
        colour: "channels": SSIM per colour channel, averaged; "grey": SSIM of the grey images. The alignment
            always uses the grey images.
        iterations: the largest number of steps of the alignment.
        precision: the growth of the correlation below which the alignment stops.
        filter_size: the size in pixels, an odd number, of the Gaussian that smooths both images before the
            alignment; 1 for none.
        least_correlation: unrelated images have no meaningful alignment and hardly any correlation; an
            alignment that ends below this, or fails, is not used, and PASS is then SSIM.

    Raises:
        ValueError: the shapes differ, or the images are smaller than SSIM's window, 11 x 11 pixels, or a
            parameter is out of range.
    """
    check(x_adv, x)
    if colour not in ("channels", "grey"):
        raise ValueError(f'pass: colour = {colour!r} must be "channels" or "grey"')
    if filter_size < 1 or filter_size % 2 == 0 or filter_size // 2 >= min(x.shape[2:]):
        raise ValueError(f"pass: filter_size = {filter_size} must be odd, and smaller than the images")
    scores = []
    with torch.inference_mode(), exact(x.device):
        for part in chunks(x, _SEARCHED_TOGETHER):
            changed, original = x_adv[part].float(), x[part].float()
            warps, moved = find_warps(
                changed,
                original,
                iterations=iterations,
                precision=precision,
                filter_size=filter_size,
                least_correlation=least_correlation,
            )
            for some in chunks(original, 2):
                aligned, fixed = apply_warps(changed[some], warps[some], moved[some]), original[some]
                if colour == "grey":
                    aligned, fixed = grey(aligned), grey(fixed)
                scores.append(ssim(aligned, fixed))
    return as_array(scores)


def find_warps(
    changed: Tensor,
    original: Tensor,
    *,
    iterations: int = 50,
    precision: float = 1e-6,
    filter_size: int = 5,
    least_correlation: float = 0.5,
) -> tuple[Tensor, Tensor]:
    """Find homographies (B, 3, 3) that align images (B, C, H, W) with their originals, and tell (B,) where.

    There is none, and the warp is the identity, if both images are the same in grey, if the search fails (a
    constant image, a negative), or if it ends with too little correlation.
    """
    moving, template = (torch.empty_like(original[:, 0]) for _ in range(2))
    same = torch.empty(len(original), dtype=torch.bool, device=original.device)
    for some in chunks(original):
        one, other = grey(changed[some]), grey(original[some])
        # A sum of absolute differences takes a fifth of the time of comparing and of all().
        same[some] = torch.linalg.vector_norm(one - other, ord=1, dim=3).sum((1, 2)) == 0
        moving[some], template[some] = blurred(one, filter_size), blurred(other, filter_size)
    alignment = align(moving, template, iterations=iterations, precision=precision)
    warps = alignment.warps
    moved = alignment.found & (alignment.correlation >= least_correlation) & ~same
    moved &= warps.isfinite().flatten(1).all(1)
    identity = torch.eye(3, dtype=warps.dtype, device=warps.device)
    return torch.where(moved[:, None, None], warps, identity), moved


def apply_warps(images: Tensor, warps: Tensor, moved: Tensor) -> Tensor:
    """Resample those images (B, C, H, W) that ``moved`` (B,) names through homographies (B, 3, 3)."""
    if not moved.any():
        return images
    warped = places(warps, Lattice.of(images)).sample(images)
    if not moved.all():
        warped[~moved] = images[~moved]
    return warped


def grey(images: Tensor) -> Tensor:
    """Return (B, 1, H, W) the luma of RGB images (B, 3, H, W), or their only channel."""
    if images.shape[1] == 1:
        return images
    red, green, blue = (images[:, i : i + 1] for i in range(3))
    return (red * LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])


def blurred(images: Tensor, size: int) -> Tensor:
    """Smooth images (B, 1, H, W) by a Gaussian window of that many pixels, mirrored at the border.

    The window is the one that OpenCV uses for a size alone: binomial up to 5 pixels, else with a standard
    deviation of .3 ((size - 1) / 2 - 1) + .8. The result is (B, H, W).
    """
    if size == 1:
        return images[:, 0]
    weights = _BINOMIAL.get(size) or gaussian(size, 0.3 * ((size - 1) / 2 - 1) + 0.8)
    height, width = images.shape[2:]
    around = F.pad(images, (size // 2,) * 4, mode="reflect")[:, 0]
    # For so few planes, additions are faster than a convolution.
    down = around[:, :height] * weights[0]
    for place, weight in enumerate(weights[1:], start=1):
        down.add_(around[:, place : place + height], alpha=weight)
    across = down[:, :, :width] * weights[0]
    for place, weight in enumerate(weights[1:], start=1):
        across.add_(down[:, :, place : place + width], alpha=weight)
    return across


_BINOMIAL = {3: [0.25, 0.5, 0.25], 5: [0.0625, 0.25, 0.375, 0.25, 0.0625]}
