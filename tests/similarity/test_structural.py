"""SSIM against the published formula and against scikit-image."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from harness_similarity.perceptual import perceptual_similarity
from harness_similarity.structural import structural_similarity

from .distortions import DISTORTIONS, noisy
from .reference import Picture, pictures, reference_ssim


def plain_ssim(a: Picture, b: Picture) -> float:
    """Wang et al. 2004, equations 14 to 16, of one channel, without its borders, in float64."""

    def mean(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        # sigma 1.5 cut off at 3.5 sigma: 5 pixels to each side, a window of 11
        return np.asarray(gaussian_filter(values, 1.5, truncate=3.5), np.float64)

    a, b = a.astype(np.float64), b.astype(np.float64)
    mean_a, mean_b = mean(a), mean(b)
    one, two = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    variance_a = mean(a**2) - mean_a**2
    variance_b = mean(b**2) - mean_b**2
    covariance = mean(a * b) - mean_a * mean_b
    similarity = (2 * mean_a * mean_b + one) * (2 * covariance + two)
    similarity /= (mean_a**2 + mean_b**2 + one) * (variance_a + variance_b + two)
    return float(similarity[5:-5, 5:-5].mean())


@pytest.mark.parametrize("kind", DISTORTIONS)
def test_ssim_is_that_of_wang_and_of_skimage(portraits: Tensor, kind: str) -> None:
    changed = DISTORTIONS[kind](portraits)
    by_formula = [
        np.mean([plain_ssim(a[..., channel], b[..., channel]) for channel in range(3)])
        for a, b in zip(pictures(changed), pictures(portraits), strict=True)
    ]
    found = structural_similarity(changed, portraits)
    np.testing.assert_allclose(found, by_formula, atol=2e-6)
    np.testing.assert_allclose(found, reference_ssim(changed, portraits), atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(11, 11), (11, 40), (37, 12), (500, 420)])
def test_any_size_from_the_window_on(height: int, width: int) -> None:
    x = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(structural_similarity(noisy(x), x), reference_ssim(noisy(x), x), atol=1e-5)


def test_three_grey_levels_of_noise(portraits: Tensor) -> None:
    colour = structural_similarity(noisy(portraits), portraits)
    assert colour.mean() == pytest.approx(0.945, abs=0.03)
    grey = perceptual_similarity(noisy(portraits), portraits, colour="grey", least_correlation=2)
    # The noise of three channels partly cancels.
    assert grey.mean() == pytest.approx(0.97, abs=0.02)
    assert (grey > colour).all()


def test_identical_images_are_1(portraits: Tensor) -> None:
    assert structural_similarity(portraits, portraits).tolist() == pytest.approx([1] * 3, abs=1e-7)
    assert structural_similarity(portraits[:0], portraits[:0]).shape == (0,)


def test_faults_are_named(portraits: Tensor) -> None:
    for measure in (structural_similarity, perceptual_similarity):
        with pytest.raises(ValueError, match="give two batches"):
            measure(portraits, portraits[:2])
        with pytest.raises(ValueError, match="10 x 40 pixels are fewer than SSIM's window, 11 x 11"):
            measure(portraits[:, :, :10, :40], portraits[:, :, :10, :40])
