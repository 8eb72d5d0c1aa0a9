"""SSIM against other implementations; PASS, which forgives what an alignment can undo."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage import data
from skimage.metrics import structural_similarity as skimage_ssim
from torch import Tensor

from harness import catalog
from harness_similarity.norms import l1, rmse
from harness_similarity.perceptual import align, perceptual_similarity
from harness_similarity.structural import grey_levels, structural_similarity

HEIGHT, WIDTH = 218, 178  # of CelebA's aligned images
Picture = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def portraits() -> Tensor:
    """(3, 3, 218, 178): parts of a photograph that comes with scikit-image, on the 8-bit grid."""
    photograph = data.astronaut()
    corners = [(0, 100), (150, 60), (30, 250)]
    parts = [photograph[top : top + 262, left : left + 214] for top, left in corners]
    resized = [cv2.resize(part, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) for part in parts]
    return torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).float() / 255


def noisy(x: Tensor, grey_levels: int = 3) -> Tensor:
    """Each component lighter or darker by that much."""
    signs = torch.randint(0, 2, x.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return (x + signs * grey_levels / 255).clamp(0, 1)


def shifted(x: Tensor, right: float = 2.3, down: float = 1.7) -> Tensor:
    matrix = np.array([[1, 0, right], [0, 1, down]], np.float32)
    moved = [
        cv2.warpAffine(picture, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        for picture in grey_levels(x)
    ]
    return (torch.from_numpy(np.stack(moved)).permute(0, 3, 1, 2).round() / 255).clamp(0, 1)


def plain_ssim(a: Picture, b: Picture) -> float:
    """Wang et al. 2004, equations 14 to 16, of one channel, without its borders."""

    def mean(values: Picture) -> npt.NDArray[np.float64]:
        # sigma 1.5 cut off at 3.5 sigma: 5 pixels to each side, a window of 11
        return np.asarray(gaussian_filter(values.astype(np.float64), 1.5, truncate=3.5), np.float64)

    mean_a, mean_b = mean(a), mean(b)
    one, two = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    variance_a = mean(np.square(a, dtype=np.float64)) - mean_a**2
    variance_b = mean(np.square(b, dtype=np.float64)) - mean_b**2
    covariance = mean(np.multiply(a, b, dtype=np.float64)) - mean_a * mean_b
    similarity = (2 * mean_a * mean_b + one) * (2 * covariance + two)
    similarity /= (mean_a**2 + mean_b**2 + one) * (variance_a + variance_b + two)
    return float(similarity[5:-5, 5:-5].mean())


# --- SSIM -------------------------------------------------------------------------------------------------


def test_ssim_is_that_of_wang(portraits: Tensor) -> None:
    changed = noisy(portraits, 9)
    expected = [
        np.mean([plain_ssim(a[..., channel], b[..., channel]) for channel in range(3)])
        for a, b in zip(grey_levels(changed), grey_levels(portraits), strict=True)
    ]
    np.testing.assert_allclose(structural_similarity(changed, portraits), expected, atol=1e-4)


def test_ssim_is_that_of_skimage(portraits: Tensor) -> None:
    changed, options = (
        noisy(portraits),
        {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False},
    )
    expected = [
        skimage_ssim(a, b, data_range=1, channel_axis=0, **options)
        for a, b in zip(changed.double().numpy(), portraits.double().numpy(), strict=True)
    ]
    np.testing.assert_allclose(structural_similarity(changed, portraits), expected, atol=1e-4)


def test_three_grey_levels_of_noise(portraits: Tensor) -> None:
    colour = structural_similarity(noisy(portraits), portraits)
    assert colour.mean() == pytest.approx(0.945, abs=0.03)
    grey = perceptual_similarity(noisy(portraits), portraits, colour="grey", least_correlation=2)
    # The noise of three channels partly cancels.
    assert grey.mean() == pytest.approx(0.97, abs=0.02)
    assert (grey > colour).all()


def test_one_channel_is_an_image_too(portraits: Tensor) -> None:
    grey = portraits[:, :1]
    for colour in ("channels", "grey"):
        found = perceptual_similarity(noisy(grey), grey, colour=colour)  # type: ignore[arg-type]
        np.testing.assert_allclose(found, structural_similarity(noisy(grey), grey), atol=0.01)


# --- PASS -------------------------------------------------------------------------------------------------


def test_identical_images_are_1(portraits: Tensor) -> None:
    assert perceptual_similarity(portraits, portraits).tolist() == pytest.approx([1] * 3, abs=1e-6)
    black = torch.zeros(1, 3, 20, 20)
    assert perceptual_similarity(black, black).tolist() == [1]


def test_pass_forgives_a_shift_and_ssim_does_not(portraits: Tensor) -> None:
    moved = shifted(portraits)
    without, aligned = structural_similarity(moved, portraits), perceptual_similarity(moved, portraits)
    assert (without < 0.75).all()
    assert (aligned > 0.9).all()
    assert (aligned < 1).all()


def test_pass_of_noise_is_hardly_another_than_ssim(portraits: Tensor) -> None:
    # Nothing is to be aligned; the warp's interpolation may smooth a little of the noise away.
    np.testing.assert_allclose(
        perceptual_similarity(noisy(portraits), portraits),
        structural_similarity(noisy(portraits), portraits),
        atol=0.02,
    )


@pytest.mark.parametrize("kind", ["constant", "negative", "unrelated"])
def test_where_nothing_aligns_pass_is_ssim(portraits: Tensor, kind: str) -> None:
    changed = {
        "constant": torch.full_like(portraits, 0.5),
        "negative": 1 - portraits,
        "unrelated": torch.rand(portraits.shape, generator=torch.Generator().manual_seed(0)),
    }[kind]
    found = perceptual_similarity(changed, portraits)
    assert found.tolist() == structural_similarity(changed, portraits).tolist()
    assert (found < 0.6).all()


def test_homography_is_undone(portraits: Tensor) -> None:
    original = grey_levels(portraits[:1])[0]
    matrix = np.array([[1.02, 0.01, -2], [-0.008, 0.99, 1.5], [2e-5, -1e-5, 1]], np.float32)
    moved = cv2.warpPerspective(original, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
    restored = align(moved, original)
    inner = (slice(15, -15), slice(15, -15))
    assert np.abs(restored - original)[inner].mean() < 0.4 * np.abs(moved - original)[inner].mean()


def test_least_correlation_decides_whether_a_warp_counts(portraits: Tensor) -> None:
    moved = shifted(portraits[:1])
    assert perceptual_similarity(moved, portraits[:1], least_correlation=1.1).tolist() == (
        structural_similarity(moved, portraits[:1]).tolist()
    )


def test_pairs_are_judged_alone_and_repeat(portraits: Tensor) -> None:
    moved = shifted(portraits)
    together = perceptual_similarity(moved, portraits)
    assert together.shape == (3,)
    alone = [perceptual_similarity(moved[i : i + 1], portraits[i : i + 1])[0] for i in (2, 0)]
    assert alone == [together[2], together[0]]
    assert perceptual_similarity(portraits[:0], portraits[:0]).shape == (0,)


def test_measures_change_nothing(portraits: Tensor) -> None:
    moved, before = noisy(portraits), noisy(portraits).clone()
    original = portraits.clone()
    for measure in (perceptual_similarity, structural_similarity, l1, rmse):
        measure(moved, portraits)
    assert torch.equal(moved, before)
    assert torch.equal(portraits, original)


# --- norms ------------------------------------------------------------------------------------------------


def test_norms() -> None:
    x = torch.full((2, 3, 2, 2), 0.5)
    changed = x.clone()
    changed[0, 0, 0, 0] += 0.25
    changed[0, 1, 1, 1] -= 0.125
    assert l1(changed, x).tolist() == [0.375, 0]
    assert rmse(changed, x).tolist() == pytest.approx([255 * ((0.25**2 + 0.125**2) / 12) ** 0.5, 0])
    assert rmse(x + 3 / 255, x).tolist() == pytest.approx([3, 3], rel=1e-5)


def test_measures_can_be_found() -> None:
    for name in ("pass", "ssim", "l1", "rmse"):
        entry = catalog().measures[name]
        assert entry.load(entry.spec.run) is not None
