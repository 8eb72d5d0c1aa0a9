"""CUB-200-2011's official layout: what is read from it, and the one line that each fault in it gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from harness.errors import DatasetError
from harness.testing import dataset_checks
from harness_faces import cub

IDS = (
    "001.Black_footed_Albatross/Black_0001.png",
    "001.Black_footed_Albatross/Black_0002.png",
    "002.Laysan_Albatross/Laysan_0001.png",
    "002.Laysan_Albatross/Laysan_0002.png",
)
SIZES = ((60, 80), (50, 50), (40, 90), (60, 80))  # height, width
BOXES = ((20, 10, 40, 30), (0, 0, 50, 50), (60, 20, 60, 40), (5, 5, 10, 10))  # the third leaves its image
PARTS = ("back", "left eye", "beak")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four images of black with a white box, and all list files."""
    folder = tmp_path / "archive" / "CUB_200_2011"
    for name in ("images", "parts", "attributes"):
        (folder / name).mkdir(parents=True)
    for name, size, (left, top, width, height) in zip(IDS, SIZES, BOXES, strict=True):
        image = np.zeros((*size, 3), np.uint8)
        image[top : top + height, left : left + width] = (255, 200, 100)
        path = folder / "images" / name
        path.parent.mkdir(exist_ok=True)
        assert cv2.imwrite(str(path), image[..., ::-1])
    numbered = list(enumerate(IDS, 1))
    write(folder / "images.txt", [f"{number} {name}" for number, name in numbered])
    write(folder / "image_class_labels.txt", [f"{number} {int(name[:3])}" for number, name in numbered])
    write(folder / "train_test_split.txt", ["1 1", "2 0", "3 1", "4 1"])
    rows = [" ".join([str(number), *(f"{edge}.0" for edge in box)]) for number, box in enumerate(BOXES, 1)]
    write(folder / "bounding_boxes.txt", rows)
    write(folder / "parts" / "parts.txt", [f"{number} {name}" for number, name in enumerate(PARTS, 1)])
    places = [f"{n} {p} {20.0 + 10 * p} {5.0 * p} 1" for n in (1, 2, 3) for p in (1, 2)]
    hidden = [f"{n} 3 0.0 0.0 0" for n in (1, 2, 3)] + [f"4 {p} 0.0 0.0 0" for p in (1, 2, 3)]
    write(folder / "parts" / "part_locs.txt", places + hidden)
    write(
        folder.parent / "attributes.txt", ["1 has_bill_shape::curved_(up_or_down)", "2 has_wing_color::blue"]
    )
    labels = [f"{n} {a} {(n + a) % 2} 3 27.7080" for n in (1, 2, 3, 4) for a in (1, 2)]
    labels[3] = "2 2 0 1 0 5.8"  # as some rows of the published file
    write(folder / "attributes" / "image_attribute_labels.txt", labels)
    return folder


def write(path: Path, rows: list[str]) -> None:
    path.write_text("\n".join(rows) + "\n")


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def fault(root: Path, **parameters: Any) -> str:
    with pytest.raises(DatasetError) as caught:
        cub.load(root=str(root), **parameters)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_everything_in_the_layout_is_read(root: Path) -> None:
    dataset = cub.load(root=str(root), size=(30, 40))
    assert dataset.ids == IDS
    assert dataset.shape == (3, 30, 40)
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [0, 0, 1, 1]
    assert dataset.class_names == ("001.Black_footed_Albatross", "002.Laysan_Albatross")
    assert dataset.attribute_names == ("has_bill_shape::curved_(up_or_down)", "has_wing_color::blue")
    assert dataset.attributes is not None
    assert dataset.attributes.astype(int).tolist() == [[0, 1], [1, 0], [0, 1], [1, 0]]
    assert dataset.partitions is not None
    assert dataset.partitions.tolist() == ["train", "test", "train", "train"]
    assert dataset.part_names == PARTS
    assert dataset.notes == {"rows_with_more_columns": 1, "images_without_parts": 1}
    image = dataset.images(np.array([0]))[0]
    assert image[:, 12, 20].tolist() == [255, 200, 100]
    assert image[:, 2, 2].tolist() == [0, 0, 0]


