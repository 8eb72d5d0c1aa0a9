"""Masks: the published counts at 64x64, their share of the crop at other sizes, symmetry, where they lie."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from harness.errors import AttackError
from harness_attacks.masks import eye_patch, eyeglasses, squares

SIZES = [(32, 32), (48, 48), (64, 64), (88, 72), (109, 89), (112, 112), (218, 178), (224, 224), (256, 256)]
LARGE = [size for size in SIZES if min(size) >= 64]


def crop_area(height: int, width: int) -> float:
    """Pixels of the published crop: all of a square image, 128x128 of the 218x178 frame."""
    return height * width if height == width else height * width * 128 * 128 / (218 * 178)


def components(mask: Tensor, connectivity: int) -> int:
    return int(cv2.connectedComponents(mask.numpy().astype(np.uint8), connectivity=connectivity)[0]) - 1


def bounds(mask: Tensor) -> tuple[int, int, int, int]:
    rows, columns = torch.nonzero(mask.any(1)).flatten(), torch.nonzero(mask.any(0)).flatten()
    return int(rows[0]), int(columns[0]), int(rows[-1]), int(columns[-1])


def test_published_counts_and_places() -> None:
    glasses, patch, places = eyeglasses(64, 64), eye_patch(64, 64), squares(64, 64)
    assert (glasses.sum(), patch.sum()) == (107, 384)
    assert bounds(glasses) == (24, 16, 39, 47)
    assert bounds(patch) == (26, 16, 37, 47)
    assert places.shape == (25, 64, 64)
    assert (places.sum((1, 2)) == 100).all()
    corners = [bounds(place) for place in places]
    offsets = (15, 20, 25, 30, 35)
    assert corners == [(row, column, row + 9, column + 9) for row in offsets for column in offsets]


@pytest.mark.parametrize("size", SIZES)
def test_the_share_of_the_crop_stays(size: tuple[int, int]) -> None:
    area = crop_area(*size)
    # a mask of whole pixels: half a pixel is what the frame may be off, half a pixel per edge a rectangle
    assert abs(int(eyeglasses(*size).sum()) - area * 107 / 4096) <= 0.5 + 1e-6
    edge = (area**0.5) / 64
    for mask, height, width in ((eye_patch(*size), 12, 32), (squares(*size)[0], 10, 10)):
        top, left, bottom, right = bounds(mask)
        assert abs(bottom - top + 1 - height * edge) <= 0.75
        assert abs(right - left + 1 - width * edge) <= 1.25
        assert mask.sum() == (bottom - top + 1) * (right - left + 1)
    assert (squares(*size).sum((1, 2)) == squares(*size)[0].sum()).all()


@pytest.mark.parametrize("size", [(64, 64), (112, 112), (218, 178)])
def test_shares_are_the_published_ones_within_half_a_point(size: tuple[int, int]) -> None:
    area = crop_area(*size)
    masks = {107: [eyeglasses(*size)], 384: [eye_patch(*size)], 100: list(squares(*size))}
    assert [len(places) for places in masks.values()] == [1, 1, 25]
    for pixels, places in masks.items():
        for place in places:
            assert abs(int(place.sum()) / area - pixels / 4096) < 0.005


@pytest.mark.parametrize("size", SIZES)
def test_symmetry(size: tuple[int, int]) -> None:
    assert torch.equal(eye_patch(*size), eye_patch(*size).flip(1))
    glasses = eyeglasses(*size)
    # an odd number of pixels has one without its mirror image
    assert (glasses != glasses.flip(1)).sum() == 2 * (int(glasses.sum()) % 2)


@pytest.mark.parametrize("size", LARGE)
def test_eyeglasses_are_a_frame_around_two_lenses(size: tuple[int, int]) -> None:
    glasses = eyeglasses(*size)
    if size[1] > 100 or size == (64, 64):  # else the rim is thinner than a pixel
        assert components(glasses, 8) == 1
        assert components(~glasses, 4) == 3  # two lenses, and what is outside
    top, _, bottom, _ = bounds(glasses)
    middle = glasses[(top + bottom) // 2]  # both lenses are open, and each has two rims
    crossings = int((middle[1:] & ~middle[:-1]).sum())
    assert crossings == 4
    half = size[1] // 2
    assert glasses[top:bottom, half].any()  # the bridge
    assert not glasses[: top + (bottom - top) // 4 - 1, half].any()
    assert not glasses[bottom - (bottom - top) // 4 :, half].any()


def test_the_frame_of_aligned_images_holds_the_crop() -> None:
    # The crop of 128x128 at (45, 25), doubled, is the published one.
    crop = eyeglasses(218, 178)[45:173, 25:153]
    assert torch.equal(crop, eyeglasses(128, 128))
    assert torch.equal(eye_patch(218, 178)[45:173, 25:153], eye_patch(128, 128))
    assert torch.equal(squares(218, 178)[:, 45:173, 25:153], squares(128, 128))
    assert eyeglasses(218, 178).sum() == crop.sum()


@pytest.mark.parametrize("make", [eyeglasses, eye_patch, squares])
def test_a_face_may_be_anywhere(make: Any) -> None:
    frame = make(218, 178, face=(45 / 218, 25 / 178, 173 / 218, 153 / 178))
    assert torch.equal(frame, make(218, 178))
    moved = make(100, 200, face=(0.2, 0.5, 0.84, 0.82))
    assert torch.equal(moved[..., 20:84, 100:164], make(64, 64))
    assert moved.sum() == make(64, 64).sum()
    # a crop that lies partly outside the image, whose masks do not
    cut = make(64, 64, face=(-5 / 64, 0, 59 / 64, 1))
    assert torch.equal(cut[..., :59, :], make(64, 64)[..., 5:, :])


@pytest.mark.parametrize("make", [eyeglasses, eye_patch, squares])
def test_unknown_places_are_refused(make: Any) -> None:
    with pytest.raises(AttackError, match="give face = ") as raised:
        make(100, 60)
    assert "\n" not in str(raised.value)
    with pytest.raises(AttackError, match="not a region of 64x64"):
        make(64, 64, face=(0.5, 0.5, 2, 2))
    for face in ((0, 0, 0, 1), (0, 1, 1, 0.5), (0, 0, 1, float("nan"))):
        with pytest.raises(AttackError, match="is not a rectangle"):
            make(64, 64, face=face)


def test_images_without_room_are_refused() -> None:
    with pytest.raises(AttackError, match="not a region of 1x1"):
        eye_patch(1, 1)
    assert eyeglasses(4, 4).any()


@pytest.mark.parametrize(
    ("side", "stride", "count"), [(10, 5, 25), (10, 10, 9), (20, 5, 9), (30, 5, 1), (10, 1, 441), (29, 1, 4)]
)
def test_squares_of_other_sizes(side: int, stride: int, count: int) -> None:
    places = squares(64, 64, side=side, stride=stride)
    assert places.shape == (count, 64, 64)
    assert (places.sum((1, 2)) == side**2).all()
    assert len({bounds(place) for place in places}) == count
    assert bounds(places.any(0)) == (15, 15, 44, 44)


def test_eyes_of_drawn_faces_are_covered() -> None:
    import harness

    entry = harness.catalog().datasets["synthetic-faces"]
    covers_eyes(entry.load(entry.spec.load)(count=40))


@pytest.mark.real_data
@pytest.mark.parametrize("size", [(218, 178), (112, 112)])
def test_eyes_of_real_faces_are_behind_the_lenses(size: tuple[int, int]) -> None:
    """Pupils are dark: the darkest spot of each half of the eye region is in a lens, under the patch."""
    root = os.environ.get("CELEBA_ROOT")
    if not root:
        pytest.skip("CELEBA_ROOT is unset")
    files = sorted((Path(root) / "img_align_celeba").iterdir())[:400]
    grey = np.stack([cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) for file in files]).mean(0)
    (top, left), scale = (0, 0), 1.0
    if size == (112, 112):
        (top, left), scale = (45, 25), 112 / 128
        grey = cv2.resize(grey[45:173, 25:153], size, interpolation=cv2.INTER_AREA)
    eyes = torch.from_numpy(grey)  # the mean face, whose eyes are its darkest parts there
    lenses, patch = inside_lenses(*size), eye_patch(*size)
    rows = slice(round((95 - top) * scale), round((130 - top) * scale))
    for first, last in ((45, 89), (89, 133)):
        columns = slice(round((first - left) * scale), round((last - left) * scale))
        row, column = divmod(int(eyes[rows, columns].argmin()), columns.stop - columns.start)
        assert lenses[rows.start + row, columns.start + column]
        assert patch[rows.start + row, columns.start + column]


def covers_eyes(dataset: Any) -> None:
    height, width = dataset.shape[1:]
    lenses, patch = inside_lenses(height, width), eye_patch(height, width)
    for eye in range(2):
        x, y = torch.from_numpy(np.asarray(dataset.landmarks)[:, eye]).round().long().T
        assert lenses[y, x].float().mean() > 0.95
        assert patch[y, x].float().mean() > 0.95


def inside_lenses(height: int, width: int) -> Tensor:
    """bool (H, W): the two parts that the frame encloses."""
    frame = eyeglasses(height, width).numpy()
    _, labels = cv2.connectedComponents((~frame).astype(np.uint8), connectivity=4)
    return torch.from_numpy((labels != labels[0, 0]) & ~frame)
