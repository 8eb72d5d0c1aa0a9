"""PASS: against OpenCV and scikit-image; which alignments count; and that each image is judged alone."""

from __future__ import annotations

import os
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from harness_faces import celeba, synthetic
from harness_similarity import alignment, chunks, norms
from harness_similarity.perceptual import apply_warps, find_warps, perceptual_similarity
from harness_similarity.structural import structural_similarity

from .adversarials import ATTACKS, adversarials, faces
from .distortions import DISTORTIONS, gaussian_noise, moved, noisy, shifted
from .reference import pictures, reference_pass

BAR = 0.002
SIZES = [(218, 178), (88, 72)]
NO_WARP = ["constant", "negative", "noise alone"]


def largest_difference(x_adv: Tensor, x: Tensor, **parameters: Any) -> float:
    found = perceptual_similarity(x_adv, x, **parameters)
    assert np.isfinite(found).all()
    return float(np.abs(found - reference_pass(x_adv, x, **parameters)).max())


@pytest.fixture(scope="module", params=SIZES, ids=["218x178", "88x72"])
def drawn(request: pytest.FixtureRequest) -> tuple[Tensor, Tensor]:
    """Drawn faces (8, 3, H, W), and whether they are male."""
    return faces(synthetic.load(size=request.param, count=400), 8)


@pytest.fixture(scope="module", params=SIZES, ids=["218x178", "88x72"])
def real(request: pytest.FixtureRequest) -> tuple[Tensor, Tensor]:
    folder = os.environ.get("CELEBA_ROOT")
    if not folder:
        pytest.skip("CELEBA_ROOT is unset")
    return faces(celeba.load(root=folder, size=request.param), 24)


# --- against OpenCV and scikit-image ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", DISTORTIONS)
def test_photographs(portraits: Tensor, kind: str) -> None:
    assert largest_difference(DISTORTIONS[kind](portraits), portraits) <= BAR


@pytest.mark.parametrize("kind", DISTORTIONS)
def test_drawn_faces(drawn: tuple[Tensor, Tensor], kind: str) -> None:
    every = drawn[0]
    x = every[::2] if every.shape[2:] == SIZES[0] else every  # large ones take long
    assert largest_difference(DISTORTIONS[kind](x), x) <= BAR


@pytest.mark.parametrize("attack", ATTACKS)
def test_adversarials_of_drawn_faces(drawn: tuple[Tensor, Tensor], attack: str) -> None:
    assert largest_difference(adversarials(*drawn, attack), drawn[0]) <= BAR


@pytest.mark.real_data
@pytest.mark.parametrize("kind", DISTORTIONS)
def test_real_faces(real: tuple[Tensor, Tensor], kind: str) -> None:
    assert largest_difference(DISTORTIONS[kind](real[0]), real[0]) <= BAR


@pytest.mark.real_data
@pytest.mark.parametrize("attack", ATTACKS)
def test_adversarials_of_real_faces(real: tuple[Tensor, Tensor], attack: str) -> None:
    assert largest_difference(adversarials(*real, attack), real[0]) <= BAR


@pytest.mark.parametrize(
    "parameters",
    [
        {"colour": "grey"},
        {"filter_size": 1},
        {"filter_size": 3},
        {"filter_size": 7},
        {"iterations": 1},
        {"iterations": 3, "precision": 1e-9},
        {"precision": 1e-3},
        {"least_correlation": 0.999},
    ],
    ids=str,
)
def test_parameters_mean_the_same(portraits: Tensor, parameters: dict[str, Any]) -> None:
    for kind in ("noise of 9", "shift by (2.3, 1.7)", "turn by -2"):
        assert largest_difference(DISTORTIONS[kind](portraits), portraits, **parameters) <= BAR


def test_one_channel_is_an_image_too(portraits: Tensor) -> None:
    grey = portraits[:, :1]
    for colour in ("channels", "grey"):
        assert largest_difference(shifted(grey), grey, colour=colour) <= BAR


def test_published_shift(portraits: Tensor) -> None:
    # SSIM .565 and PASS .942 in the example that is published, of another photograph.
    without, aligned = (
        structural_similarity(shifted(portraits), portraits),
        perceptual_similarity(shifted(portraits), portraits),
    )
    assert (without < 0.75).all()
    assert (aligned > 0.9).all()
    assert (aligned < 1).all()


def test_homography_is_undone(portraits: Tensor) -> None:
    changed = moved(portraits, [[1.02, 0.01, -2], [-0.008, 0.99, 1.5], [2e-5, -1e-5, 1]])
    warps, found = find_warps(changed, portraits)
    assert found.all()
    restored = apply_warps(changed, warps, found)
    inner = (..., slice(15, -15), slice(15, -15))
    assert (restored - portraits).abs()[inner].mean() < 0.4 * (changed - portraits).abs()[inner].mean()


