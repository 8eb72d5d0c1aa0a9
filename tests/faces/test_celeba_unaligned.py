"""CelebA's original images: which box becomes the face, what follows it, and the one line of each fault."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from skimage.data import astronaut

from harness.errors import DatasetError
from harness.testing import dataset_checks
from harness.training import Context, StateDict
from harness_faces import celeba_unaligned
from harness_faces.face_detection import KINDS, cascade, chosen, detector_of, found_in
from harness_faces.located_faces import LocatedFaces

POINTS = ("lefteye", "righteye", "nose", "leftmouth", "rightmouth")
# A face is a white square of 20 pixels; its landmarks are around its middle, 10 pixels wide and high.
FACES = {  # height and width of the image, squares by column and row, and the square of the landmarks
    "1.png": ((80, 100), [(30, 20)], (30, 20)),
    "2.png": ((80, 100), [(10, 40), (60, 30)], (60, 30)),  # several
    "3.png": ((90, 70), [], (20, 30)),  # none
    "4.png": ((80, 100), [(70, 50)], (10, 10)),  # elsewhere
    "5.png": ((60, 60), [], (0, 45)),  # none, and the landmarks' box leaves the image
}
SQUARES = """
import cv2
import numpy as np

asked = []

def squares(picture):
    asked.append(picture.shape)
    assert picture.dtype == np.uint8
    assert picture[..., 0].sum() >= picture[..., 2].sum()  # RGB: squares are yellowish
    count, _, stats, _ = cv2.connectedComponentsWithStats((picture[..., 0] > 128).astype(np.uint8))
    return stats[1:, :4]

def fails(picture):
    raise ValueError("no\\nmemory")

def odd(picture):
    return [[1, 2, 3]]

