"""Trees of image files: ids, persons and pixels, and the one line that each fault gives."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from harness import files
from harness.cases.pair_files import as_csv, draw_pairs, read_pairs
from harness.dataset import Dataset
from harness.errors import DatasetError
from harness.testing import dataset_checks
from harness_faces import image_folder

NAMES = (
    "Ann_Ax/Ann_Ax_0001.jpg",
    "Ann_Ax/Ann_Ax_0002.jpg",
    "Bo/Bo_0001.jpg",
    "Bo/Bo_0003.jpg",
    "Cy/Cy_0001.jpg",
)
Said = Callable[[], list[str]]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Said:
    monkeypatch.setattr(files, "_said", set())
    caplog.set_level(logging.WARNING, "harness")
    return lambda: [record.getMessage() for record in caplog.records]


def image(root: Path, name: str, size: tuple[int, int] = (30, 24), seed: int = 0) -> npt.NDArray[np.uint8]:
    """Write noise, as PNG whatever the name says, and return it as RGB (3, H, W)."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(".png", pixels[..., ::-1])
    assert done
    (root / name).write_bytes(data.tobytes())
    return pixels.transpose(2, 0, 1)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for seed, name in enumerate(NAMES):
        image(tmp_path / "lfw", name, seed=seed)
    return tmp_path / "lfw"


def load(root: Path, **more: Any) -> Dataset:
    return image_folder.load(root=str(root), **more)


def first(dataset: Dataset) -> npt.NDArray[np.uint8]:
    return dataset.images(np.array([0]))[0]


def test_ids_persons_and_pixels(root: Path) -> None:
    faces = load(root)
    assert faces.ids == NAMES
    assert faces.shape == (3, 30, 24)
    assert faces.identities is not None
    assert faces.identities.tolist() == [0, 0, 1, 1, 2]
    assert faces.identity_names == ("Ann_Ax", "Bo", "Cy")
    assert faces.labels is None
    assert faces.partitions is None
    pixels = faces.images(np.arange(5))
    for row, name in enumerate(NAMES):
        assert (pixels[row] == image(root, name, seed=row)).all()


def test_the_contract_kit_passes(root: Path) -> None:
    for check in dataset_checks("image-folder", params={"root": str(root), "partitions": [0.4, 0.3, 0.3]}):
        check()


def test_numbers_of_pair_files(root: Path) -> None:
    image(root, "Ann_Ax/other-2.png")
    image(root, "Bo/portrait.png")
    deep = load(root.parent)
    for faces, prefix in ((load(root), ""), (deep, "lfw/")):
        assert faces.numbered is not None
        assert faces.numbered("Ann_Ax", 2) == f"{prefix}Ann_Ax/Ann_Ax_0002.jpg"
        assert faces.numbered("Bo", 3) == f"{prefix}Bo/Bo_0003.jpg"
        assert faces.numbered("Bo", 2) is None
        assert faces.numbered("Di", 1) is None
    assert deep.numbered is not None
    assert deep.numbered("lfw/Bo", 3) == "lfw/Bo/Bo_0003.jpg"
    image(root.parent, "rfw/Bo/Bo_0003.jpg")  # now two persons have this name
    assert load(root.parent).numbered("Bo", 3) is None  # type: ignore[misc]


def test_persons_from_names(tmp_path: Path, said: Said) -> None:
    for name in (
        "images/A_B_0001.jpg",
        "images/A_B_0002.jpg",
        "images/C_1.png",
        "more/A_B_12.jpeg",
        "images/D-2.jpg",
    ):
        image(tmp_path, name)
    faces = load(tmp_path, person="name", classes=True)
    assert faces.ids == ("images/A_B_0001.jpg", "images/A_B_0002.jpg", "images/C_1.png", "more/A_B_12.jpeg")
    assert [faces.identity_names[one] for one in faces.identities.tolist()] == ["A_B", "A_B", "C", "A_B"]  # type: ignore[union-attr]
    assert faces.numbered("A_B", 12) == "more/A_B_12.jpeg"  # type: ignore[misc]
    assert faces.class_names == ("images", "more")
    assert faces.labels.tolist() == [0, 0, 0, 1]  # type: ignore[union-attr]
    assert said() == [
        f"{tmp_path}: images/D-2.jpg has no number after the name of a person, as Name_0001.jpg has, "
        "and is left out"
    ]


