"""The part of the aligned frame that becomes an image, of CelebA and of its stand-in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from harness.errors import DatasetError
from harness_faces import celeba, synthetic

PAPER = (50, 25, 128, 128)  # top, left, height, width: the crop of the Bayes-optimal study
POINTS = ("lefteye", "righteye", "nose", "leftmouth", "rightmouth")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """One image of smooth noise, as PNG so that pixels are known, and its landmarks."""
    folder = tmp_path / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (218, 178, 3), dtype=np.uint8)
    assert cv2.imwrite(str(folder / "img_align_celeba" / "1.png"), cv2.GaussianBlur(noise, (0, 0), 2))
    (folder / "list_attr_celeba.txt").write_text("1\nMale\n1.png 1\n")
    header = " ".join(f"{point}_x {point}_y" for point in POINTS)
    places = "1.png 69 109 106 113 77 142 73 152 108 154"
    (folder / "list_landmarks_align_celeba.txt").write_text(f"1\n{header}\n{places}\n")
    return folder


def pixels_of(path: Path) -> np.ndarray[Any, Any]:
    """RGB (H, W, 3), read by another library."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_a_crop_is_a_rectangle_of_the_files_pixels(root: Path) -> None:
    whole = pixels_of(root / "img_align_celeba" / "1.png")
    image = celeba.load(root=str(root), crop=(3, 10, 40, 60), size=(40, 60)).images(np.array([0]))[0]
    assert np.array_equal(image.transpose(1, 2, 0), whole[3:43, 10:70])


def test_a_shrunk_crop_is_the_mean_of_its_pixels_alone(root: Path) -> None:
    whole = pixels_of(root / "img_align_celeba" / "1.png")
    image = celeba.load(root=str(root), crop=PAPER, size=(64, 64)).images(np.array([0]))[0]
    means = whole[50:178, 25:153].astype(float).reshape(64, 2, 64, 2, 3).mean(axis=(1, 3))
    assert np.abs(image.transpose(1, 2, 0) - means).max() <= 0.5