def test_parts_and_boxes_are_in_pixels_of_the_images(root: Path) -> None:
    dataset = cub.load(root=str(root), size=(30, 40))
    parts = dataset.parts(np.array([3, 0]))
    assert np.isnan(parts[0]).all()  # a bird that shows none
    # (30, 5) and (40, 10) of an image twice as wide and high: corner to corner.
    assert parts[1, :2].tolist() == [[14.75, 2.25], [19.75, 4.75]]
    assert np.isnan(parts[1, 2]).all()
    boxes = dataset.boxes(np.array([0]))
    assert boxes.tolist() == [[9.5, 4.5, 29.5, 19.5]]  # columns 10 to 29 and rows 5 to 19
    white = np.argwhere(dataset.images(np.array([0]))[0, 0] > 128)
    assert white.min(axis=0).tolist() == [5, 10]
    assert white.max(axis=0).tolist() == [19, 29]
    assert dataset.parts(np.array([], np.intp)).shape == (0, 3, 2)


def test_the_box_may_be_cut_out(root: Path) -> None:
    dataset = cub.load(root=str(root), size=(30, 40), crop="box")
    assert (dataset.images(np.arange(4))[:, 0] == 255).all()  # the third box is cut to its image
    assert dataset.boxes(np.array([0])).tolist() == [[-0.5, -0.5, 39.5, 29.5]]
    # The box of the third image reaches from column 60 to 119, of which 90 is the first outside.
    assert dataset.boxes(np.array([2]))[0].tolist() == pytest.approx([-0.5, -0.5, 79.5, 59.5])
    assert dataset.parts(np.array([0]))[0, 0].tolist() == [10, -5]


def test_validation_images_are_training_images(root: Path) -> None:
    drawn = {seed: cub.load(root=str(root), validation=1 / 3, seed=seed).partitions for seed in range(12)}
    for partitions in drawn.values():
        assert partitions is not None
        assert sorted(partitions.tolist()) == ["test", "train", "train", "validation"]
        assert partitions[1] == "test"
    assert len({str(partitions) for partitions in drawn.values()}) == 3


def test_attribute_names_may_lie_in_three_places(root: Path) -> None:
    beside = root.parent / "attributes.txt"
    known = cub.load(root=str(root)).fingerprint
    for folder in (root, root / "attributes"):
        beside = beside.rename(folder / "attributes.txt")
        assert cub.load(root=str(root)).fingerprint == known
    beside.unlink()
    assert "none lies beside it" in fault(root)


def test_fingerprint_depends_on_everything(root: Path) -> None:
    seen = {cub.load(root=str(root), **more).fingerprint for more in ({}, {"size": (9, 9)}, {"crop": "box"})}
    seen.add(cub.load(root=str(root), validation=0.5).fingerprint)
    for name, old, new in (
        ("train_test_split.txt", "2 0", "2 1"),
        ("bounding_boxes.txt", "5.0", "6.0"),
        ("parts/part_locs.txt", "30.0", "31.0"),
        ("attributes/image_attribute_labels.txt", "1 1 0", "1 1 1"),
        ("parts/parts.txt", "beak", "bill"),
    ):
        edit(root / name, old, new)
        seen.add(cub.load(root=str(root)).fingerprint)
    assert len(seen) == 9


def test_the_contract(root: Path) -> None:
    for check in dataset_checks("cub-200", params={"root": str(root), "size": [20, 30], "crop": "box"}):
        check()


LABELS = "attributes/image_attribute_labels.txt"