def test_other_files_are_left_out_and_told(root: Path, said: Said) -> None:
    for name in ("Bo/Thumbs.db", "pairs.txt", ".DS_Store", ".hidden/x.jpg", "Bo/._Bo_0001.jpg"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"none")
    assert load(root).ids == NAMES
    assert said() == [
        f"{root}: Bo/Thumbs.db is neither a .jpg, .jpeg nor .png file, and is left out (and 1 more likewise)"
    ]


def test_links_are_followed_but_not_in_circles(root: Path, tmp_path: Path) -> None:
    image(tmp_path, "elsewhere/Di_0001.jpg")
    (root / "Di").symlink_to(tmp_path / "elsewhere")
    (root / "Bo" / "back").symlink_to(root)
    assert load(root).ids == (*NAMES, "Di/Di_0001.jpg")


# --- pixels -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "size", "part"),
    [
        ((40, 30), (20, 15), np.s_[:, :]),
        ((40, 30), (15, 15), np.s_[5:35, :]),
        ((30, 40), (15, 15), np.s_[:, 5:35]),
        ((30, 41), (60, 60), np.s_[:, 5:35]),
        ((1, 50), (8, 8), np.s_[:, 24:25]),
    ],
)
def test_images_are_cut_to_the_ratio_and_resized(
    tmp_path: Path, source: tuple[int, int], size: tuple[int, int], part: Any
) -> None:
    pixels = image(tmp_path, "a/1.png", source).transpose(1, 2, 0)
    image(tmp_path, "a/2.png", (70, 70))
    kind = cv2.INTER_AREA if size[0] < source[0] else cv2.INTER_LINEAR
    wanted = cv2.resize(np.ascontiguousarray(pixels[part]), size[::-1], interpolation=kind)
    assert (first(load(tmp_path, size=size)) == wanted.transpose(2, 0, 1)).all()


def test_a_crop_comes_first(tmp_path: Path) -> None:
    pixels = image(tmp_path, "a/1.png", (40, 30))
    image(tmp_path, "a/2.png", (50, 60))
    assert (first(load(tmp_path, crop=(2, 3, 20, 10))) == pixels[:, 2:22, 3:13]).all()
    halved = pixels[:, 2:22, 3:13].reshape(3, 10, 2, 5, 2).mean((2, 4))
    assert np.abs(first(load(tmp_path, crop=(2, 3, 20, 10), size=(10, 5))) - halved).max() <= 0.5