def test_a_crop_may_be_enlarged(root: Path) -> None:
    whole = pixels_of(root / "img_align_celeba" / "1.png")
    image = celeba.load(root=str(root), crop=(0, 0, 20, 30), size=(60, 45)).images(np.array([0]))[0]
    expected = cv2.resize(whole[:20, :30], (45, 60), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(image.transpose(1, 2, 0), expected)


@pytest.mark.parametrize("crop", [PAPER, (10, 40, 208, 100), (0, 0, 218, 178)])
def test_landmarks_follow(root: Path, crop: tuple[int, int, int, int]) -> None:
    x, y = 106, 113  # of the right eye
    image = np.zeros((218, 178, 3), np.uint8)
    image[y - 4 : y + 5, x - 4 : x + 5] = 255  # its centre of mass is the middle of pixel x, y
    assert cv2.imwrite(str(root / "img_align_celeba" / "1.png"), image)
    dataset = celeba.load(root=str(root), crop=crop, size=(100, 80))
    mass = dataset.images(np.array([0]))[0, 0].astype(float)
    rows, columns = np.indices(mass.shape)
    centre = ((mass * columns).sum() / mass.sum(), (mass * rows).sum() / mass.sum())
    assert dataset.landmarks is not None
    assert np.abs(dataset.landmarks[0, 1] - centre).max() < 0.05


def test_a_manifest_brings_a_list(root: Path) -> None:
    given = celeba.load(root=str(root), crop=list(PAPER), size=(64, 64))  # type: ignore[arg-type]
    assert given.fingerprint == celeba.load(root=str(root), crop=PAPER, size=(64, 64)).fingerprint


def test_fingerprints_without_a_crop_are_what_they_were_before_there_were_crops(root: Path) -> None:
    image = root / "img_align_celeba" / "1.png"
    image.write_bytes(
        b"\x89PNG" + bytes(1000)
    )  # of one size whatever the encoder; the fingerprint knows no more
    prints = {
        (218, 178): "d77c22df6d84f6750f34776658437765364a8723591991becb1a9cac5c4890d2",
        (88, 72): "d6b7b11af301443c5d72fa26579766b4395219a712efd78a050c370f9226206a",
    }
    for size, known in prints.items():
        assert celeba.load(root=str(root), size=size).fingerprint == known
        assert celeba.load(root=str(root), size=size, crop=(0, 0, 218, 178)).fingerprint == known
    known = "bb593bef548ca863fa534dd5099a6a01860e9d61682ce474c328989c9fea267a"
    assert synthetic.load(size=(88, 72)).fingerprint == known
    assert synthetic.load(size=(88, 72), crop=(0, 0, 218, 178)).fingerprint == known


def test_fingerprints_tell_crops_apart(root: Path) -> None:
    crops = [None, PAPER, (50, 25, 128, 127), (51, 25, 128, 128), (50, 26, 128, 128), (50, 25, 127, 128)]
    for load in (lambda **more: celeba.load(root=str(root), **more), synthetic.load):
        seen = {load(size=(64, 64), crop=crop).fingerprint for crop in crops}
        assert len(seen) == len(crops)


@pytest.mark.parametrize(
    "crop",
    [(91, 0, 128, 128), (0, 51, 128, 128), (-1, 0, 10, 10), (0, -1, 10, 10), (0, 0, 0, 5), (0, 0, 5, 0)],
)
def test_a_crop_must_lie_in_the_frame(root: Path, crop: tuple[int, int, int, int]) -> None:
    for name, load in (
        ("celeba", lambda **more: celeba.load(root=str(root), **more)),
        ("synthetic-faces", synthetic.load),
    ):
        with pytest.raises(DatasetError) as caught:
            load(crop=crop)
        assert str(caught.value).startswith(
            f"{name}: crop = {list(crop)} must be a rectangle inside the frame"
        )
        assert "218 pixels high and 178 wide" in str(caught.value)


@pytest.mark.parametrize(
    "crop", [(1, 2, 3), (1, 2, 3, 4, 5), (1.0, 2, 3, 4), (True, 2, 3, 4), "whole", 5, {}]
)
def test_a_crop_is_four_whole_numbers(root: Path, crop: Any) -> None:
    for load in (lambda **more: celeba.load(root=str(root), **more), synthetic.load):
        with pytest.raises(DatasetError, match="is not top, left, height and width; give four"):
            load(crop=crop)


def test_drawn_faces_show_the_same_part() -> None:
    rows = np.arange(6)
    large = synthetic.load(size=(436, 356), count=6).images(rows)[:, :, 100:356, 50:306]  # (6, 3, 256, 256)
    small = synthetic.load(size=(64, 64), count=6, crop=PAPER).images(rows)
    for expected, image in zip(large, small, strict=True):
        shrunk = cv2.resize(expected.transpose(1, 2, 0), (64, 64), interpolation=cv2.INTER_AREA)
        own = np.abs(shrunk.astype(float) - image.transpose(1, 2, 0)).mean()
        assert own < 10  # grain, and blur at another scale; as between sizes of the whole frame
        for axis in (0, 1):
            for step in (-1, 1):
                moved = np.roll(shrunk, step, axis=axis).astype(float) - image.transpose(1, 2, 0)
                assert own < np.abs(moved).mean()


def test_blurry_faces_are_as_blurry_in_a_crop() -> None:
    whole = synthetic.load(count=400)
    assert whole.attributes is not None
    rows = np.flatnonzero(whole.attributes[:, whole.attribute_names.index("Blurry")])[:6]
    inside = np.s_[:, :, 10:-10, 10:-10]  # at the rim the blur sees less of a crop
    expected = whole.images(rows)[:, :, 50:178, 25:153][inside].astype(float)
    images = synthetic.load(count=400, crop=PAPER, size=(128, 128)).images(rows)[inside].astype(float)
    assert np.abs(images - expected).mean() < 4  # grain
    steps = [np.abs(np.diff(each, axis=3)).mean() for each in (images, expected)]
    assert steps[0] == pytest.approx(steps[1], rel=0.03)


def test_landmarks_of_drawn_faces_follow() -> None:
    whole, part = synthetic.load(count=50), synthetic.load(count=50, crop=PAPER, size=(64, 64))
    assert whole.landmarks is not None
    assert part.landmarks is not None
    eyes = whole.landmarks[:, :2].mean(axis=(0, 1))  # CelebA's, to which faces are aligned
    assert np.abs(eyes - (88.25, 111.5)).max() < 0.3
    # Corner to corner: a pixel's corner lies half a pixel before its centre.
    expected = (whole.landmarks + 0.5 - (25, 50)) / 2 - 0.5
    assert np.abs(part.landmarks - expected).max() < 1e-3


def test_drawn_faces_without_a_crop_are_what_they_were() -> None:
    plain = synthetic.load(size=(64, 64), count=5).images(np.arange(5))
    named = synthetic.load(size=(64, 64), count=5, crop=(0, 0, 218, 178)).images(np.arange(5))
    assert np.array_equal(plain, named)


@pytest.mark.real_data
def test_real_crop_against_another_library() -> None:
    folder = os.environ.get("CELEBA_ROOT")
    if not folder:
        pytest.skip("CELEBA_ROOT is unset")
    dataset = celeba.load(root=folder, crop=PAPER, size=(64, 64))
    rows = np.array([0, 17, 4000])
    for row, image in zip(rows, dataset.images(rows), strict=True):
        with Image.open(Path(folder) / "img_align_celeba" / dataset.ids[row]) as picture:
            part = picture.convert("RGB").crop((25, 50, 25 + 128, 50 + 128))
            expected = np.asarray(part.resize((64, 64), Image.Resampling.BOX), dtype=float)
        # two JPEG decoders and two roundings
        assert np.abs(image.transpose(1, 2, 0) - expected).max() <= 2