@pytest.mark.parametrize(
    ("name", "old", "new", "expected"),
    [
        ("images.txt", "3 002", "5 002", "row 3 has the number 5; images are numbered from 1, in order"),
        (
            "images.txt",
            "2 001.Black_footed_Albatross/Black_0002.png",
            "2",
            'row 2 is "2"; it must be a number and',
        ),
        (
            "images.txt",
            "Black_0002",
            "Black_0001",
            "row 2 names 001.Black_footed_Albatross/Black_0001.png, as row 1",
        ),
        ("images.txt", "Laysan_0002", "Laysan_0009", "row 4 names"),
        (
            "image_class_labels.txt",
            "2 1",
            "2 2",
            "image 3, 002.Laysan_Albatross/Laysan_0001.png, is in class 2",
        ),
        ("image_class_labels.txt", "4 2", "3 2", "row 4 speaks of image 3, as row 3 does"),
        ("train_test_split.txt", "2 0", "2 2", "row 2 says 2; it must be 1 (train) or 0 (test)"),
        ("train_test_split.txt", "4 1\n", "", "has no row for image 4"),
        ("bounding_boxes.txt", "2 0.0 0.0 50.0", "2 0.0 0.0 0.0", "row 2 is a box of 0 x 50 pixels"),
        ("bounding_boxes.txt", "2 0.0 0.0 50.0 50.0", "2 0.0 50.0", "row 2 has 3 columns; it must have 5"),
        ("bounding_boxes.txt", "2 0.0", "2 zero", 'row 2 has "zero" where a number must be'),
        ("bounding_boxes.txt", "2 0.0", "2 nan", "row 2 has a number that is not finite"),
        (
            "bounding_boxes.txt",
            "2 0.0",
            "9 0.0",
            "row 2 speaks of image 9; images.txt numbers them from 1 to 4",
        ),
        ("parts/part_locs.txt", "1 2 40.0", "1 4 40.0", "row 2 speaks of image 1 and part 4"),
        ("parts/part_locs.txt", "1 2 40.0 10.0 1", "1 2 40.0 10.0 2", "row 2 says visible = 2"),
        ("parts/parts.txt", "2 left eye", "left eye", 'row 2 is "left eye"'),
        (LABELS, "1 2 1 3", "1 2 2 3", "row 2 says 2; it must be 1 (present) or 0"),
        (LABELS, "1 2 1 3", "1 3 1 3", "row 2 speaks of image 1 and attribute 3; there are 4 and 2"),
        (LABELS, "1 2 1 3 27.7080", "1 2 1", "row 2 has 3 columns; it must have 5"),
        (LABELS, "1 2 1 3 27.7080", "1 2 1 3 1 2 3 4 5", "row 2 has 9 columns; it must have 5"),
        (LABELS, "1 2 1 3", "1 2 yes 3", 'row 2 is "1 2 yes 3 27.7080"; it must begin with three whole'),
        (LABELS, "1 2 1 3 27.7080\n", "", "has no row for image 1 and attribute 2"),
    ],
)
def test_each_fault_is_one_line_with_file_and_row(
    root: Path, name: str, old: str, new: str, expected: str
) -> None:
    edit(root / name, old, new)
    message = fault(root)
    assert message.startswith(f"{root / name}: ")
    assert expected in message


@pytest.mark.parametrize(
    "name",
    [
        "images.txt",
        "image_class_labels.txt",
        "bounding_boxes.txt",
        "parts/parts.txt",
        "parts/part_locs.txt",
        LABELS,
    ],
)
def test_a_missing_or_empty_file_is_named(root: Path, name: str) -> None:
    (root / name).write_text("")
    assert str(root / name) in fault(root)
    (root / name).unlink()
    message = fault(root)
    assert name in message
    assert "restore" in message or "expected" in message


def test_a_box_outside_of_its_image(root: Path) -> None:
    edit(root / "bounding_boxes.txt", "2 0.0 0.0", "2 70.0 0.0")
    dataset = cub.load(root=str(root), crop="box")
    with pytest.raises(DatasetError) as caught:
        dataset.images(np.array([1]))
    assert str(caught.value) == (
        f"{root / 'bounding_boxes.txt'}: row 2 is a box of 50 x 50 pixels at 70, 0, outside of the image, "
        'which is 50 pixels wide and 50 high; correct it, or take crop = "none"'
    )
    assert cub.load(root=str(root)).images(np.array([1])).shape == (1, 3, 224, 224)


def test_a_damaged_image_is_named(root: Path) -> None:
    path = root / "images" / IDS[2]
    path.write_bytes(path.read_bytes()[:40])
    dataset = cub.load(root=str(root))
    for read in (dataset.images, dataset.parts):
        with pytest.raises(DatasetError, match=r"\(row 3 of .*images.txt\) is a truncated PNG"):
            read(np.array([2]))


def test_wrong_roots_and_parameters(root: Path) -> None:
    assert f'did you mean root = "{root}"?' in fault(root.parent)
    assert "does not exist" in fault(root / "nowhere")
    assert "is not a folder" in fault(root / "images.txt")
    for parameters in ({"validation": 1}, {"validation": True}, {"size": (3,)}, {"cache_bytes": -1}):
        assert next(iter(parameters)) in fault(root, **parameters)