number = 5
"""


class Units:
    """A cache of parts in memory, as a run has one on disk."""

    def __init__(self) -> None:
        self.kept: dict[str, StateDict] = {}
        self.made = 0

    def unit(self, identity: Any, make: Callable[[], StateDict]) -> StateDict:
        key = str(identity)
        if key not in self.kept:
            self.kept[key] = make()
            self.made += 1
        return self.kept[key]


def context(units: Units | None = None) -> Context:
    return Context(0, torch.device("cpu"), lambda share, word: None, (units or Units()).unit)


@pytest.fixture
def detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A detector of somebody else's: a function of an installed module."""
    name = f"squares_of_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(SQUARES)
    monkeypatch.syspath_prepend(tmp_path)
    return f"{name}:squares"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Five images, and all list files."""
    folder = tmp_path / "celeba"
    (folder / "img_celeba").mkdir(parents=True)
    marks, boxes = [], []
    for name, (size, squares, (x, y)) in FACES.items():
        image = np.zeros((*size, 3), np.uint8)
        for left, top in squares:
            image[top : top + 20, left : left + 20] = (255, 255, 200)
        assert cv2.imwrite(str(folder / "img_celeba" / name), image[..., ::-1])
        points = [(x + 5, y + 5), (x + 15, y + 5), (x + 10, y + 10), (x + 5, y + 15), (x + 15, y + 15)]
        marks.append(f"{name} " + " ".join(f"{a} {b}" for a, b in points))
        boxes.append(f"{name} {x} {y} 20 20")
    count, ids = len(FACES), list(FACES)
    (folder / "list_attr_celeba.txt").write_text(
        f"{count}\nMale Young\n" + "".join(f"{name} 1 -1\n" for name in ids)
    )
    header = " ".join(f"{point}_{axis}" for point in POINTS for axis in "xy")
    (folder / "list_landmarks_celeba.txt").write_text(f"{count}\n{header}\n" + "\n".join(marks))
    (folder / "list_bbox_celeba.txt").write_text(
        f"{count}\nimage_id x_1 y_1 width height\n" + "\n".join(boxes)
    )
    (folder / "identity_CelebA.txt").write_text(
        "".join(f"{name} {7 + row}\n" for row, name in enumerate(ids))
    )
    (folder / "list_eval_partition.txt").write_text("".join(f"{name} 0\n" for name in ids))
    return folder


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def opened(root: Path, units: Units | None = None, **parameters: Any) -> LocatedFaces:
    """What a run opens: the faces are found first."""
    taken = {name: parameters[name] for name in ("detector", "expand", "detection") if name in parameters}
    found = celeba_unaligned.fit(context(units), root=str(root), **taken)
    dataset = celeba_unaligned.load(found, root=str(root), **parameters)
    assert isinstance(dataset, LocatedFaces)
    return dataset


def fault(root: Path, **parameters: Any) -> str:
    with pytest.raises(DatasetError) as caught:
        opened(root, **parameters)
    message = str(caught.value)
    assert "\n" not in message
    return message


def kinds_of(dataset: LocatedFaces) -> list[str]:
    assert dataset.annotations is not None
    return [KINDS[int(kind)] for kind in dataset.annotations(np.arange(len(dataset)))["face_kind"]]


def test_each_face_is_found_or_comes_from_the_landmarks(root: Path, detector: str) -> None:
    dataset = opened(root, detector=detector, size=(20, 20))
    assert kinds_of(dataset) == ["one", "several", "none", "elsewhere", "none"]
    assert dataset.notes["faces"] == {
        **dict.fromkeys(KINDS, 0),
        "one": 1,
        "several": 1,
        "none": 2,
        "elsewhere": 1,
    }
    assert dataset.notes["boxes_cut_to_the_image"] == 1
    assert dataset.annotations is not None
    assert dataset.annotations(np.arange(5))["face_clipped"].tolist() == [0, 0, 0, 0, 1]
    images = dataset.images(np.arange(5))
    white = images[:, 0].mean(axis=(1, 2))
    # Of the two squares of the second image, that of the landmarks; in the fourth, the square is elsewhere.
    assert white.tolist() == [255, 255, 0, 0, 0]
    assert dataset.landmarks is not None
    # The landmarks were 5 to 15 pixels from the square's corner, whose 20 pixels are the image.
    for row in (0, 1):
        assert dataset.landmarks[row].tolist() == [[5, 5], [15, 5], [10, 10], [5, 15], [15, 15]]
    large = opened(root, detector=detector, size=(40, 60)).landmarks
    assert large is not None
    assert large[0, :2].tolist() == [[16, 10.5], [46, 10.5]]  # corner to corner: (5 + 0.5) * 3 - 0.5
    # The landmarks' box, doubled, is 20 pixels wide around their middle, which is shown at 9.5.
    assert np.abs(dataset.landmarks[2].mean(axis=0) - 9.5).max() < 0.51


def test_official_annotations_are_kept(root: Path, detector: str) -> None:
    dataset = opened(root, detector=detector)
    assert dataset.shape == (3, 224, 224)
    assert dataset.ids == tuple(FACES)
    assert dataset.attribute_names == ("Male", "Young")
    assert dataset.attributes is not None
    assert dataset.attributes.tolist() == [[True, False]] * 5
    assert dataset.identities is not None
    assert dataset.identities.tolist() == [7, 8, 9, 10, 11]
    assert dataset.rows("train").tolist() == [0, 1, 2, 3, 4]


def test_annotated_boxes_are_used_and_missing_ones_counted(root: Path) -> None:
    boxes = root / "list_bbox_celeba.txt"
    edit(boxes, "3.png 20 30 20 20", "3.png 0 0 0 0")
    edit(boxes, "4.png 10 10 20 20", "4.png 100 10 20 20")  # beside the image
    edit(boxes, "1.png 30 20 20 20", "1.png 35 20 90 20")  # partly outside
    dataset = opened(root, detector="annotated", size=(20, 20))
    assert kinds_of(dataset) == ["one", "one", "no-box", "no-box", "one"]
    assert dataset.notes["boxes_cut_to_the_image"] == 2  # the first and the last
    assert dataset.images(np.array([1]))[0, 0].mean() == 255
    first = dataset.images(np.array([0]))[0, 0]  # columns 35 to 99, of which the square has 35 to 49
    assert first.mean() / 255 == pytest.approx(15 / 65, abs=0.01)


def test_landmarks_alone(root: Path) -> None:
    dataset = opened(root, detector="landmarks", size=(20, 20))
    assert set(kinds_of(dataset)) == {"given"}
    small, large = (opened(root, detector="landmarks", size=(20, 20), expand=e) for e in (1.0, 4.0))
    shown = [each.images(np.array([0]))[0, 0].mean() / 255 for each in (small, large)]
    assert shown[0] == 1
    assert shown[1] == pytest.approx(0.25, abs=0.03)  # 40 x 40 pixels, of which the square has 20 x 20


def test_a_margin_is_added_to_each_side(root: Path, detector: str) -> None:
    wide = opened(root, detector=detector, size=(40, 40), margin=0.5)
    image = wide.images(np.array([0]))[0, 0]
    assert image.mean() / 255 == pytest.approx(0.25, abs=0.01)
    assert (image[10:30, 10:30] == 255).all()


def test_faces_are_found_once_and_anew_after_a_change(root: Path, detector: str) -> None:
    units = Units()
    first = opened(root, units, detector=detector)
    module = __import__(detector.partition(":")[0])
    assert len(module.asked) == 5
    assert opened(root, units, detector=detector).fingerprint == first.fingerprint
    assert len(module.asked) == 5
    found = celeba_unaligned.fit(context(units), root=str(root), detector=detector)
    image = root / "img_celeba" / "1.png"
    image.write_bytes(image.read_bytes() + b"\0")
    with pytest.raises(DatasetError, match="have changed since faces were found in them; set another number"):
        celeba_unaligned.load(found, root=str(root), detector=detector)
    opened(root, units, detector=detector)
    assert len(module.asked) == 10


def test_before_faces_are_found_everything_but_images_is_there(root: Path) -> None:
    dataset = celeba_unaligned.load(None, root=str(root))
    assert len(dataset) == 5
    assert dataset.attributes is not None
    assert dataset.landmarks is None
    with pytest.raises(DatasetError, match="no images before faces are found"):
        dataset.images(np.array([0]))


def test_fingerprint_depends_on_boxes_and_parameters(root: Path, detector: str) -> None:
    seen = {
        opened(root, detector=detector, **more).fingerprint
        for more in ({}, {"size": (20, 20)}, {"margin": 0.1}, {"expand": 1.5}, {"detection": 1})
    }
    seen |= {opened(root, detector=name).fingerprint for name in ("landmarks", "annotated")}
    edit(root / "list_bbox_celeba.txt", "1.png 30 20", "1.png 31 20")
    seen.add(opened(root, detector="annotated").fingerprint)
    assert len(seen) == 8


def test_the_contract(root: Path, detector: str) -> None:
    parameters = {"root": str(root), "detector": detector, "size": [24, 20]}
    for check in dataset_checks("celeba-unaligned", params=parameters):
        check()


@pytest.mark.parametrize(
    ("name", "old", "new", "expected"),
    [
        ("list_landmarks_celeba.txt", "2.png 65 35 75", "2.png 65 35 x", 'row 4: column 4 is "x"'),
        ("list_landmarks_celeba.txt", "2.png 65", "2.png", "row 4 has 10 columns; it must have 11"),
        ("list_landmarks_celeba.txt", "nose_x", "nose", "row 2 must name the columns lefteye_x"),
        ("list_landmarks_celeba.txt", "1.png", "9.png", "has no row for 1.png, listed in row 3"),
        (
            "list_bbox_celeba.txt",
            "2.png 60 30 20 20",
            "2.png 60 30 20",
            "row 4 has 4 columns; it must have 5",
        ),
        ("list_bbox_celeba.txt", "x_1", "x1", "row 2 must name the columns image_id x_1 y_1 width height"),
        ("list_bbox_celeba.txt", "5\n", "6\n", "row 1 says 6 images, but 5 are listed"),
        ("list_bbox_celeba.txt", "3.png", "8.png", "has no row for 3.png, listed in row 5"),
        ("list_attr_celeba.txt", "3.png 1", "3.png 2", "row 5: 3.png has Male = 2; it must be 1 or -1"),
        ("list_eval_partition.txt", "3.png 0", "3.png 4", "row 3: 3.png is in partition 4"),
    ],
)
def test_each_fault_is_one_line_with_file_and_row(
    root: Path, name: str, old: str, new: str, expected: str
) -> None:
    edit(root / name, old, new)
    message = fault(root, detector="annotated")
    assert message.startswith(f"{root / name}: ")
    assert expected in message


def test_landmarks_outside_of_the_image_are_refused(root: Path, detector: str) -> None:
    edit(
        root / "list_landmarks_celeba.txt",
        "3.png 25 35 35 35 30 40 25 45 35 45",
        "3.png 125 35 135 35 130 40 125 45 135 45",
    )
    message = fault(root, detector=detector)
    assert f"{root / 'img_celeba' / '3.png'} (row 5 of {root / 'list_attr_celeba.txt'})" in message
    assert "outside of its 70 x 90 pixels" in message


def test_landmarks_on_one_line_are_refused(root: Path) -> None:
    edit(
        root / "list_landmarks_celeba.txt", "3.png 25 35 35 35 30 40 25 45 35 45", "3.png 0 0 0 0 0 0 0 0 0 0"
    )
    assert "3.png, listed in row 5" in fault(root, detector="landmarks")


def test_files_that_are_missing(root: Path) -> None:
    (root / "list_bbox_celeba.txt").unlink()
    opened(root, detector="landmarks")  # needs none
    assert "has no list_bbox_celeba.txt" in fault(root, detector="annotated")
    (root / "list_landmarks_celeba.txt").unlink()
    assert "has no list_landmarks_celeba.txt" in fault(root)
    with pytest.raises(DatasetError, match="celeba-unaligned: root = '' is not a path"):
        celeba_unaligned.fit(context(), root="")
    assert "expected a folder that holds img_celeba/" in fault(root / "nowhere")


def test_a_damaged_image_is_named(root: Path, detector: str) -> None:
    image = root / "img_celeba" / "2.png"
    image.write_bytes(image.read_bytes()[:60])
    expected = f"{image} (row 4 of {root / 'list_attr_celeba.txt'}) is a truncated PNG"
    assert expected in fault(root, detector=detector)
    with pytest.raises(DatasetError) as caught:  # its beginning tells its size
        opened(root, detector="landmarks").images(np.array([1]))
    assert expected in str(caught.value)
    image.write_bytes(image.read_bytes()[:20])
    assert expected in fault(root, detector="landmarks")


def test_detectors_that_are_wrong(root: Path, detector: str) -> None:
    module = detector.partition(":")[0]
    for name, expected in {
        "cascad": 'detector = "cascad" is unknown; did you mean "cascade"?',
        "no_such_module:find": "cannot be loaded: ModuleNotFoundError",
        f"{module}:find": "cannot be loaded: AttributeError",
        f"{module}:number": "is no function",
        f"{module}:fails": "the detector failed: ValueError: no memory",
        f"{module}:odd": "the detector returned (1, 3), not finite boxes (K, 4)",
    }.items():
        assert expected in fault(root, detector=name)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"size": (20,)}, "is not a height and a width"),
        ({"margin": -0.1}, "margin = -0.1 must be a number of at least 0"),
        ({"expand": 0.5}, "expand = 0.5 must be a number of at least 1"),
        ({"cache_bytes": -1}, "is not a number of bytes"),
    ],
)
def test_parameters_that_are_wrong(root: Path, parameters: dict[str, Any], expected: str) -> None:
    assert expected in fault(root, detector="landmarks", **parameters)


def test_how_a_face_is_chosen() -> None:
    known = np.array([10.0, 10, 30, 30])
    boxes = np.array([[0.0, 0, 15, 15], [12, 12, 34, 34], [60, 60, 90, 90]])
    assert chosen(boxes, known)[1] == "several"
    assert chosen(boxes, known)[0].tolist() == [12, 12, 34, 34]
    # A huge box contains the whole face, but most of it is something else.
    assert chosen(np.array([[0.0, 0, 500, 500], [12, 12, 34, 34]]), known)[0].tolist() == [12, 12, 34, 34]
    assert chosen(boxes[:0], known)[1] == "none"
    assert chosen(boxes[2:], known)[1] == "elsewhere"
    assert chosen(boxes[2:], known)[0].tolist() == known.tolist()


def test_the_cascade_finds_real_faces() -> None:
    face = astronaut()[:256, 96:352]  # type: ignore[no-untyped-call]
    photograph = np.asarray(cv2.resize(face, (128, 128)), np.uint8)
    found = found_in(detector_of("", "cascade"), np.concatenate([photograph, photograph], axis=1), "")
    assert len(found) >= 2
    middle = (found[:, :2] + found[:, 2:]) / 2
    for x in (64, 192):
        near = np.abs(middle - (x, 56)).max(axis=1) < 16
        assert near.any()
    large = found_in(detector_of("", "cascade"), np.asarray(cv2.resize(face, (720, 720)), np.uint8), "")
    assert np.abs((large[:, :2] + large[:, 2:]) / 2 - (360, 315)).max(axis=1).min() < 60
    again = cascade(np.concatenate([photograph, photograph], axis=1))
    assert np.array_equal(again, cascade(np.concatenate([photograph, photograph], axis=1)))
    assert len(cascade(np.full((100, 100, 3), 120, np.uint8))) == 0