def test_grey_files_have_three_equal_channels(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    assert cv2.imwrite(str(tmp_path / "a/1.png"), np.arange(12, dtype=np.uint8).reshape(3, 4))
    assert (first(load(tmp_path)) == np.arange(12).reshape(3, 4)).all()


# --- partitions and fingerprint ---------------------------------------------------------------------------


def test_partitions_divide_persons(tmp_path: Path) -> None:
    for person in range(10):
        for number in (1, 2):
            image(tmp_path, f"p{person}/{number}.png", (2, 2))
    faces = load(tmp_path, partitions=(0.6, 0.2, 0.2))
    assert [len(faces.rows(name)) for name in ("train", "validation", "test")] == [12, 4, 4]
    assert all(len(set(faces.partitions[faces.identities == one])) == 1 for one in range(10))  # type: ignore[index]
    assert (faces.partitions == load(tmp_path, partitions=(0.6, 0.2, 0.2)).partitions).all()


def test_what_the_fingerprint_depends_on(root: Path, tmp_path: Path) -> None:
    same = load(root).fingerprint
    moved = tmp_path / "moved"
    os.rename(root, moved)
    assert load(moved).fingerprint == same
    others = [
        load(moved, size=(20, 20)),
        load(moved, crop=(0, 0, 20, 20)),
        load(moved, crop=(1, 0, 20, 20)),
        load(moved, person="name"),
        load(moved, classes=True),
        load(moved, partitions=(0.4, 0.3, 0.3)),
    ]
    (moved / NAMES[0]).write_bytes((moved / NAMES[0]).read_bytes() + b"more")
    others.append(load(moved))
    (moved / NAMES[1]).unlink()
    others.append(load(moved))
    assert len({same, *(each.fingerprint for each in others)}) == len(others) + 1


# --- faults -----------------------------------------------------------------------------------------------


def test_images_of_several_sizes_need_a_size(root: Path) -> None:
    image(root, "Cy/Cy_0001.jpg", (31, 20))
    fault = f"{root}/Cy/Cy_0001.jpg is 20 pixels wide and 31 high, and {NAMES[0]} 24 and 30; give one size"
    with pytest.raises(DatasetError, match=re.escape(fault + " for all, such as size = [30, 20]")):
        load(root)
    assert load(root, size=(30, 20)).shape == (3, 30, 20)


@pytest.mark.parametrize("content", [b"", b"no image at all", b"\xff\xd8\xff\xe0 cut off"])
def test_a_damaged_image_is_an_error_where_it_is_read(root: Path, content: bytes) -> None:
    (root / NAMES[1]).write_bytes(content)
    faces = load(root, size=(30, 24))
    faces.images(np.array([0, 2]))
    fault = (
        f"{root}/{NAMES[1]} is (empty|neither a JPEG nor a PNG|a truncated JPEG); fetch or unpack it again"
    )
    with pytest.raises(DatasetError, match=fault):
        faces.images(np.array([0, 1]))
    with pytest.raises(DatasetError, match=fault):  # without a size, its own is asked for
        load(root)


def test_a_crop_that_does_not_fit(root: Path) -> None:
    faces = load(root, crop=(11, 0, 20, 24))
    fault = f"{root}/{NAMES[0]} is 24 pixels wide and 30 high, too small for crop = [11, 0, 20, 24]; take"
    with pytest.raises(DatasetError, match=re.escape(fault)):
        first(faces)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"size": (0, 4)}, "image-folder: size = (0, 4) is not a height and a width"),
        ({"size": 112}, "image-folder: size = 112 is not a height and a width"),
        ({"crop": (0, 0, 5)}, "image-folder: crop = (0, 0, 5) is not top, left, height and width"),
        ({"crop": (0, -1, 5, 5)}, "image-folder: crop = (0, -1, 5, 5) is not top"),
        ({"partitions": (0.5, 0.5, 0.5)}, "image-folder: partitions = [0.5, 0.5, 0.5] are not three shares"),
        ({"cache_bytes": -1}, "image-folder: cache_bytes = -1 is not a number of bytes"),
    ],
)
def test_wrong_parameters(root: Path, given: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=re.escape(message)):
        load(root, **given)


def test_wrong_folders(root: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    image(tmp_path, "flat/Ann_0001.jpg")
    for folder, message in (
        ("none", "none: does not exist; expected a folder that holds person/image.jpg"),
        ("flat/Ann_0001.jpg", "Ann_0001.jpg: is not a folder;"),
        ("empty", "empty: holds no image;"),
        (
            "flat",
            'in no folder of a person; expected a folder that holds person/image.jpg, or person = "name"',
        ),
    ):
        with pytest.raises(DatasetError, match=re.escape(message)):
            load(tmp_path / folder)
    with pytest.raises(DatasetError, match="image-folder: root = '' is not a path"):
        image_folder.load(root="")


def test_a_name_that_is_no_text(root: Path) -> None:
    os.rename(root / NAMES[0], os.fsencode(root / "Ann_Ax") + b"/B\xf6_0001.jpg")
    with pytest.raises(DatasetError, match="its name is not UTF-8; rename it") as raised:
        load(root)
    str(raised.value).encode()


def test_pairs_of_lfw_and_drawn_pairs_read_back(root: Path, tmp_path: Path) -> None:
    faces = load(root)
    (tmp_path / "pairs.txt").write_text("1\t1\nAnn_Ax\t1\t2\nBo\t3\tCy\t1\n")
    pairs = read_pairs(tmp_path / "pairs.txt", faces)
    assert (pairs.a, pairs.b) == ((NAMES[0], NAMES[3]), (NAMES[1], NAMES[4]))
    drawn = draw_pairs(faces, faces.rows(), genuine=2, impostor=3)
    (tmp_path / "pairs.csv").write_text(as_csv(drawn))
    again = read_pairs(tmp_path / "pairs.csv", faces)
    assert (again.a, again.b, again.same.tolist()) == (drawn.a, drawn.b, drawn.same.tolist())