# --- the steps of a search --------------------------------------------------------------------------------


@pytest.fixture
def rows_seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows of an image each step of a search looks at; of a single chunk of images."""
    seen, made = [], alignment._sums

    def watched(view: Any, *args: Any) -> Any:
        seen.append(view.template.shape[1])
        return made(view, *args)

    monkeypatch.setattr(alignment, "_sums", watched)
    return seen


def test_far_steps_look_at_a_quarter_of_the_pixels(portraits: Tensor, rows_seen: list[int]) -> None:
    find_warps(shifted(portraits), portraits)
    fewer = rows_seen.count(109)
    assert rows_seen[: fewer + 1] == [218] + [109] * fewer
    assert fewer >= 1
    assert rows_seen[fewer + 1 :].count(218) >= 2


def test_near_and_small_images_are_looked_at_as_a_whole(portraits: Tensor, rows_seen: list[int]) -> None:
    find_warps(noisy(portraits), portraits)
    small = torch.nn.functional.interpolate(portraits, (88, 72), mode="area")
    find_warps(shifted(small), small)
    assert set(rows_seen) == {218, 88}


@pytest.mark.parametrize("iterations", [0, 1, 3, 4, 5])
def test_all_steps_count(portraits: Tensor, rows_seen: list[int], iterations: int) -> None:
    find_warps(shifted(portraits[:1]), portraits[:1], iterations=iterations, precision=1e-12)
    assert len(rows_seen) == iterations
    assert rows_seen.count(109) <= max(iterations - 3, 0)


@pytest.mark.parametrize(("share", "steps"), [(1.0, 2), (0.9, 10)])
def test_search_that_goes_round_in_circles_ends(
    portraits: Tensor, rows_seen: list[int], share: float, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The correlation changes by more than the precision, but no more is to be gained than a step before.
    made, number = alignment._step, iter(range(50))

    def circling(*args: Any) -> Any:
        change, _, gain, fine = made(*args)
        step = next(number)
        return (
            change,
            torch.full_like(gain, 0.9 + step * 1e-4),
            torch.full_like(gain, 5e-7 * share**step),
            fine,
        )

    monkeypatch.setattr(alignment, "_step", circling)
    find_warps(noisy(portraits), portraits, iterations=10)
    assert len(rows_seen) == steps


# --- alignments that do not count -------------------------------------------------------------------------


def test_identical_grey_is_not_warped(portraits: Tensor) -> None:
    assert perceptual_similarity(portraits, portraits).tolist() == pytest.approx([1] * 3, abs=1e-7)
    assert not find_warps(portraits, portraits)[1].any()


@pytest.mark.parametrize("kind", NO_WARP)
def test_where_nothing_aligns_pass_is_ssim(portraits: Tensor, kind: str) -> None:
    changed = DISTORTIONS[kind](portraits)
    warps, found = find_warps(changed, portraits)
    assert not found.any()
    assert torch.equal(warps, torch.eye(3, dtype=warps.dtype).expand(3, 3, 3))
    assert (
        perceptual_similarity(changed, portraits).tolist()
        == structural_similarity(changed, portraits).tolist()
    )
    # … and neither is the original aligned with them.
    assert (
        perceptual_similarity(portraits, changed).tolist()
        == structural_similarity(portraits, changed).tolist()
    )


def test_nothing_to_align_in_constants_and_stripes() -> None:
    black, white = torch.zeros(1, 3, 20, 20), torch.ones(1, 3, 20, 20)
    stripes = torch.linspace(0, 1, 20).expand(1, 3, 20, 20)
    lighter = (stripes * 0.9 + 0.05).contiguous()
    x_adv, x = torch.cat([black, black, lighter, black]), torch.cat([black, white, stripes, stripes])
    assert perceptual_similarity(x_adv, x).tolist() == structural_similarity(x_adv, x).tolist()


@pytest.mark.parametrize("broken", ["correlation", "warps", "found"])
def test_alignment_that_ends_in_nonsense_does_not_count(
    portraits: Tensor, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness_similarity import perceptual

    searched = perceptual.align

    def spoilt(*args: Any, **kwargs: Any) -> Any:
        alignment = searched(*args, **kwargs)
        getattr(alignment, broken)[1] = {"correlation": 0.49, "warps": torch.inf, "found": False}[broken]
        return alignment

    monkeypatch.setattr(perceptual, "align", spoilt)
    changed = shifted(portraits)
    found, without = perceptual_similarity(changed, portraits), structural_similarity(changed, portraits)
    assert found[1] == without[1]
    assert (found[[0, 2]] > without[[0, 2]]).all()


def test_least_correlation_decides_whether_a_warp_counts(portraits: Tensor) -> None:
    changed = shifted(portraits)
    assert perceptual_similarity(changed, portraits, least_correlation=1.1).tolist() == (
        structural_similarity(changed, portraits).tolist()
    )


# --- one image at a time ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_no_score_depends_on_the_batch(
    portraits: Tensor, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = torch.nn.functional.interpolate(portraits, size, mode="area")
    kinds = [kind for kind in DISTORTIONS if kind != "constant"]
    # each kind of one portrait, by turns: what makes a batch uneven is the kinds
    every = [*(DISTORTIONS[kind](small) for kind in kinds), gaussian_noise(small, 25)]
    x_adv = torch.stack([changed[turn % 3] for turn, changed in enumerate(every)])
    x = torch.stack([small[turn % 3] for turn in range(len(every))])
    together = perceptual_similarity(x_adv, x)
    alone = [perceptual_similarity(x_adv[i : i + 1], x[i : i + 1])[0] for i in range(len(x))]
    np.testing.assert_allclose(alone, together, atol=1e-5)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(
        perceptual_similarity(x_adv[order], x[order]), together[order.numpy()], atol=1e-5
    )
    for pixels in (1, 3 * size[0] * size[1], 10**9):
        monkeypatch.setitem(chunks._PIXELS, "cpu", pixels)
        np.testing.assert_allclose(perceptual_similarity(x_adv, x), together, atol=1e-5)
        np.testing.assert_allclose(
            structural_similarity(x_adv, x), reference_free(structural_similarity, x_adv, x), atol=1e-5
        )


def reference_free(measure: Any, x_adv: Tensor, x: Tensor) -> list[float]:
    """Each pair by a call of its own."""
    return [measure(x_adv[i : i + 1], x[i : i + 1])[0] for i in range(len(x))]


def test_no_images() -> None:
    empty = torch.zeros(0, 3, 20, 20)
    assert perceptual_similarity(empty, empty).shape == (0,)


def test_memory_is_bounded(portraits: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness_similarity import perceptual

    seen = []
    searched = perceptual.align

    def watched(moving: Tensor, *args: Any, **kwargs: Any) -> Any:
        seen.append(len(moving))
        return searched(moving, *args, **kwargs)

    monkeypatch.setattr(perceptual, "align", watched)
    x = portraits.repeat(40, 1, 1, 1)
    perceptual_similarity(noisy(x), x, iterations=1)
    assert sum(seen) == len(x)
    assert max(seen) <= 65 < len(x)


def test_measures_change_nothing(portraits: Tensor) -> None:
    changed, before, original = noisy(portraits), noisy(portraits), portraits.clone()
    for measure in (perceptual_similarity, structural_similarity, norms.l1, norms.rmse):
        measure(changed, portraits)
    assert torch.equal(changed, before)
    assert torch.equal(portraits, original)


@pytest.mark.parametrize("size", [0, 2, 41])
def test_faulty_filter_size(portraits: Tensor, size: int) -> None:
    x = portraits[:, :, :20, :20]
    with pytest.raises(ValueError, match=f"filter_size = {size} must be odd"):
        perceptual_similarity(x, x, filter_size=size)


def test_faulty_colour(portraits: Tensor) -> None:
    with pytest.raises(ValueError, match=r"colour = 'hsv' must be .channels. or .grey."):
        perceptual_similarity(portraits, portraits, colour="hsv")  # type: ignore[arg-type]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_another_device(portraits: Tensor) -> None:
    changed = shifted(portraits)
    found = perceptual_similarity(changed.cuda(), portraits.cuda())
    np.testing.assert_allclose(found, perceptual_similarity(changed, portraits), atol=1e-4)
    assert len(pictures(changed)) == len(found)


def test_black_comes_from_outside(portraits: Tensor) -> None:
    shift = torch.tensor([[1, 0, 0.5], [0, 1, 0], [0, 0, 1]], dtype=torch.float64).expand(3, 3, 3)
    warped = apply_warps(portraits, shift, torch.tensor([True, False, True]))
    assert (warped[0, :, :, 120:] == 0).all()
    assert torch.equal(warped[1], portraits[1])
    by_opencv = cv2.warpPerspective(
        pictures(portraits)[0],
        np.array([[1, 0, 0.5 * 177], [0, 1, 0], [0, 0, 1]], np.float32),
        (178, 218),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
    )
    np.testing.assert_allclose(pictures(warped)[0], by_opencv, atol=0.02)
