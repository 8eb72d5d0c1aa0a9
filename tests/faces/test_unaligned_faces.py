"""Aligned faces in wider frames: what is known of them stays true, whatever they are made from."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from harness.cases.datasets import open_dataset
from harness.catalog import catalog
from harness.dataset import Dataset
from harness.errors import DatasetError
from harness.manifest import read_suite
from harness.parameters import arguments
from harness.plan.planner import plan
from harness.testing import dataset_checks
from harness.training import Context
from harness.zoo.fits import known_fit, obtain_fit
from harness_faces import celeba, synthetic, unaligned_faces
from harness_faces.affine import after, corners, inverse, mapped, overlaps, similarities, whole_pixels
from harness_faces.frame import ALIGNED_LANDMARKS
from harness_faces.located_faces import LocatedFaces
from harness_faces.wide_frames import Frames

CONTEXT = Context(0, torch.device("cpu"), lambda share, word: None, lambda part, make: make())
SMALL = (109, 89)
STILL = {"turn": 0.0, "smallest": 1.0, "largest": 1.0, "widen": 1.0}


@pytest.fixture(scope="module")
def drawn() -> LocatedFaces:
    """Twenty drawn faces."""
    return synthetic.load(size=SMALL, count=20)


def opened(source: Dataset, **values: Any) -> LocatedFaces:
    """What a run opens: the faces are found first."""
    found = unaligned_faces.fit(source, CONTEXT, **arguments(unaligned_faces.fit, values))
    dataset = unaligned_faces.load(source, found, **arguments(unaligned_faces.load, values))
    assert isinstance(dataset, LocatedFaces)
    return dataset


def noted(points: npt.NDArray[Any], shape: tuple[int, int, int] = (3, *SMALL), **more: Any) -> Dataset:
    """A data set of black images with one white square of 5 pixels around each given point (N, 2)."""
    images = np.zeros((len(points), *shape), np.uint8)
    for image, (x, y) in zip(images, points, strict=True):
        image[:, y - 2 : y + 3, x - 2 : x + 3] = 255
    ids = [f"image {number}" for number in range(len(points))]
    return Dataset(
        name="squares", ids=ids, shape=shape, read=lambda rows: images[rows], fingerprint="squares", **more
    )


def test_annotations_are_those_of_the_source(drawn: LocatedFaces) -> None:
    dataset = opened(drawn, size=(64, 64))
    assert dataset.shape == (3, 64, 64)
    assert list(dataset.ids) == list(drawn.ids)
    assert dataset.attribute_names == drawn.attribute_names
    for column in ("attributes", "identities", "partitions"):
        assert np.array_equal(getattr(dataset, column), getattr(drawn, column))
    assert dataset.notes["faces"]["given"] == 20


@pytest.mark.parametrize("detector", ["known", "frame"])
def test_landmarks_stay_on_what_they_mark(detector: str) -> None:
    points = np.array([[30, 50], [44, 60], [60, 70], [40, 80]])
    marks = np.tile(np.array(ALIGNED_LANDMARKS, np.float32) / 2, (4, 1, 1))
    marks[:, 0] = points
    dataset = opened(
        noted(points, landmarks=marks), detector=detector, size=(200, 220), fill="border", turn=60.0
    )
    mass = dataset.images(np.arange(4))[:, 0].astype(float)  # (4, H, W)
    assert dataset.landmarks is not None
    rows, columns = np.indices(mass.shape[1:])
    for each, mark in zip(mass, dataset.landmarks[:, 0], strict=True):
        if each.sum() and 12 < mark[0] < 208 and 12 < mark[1] < 188:  # the whole square is in the image
            centre = np.array([(each * columns).sum(), (each * rows).sum()]) / each.sum()
            assert np.abs(centre - mark).max() < 0.35
    assert mass.sum(axis=(1, 2)).astype(bool).sum() >= 3


def test_places_of_attributes_follow(drawn: LocatedFaces) -> None:
    dataset = opened(drawn, detector="frame", size=(218, 178))
    rows = np.arange(20)
    assert dataset.place_names == drawn.place_names
    assert dataset.landmarks is not None
    eyes = dataset.attribute_place("Eyeglasses", rows, absent=True)
    mouth = dataset.attribute_place("Smiling", rows, absent=True)
    for box, marks in ((eyes, dataset.landmarks[:, :2]), (mouth, dataset.landmarks[:, 3:])):
        assert (marks >= box[:, None, :2]).all()
        assert (marks <= box[:, None, 2:]).all()
        assert ((box[:, 2:] - box[:, :2]) < 90).all()
    assert drawn.attributes is not None
    smiling = drawn.attributes[:, drawn.attribute_names.index("Smiling")]
    assert np.array_equal(np.isnan(dataset.attribute_place("Smiling", rows)).any(axis=1), ~smiling)


def test_the_known_box_is_the_image(drawn: LocatedFaces) -> None:
    dataset = opened(drawn, size=(100, 80))
    # Whole pixels of the frame, of which one is about 1.5 pixels of the image.
    assert np.abs(dataset.boxes - (-0.5, -0.5, 79.5, 99.5)).max() < 2
    wide = opened(drawn, size=(100, 80), margin=0.5)
    inside = wide.boxes[:, 2:] - wide.boxes[:, :2]
    assert np.median(np.abs(inside - (40, 50))) < 2


def test_faces_lie_anywhere_in_their_frames(drawn: LocatedFaces) -> None:
    source = synthetic.load(size=SMALL, count=400)
    dataset = opened(source, detector="frame", size=(218, 178))
    assert dataset.annotations is not None
    known = dataset.annotations(np.arange(400))
    assert np.abs(known["face_degrees"]).max() <= 20
    assert np.abs(known["face_degrees"]).mean() == pytest.approx(10, abs=1)
    assert 0.7 <= known["face_scale"].min() <= known["face_scale"].max() <= 1.1
    angles = []
    for marks in (source.landmarks, dataset.landmarks):
        assert marks is not None
        along = marks[:, 1] - marks[:, 0]  # from eye to eye
        angles.append(np.degrees(np.arctan2(along[:, 1], along[:, 0])))
    assert np.abs(angles[1] - angles[0] - known["face_degrees"]).max() < 0.01  # clockwise
    # The frame is twice as wide and high, and shown pixel by pixel: boxes lie inside it, and reach all edges.
    assert dataset.boxes.min() >= -0.51
    assert (dataset.boxes[:, 2:] <= np.array([177.5, 217.5]) + 0.01).all()
    assert dataset.boxes[:, :2].min(axis=0) == pytest.approx([0, 0], abs=3)
    assert dataset.boxes[:, 2:].max(axis=0) == pytest.approx([177, 217], abs=3)


def test_an_image_does_not_depend_on_other_images() -> None:
    few, many = (opened(synthetic.load(size=SMALL, count=n), size=(32, 32)) for n in (5, 30))
    assert np.array_equal(few.images(np.arange(5)), many.images(np.arange(30))[:5])
    assert np.array_equal(few.boxes, many.boxes[:5])


def test_a_still_face_in_a_frame_of_its_size_is_the_source(drawn: LocatedFaces) -> None:
    dataset = opened(drawn, detector="frame", size=SMALL, **STILL)
    shift = dataset.landmarks - drawn.landmarks  # type: ignore[operator]
    assert np.abs(shift - shift[:, :1]).max() < 1e-3  # moved only
    frames = opened(noted(np.array([[40, 50]])), detector="frame", size=SMALL, **STILL, fill="border")
    assert frames.landmarks is not None
    found = np.argwhere(frames.images(np.array([0]))[0, 0] > 128).mean(axis=0)
    moved = frames.landmarks[0, 0] - (np.array(ALIGNED_LANDMARKS[0]) + 0.5) / 2 + 0.5
    assert np.abs(found[::-1] - (40, 50) - moved).max() < 0.6


def test_what_surrounds_the_aligned_image(drawn: LocatedFaces) -> None:
    grey = np.full((1, 3, *SMALL), 80, np.uint8)
    grey[:, :, 20:-20, 20:-20] = 200
    source = Dataset(name="grey", ids=["a"], shape=(3, *SMALL), read=lambda rows: grey[rows], fingerprint="g")
    border = opened(source, detector="frame", size=(218, 178), fill="border").images(np.array([0]))
    assert sorted(set(np.unique(border)) & {80, 200}) == [80, 200]
    assert np.median(border) == 80
    assert border.min() == 80  # no black corners
    mirrored = opened(source, detector="frame", size=(218, 178), fill="reflect").images(np.array([0]))
    assert (mirrored > 190).sum() > 1.3 * (border > 190).sum()


def test_a_source_without_landmarks_shows_the_aligned_frame() -> None:
    dataset = opened(noted(np.array([[40, 50]])), size=(64, 64))
    assert dataset.landmarks is not None
    with pytest.raises(DatasetError, match="are known of drawn faces only"):
        dataset.attribute_place("Smiling", np.array([0]))


def test_a_detector_is_asked(drawn: LocatedFaces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "left_half.py").write_text(
        "def find(picture):\n    return [[0, 0, picture.shape[1] // 2, picture.shape[0]]]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    dataset = opened(drawn, detector="left_half:find", size=(218, 89))
    frame = opened(drawn, detector="frame", size=(218, 178))
    counts = dataset.notes["faces"]
    assert counts["one"] + counts["elsewhere"] == 20
    assert counts["one"] > 3
    assert dataset.annotations is not None
    row = np.flatnonzero(dataset.annotations(np.arange(20))["face_kind"] == 0)[:1]
    assert np.array_equal(dataset.images(row), frame.images(row)[:, :, :, :89])
    unfound = unaligned_faces.load(drawn, None, detector="left_half:find")
    assert unfound.landmarks is None
    with pytest.raises(DatasetError, match="no images before faces are found"):
        unfound.images(np.array([0]))


@pytest.mark.parametrize("detector", ["known", "cascade"])
def test_a_run_finds_faces_once_and_keeps_them(
    detector: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    tables = {
        "source": [{"use": "synthetic-faces", "id": "aligned", "size": [109, 89], "count": 4}],
        "dataset": [{"use": "unaligned-faces", "source": "aligned", "size": [32, 32], "detector": detector}],
        "model": [{"use": "moon"}],
        "attack": [{"use": "ffa"}],
    }
    (choice,) = plan(read_suite({"schema": 1, "name": "unaligned", **tables}), catalog()).datasets
    first = open_dataset(choice, lambda one, source: obtain_fit(one, source, 0, torch.device("cpu")))
    again = open_dataset(choice, lambda one, source: known_fit(one, source, 0))
    assert np.array_equal(first.images(np.arange(4)), again.images(np.arange(4)))
    assert first.fingerprint == again.fingerprint
    assert sum(again.notes["faces"].values()) == 4
    assert len(list(tmp_path.glob("fits/*/card.json"))) >= 1


def test_fingerprint_depends_on_everything(drawn: LocatedFaces) -> None:
    other = replace(drawn, fingerprint="other")
    seen = {opened(source).fingerprint for source in (drawn, other)}
    for more in (
        *(
            {"widen": 2.5},
            {"turn": 5.0},
            {"smallest": 0.6},
            {"largest": 1.2},
            {"fill": "reflect"},
            {"seed": 1},
        ),
        *({"size": (64, 64)}, {"margin": 0.2}, {"expand": 3.0}, {"detector": "frame"}, {"detection": 1}),
    ):
        seen.add(opened(drawn, **more).fingerprint)
    assert len(seen) == 13
    assert opened(drawn).fingerprint in seen


@pytest.mark.parametrize("check", dataset_checks("unaligned-faces"))
def test_the_contract(check: Callable[[], None]) -> None:
    check()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"smallest": 1.5}, "smallest = 1.5 is larger than largest = 1.1"),
        ({"size": 5}, "is not a height and a width"),
        ({"margin": float("nan")}, "margin = nan must be a number of at least 0"),
        ({"detector": "knwon"}, 'detector = "knwon" is unknown'),
        ({"cache_bytes": None}, "is not a number of bytes"),
    ],
)
def test_parameters_that_are_wrong(drawn: LocatedFaces, values: dict[str, Any], expected: str) -> None:
    with pytest.raises(DatasetError) as caught:
        unaligned_faces.load(drawn, None, **arguments(unaligned_faces.load, values))
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_affine_maps() -> None:
    rng = np.random.default_rng(0)
    one, two = (
        similarities(
            rng.normal(size=3), rng.uniform(1, 2, 3), rng.normal(size=(3, 2)), rng.normal(size=(3, 2))
        )
        for _ in range(2)
    )
    points = rng.normal(size=(3, 4, 2))
    assert np.allclose(mapped(after(two, one), points), mapped(two, mapped(one, points)))
    assert np.allclose(mapped(inverse(one), mapped(one, points)), points)
    boxes = np.array([[-0.5, -0.5, 9.5, 4.5], [2.5, 0.5, 30.0, 2.4]])
    assert corners(boxes)[0].tolist() == [[-0.5, -0.5], [9.5, -0.5], [9.5, 4.5], [-0.5, 4.5]]
    assert whole_pixels(boxes, np.array([[5, 10], [5, 10]])).tolist() == [[0, 0, 10, 5], [3, 1, 10, 3]]
    assert overlaps(np.array([[0.0, 0, 2, 2]]), np.array([1.0, 0, 3, 2])).tolist() == [pytest.approx(1 / 3)]


def test_defaults_are_those_of_the_frames() -> None:
    assert Frames() == unaligned_faces.FRAMES


@pytest.mark.real_data
def test_the_cascade_finds_most_real_faces() -> None:
    folder = os.environ.get("CELEBA_ROOT")
    if not folder:
        pytest.skip("CELEBA_ROOT is unset")
    whole = celeba.load(root=folder)
    rows = np.linspace(0, len(whole) - 1, 24).astype(np.intp)
    some = Dataset(
        name="some",
        ids=[whole.ids[row] for row in rows],
        shape=whole.shape,
        read=lambda own: whole.images(rows[own]),
        fingerprint=whole.fingerprint,
    )
    dataset = opened(some, detector="cascade", turn=0.0, smallest=1.0, largest=1.0, fill="border")
    counts = dataset.notes["faces"]
    # It finds about nine in ten; this is to tell that from a detector that is asked in a wrong way.
    assert counts["one"] + counts["several"] >= 18
    assert dataset.annotations is not None
    known = dataset.annotations(np.arange(24))
    assert np.median(known["face_overlap"][known["face_kind"] < 2]) > 0.4
