"""Places of drawn faces' attributes: what is drawn there, in every form of the images."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from harness.errors import DatasetError
from harness_faces.accessories import (
    paint_earrings,
    paint_glasses,
    paint_hat,
    paint_necklace,
    paint_necktie,
)
from harness_faces.attribute_model import COLUMN, sample_attributes
from harness_faces.attribute_places import PLACE_NAMES
from harness_faces.canvas import Canvas
from harness_faces.drawing import draw
from harness_faces.located_faces import LocatedFaces
from harness_faces.measures import face, measure, traits
from harness_faces.mouth import paint_mouth
from harness_faces.synthetic import load

COUNT = 12
INSIDE = {  # the share of the change that lies in the place is less where others change, too
    "Bald": 0.55,  # hair behind the ears
    "Smiling": 0.7,  # eyes and cheeks
    "Wearing_Necktie": 0.35,  # the whole garment is another
}
LAYERS = {
    "Eyeglasses": paint_glasses,
    "Mouth_Slightly_Open": paint_mouth,
    "Wearing_Earrings": paint_earrings,
    "Wearing_Hat": paint_hat,
    "Wearing_Lipstick": paint_mouth,
    "Wearing_Necklace": paint_necklace,
    "Wearing_Necktie": paint_necktie,
}
SIZE = (109, 89)


def change(name: str, row: int, aligned: bool) -> npt.NDArray[Any]:
    """How much each pixel (H, W) changes when an attribute is drawn fully instead of not at all."""
    index = np.arange(COUNT)
    pictures = []
    for strength in (0.0, 1.0):
        strengths = sample_attributes(0, index).strengths.copy()
        strengths[:, COLUMN[name]] = strength
        for hidden in ("Blurry", "Wearing_Hat", "Bald"):
            if hidden != name:
                strengths[:, COLUMN[hidden]] = 0.0
        if name in ("No_Beard", "Goatee", "Mustache", "Sideburns", "5_o_Clock_Shadow"):
            strengths[:, COLUMN["Male"]] = 1.0
        measures = measure(strengths, traits(0, index))
        pictures.append(draw(face(measures, row), SIZE, aligned).astype(float))
    return np.asarray(np.abs(pictures[1] - pictures[0]).sum(axis=0))


def inside(dataset: LocatedFaces, name: str, row: int) -> npt.NDArray[np.bool_]:
    """Which pixels (H, W) lie in the parts of an attribute, turned with the face."""
    rows, columns = np.indices(dataset.shape[1:])
    found = np.zeros(dataset.shape[1:], bool)
    for corners in dataset.attribute_corners(name, np.array([row]))[0]:
        here = np.ones_like(found)
        for first, second in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            along = second - first
            here &= along[0] * (rows - first[1]) - along[1] * (columns - first[0]) >= -np.hypot(*along)
        found |= here
    return found


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("name", PLACE_NAMES)
def test_an_attribute_changes_its_place_and_little_else(name: str, aligned: bool) -> None:
    dataset = load(size=SIZE, count=COUNT, aligned=aligned)
    shares, used, areas = [], [], []
    for row in range(0, COUNT, 4):
        changed = change(name, row, aligned)
        if changed.sum():
            place = inside(dataset, name, row)
            shares.append(changed[place].sum() / changed.sum())
            used.append((changed[place] > 6).mean())
            areas.append(place.mean())
    assert shares
    assert np.mean(shares) > INSIDE.get(name, 0.8)
    assert np.mean(used) > 0.15  # no place is much larger than what it is the place of
    assert max(areas) < 0.27


@pytest.mark.parametrize("name", LAYERS)
def test_what_a_layer_paints_lies_in_the_place(name: str) -> None:
    dataset = load(size=SIZE, count=COUNT)
    index = np.arange(COUNT)
    strengths = sample_attributes(0, index).strengths.copy()
    strengths[:, COLUMN[name]] = 1.0
    measures = measure(strengths, traits(0, index))
    for row in range(COUNT):
        own = face(measures, row)
        placed = (own["aligned_x"], own["aligned_y"], own["aligned_scale"], own["aligned_roll"])
        canvas = Canvas(SIZE, placed)
        LAYERS[name](canvas, own)
        painted = canvas.rgb.max(axis=0)
        assert painted[inside(dataset, name, row)].sum() / painted.sum() > 0.95


@pytest.mark.parametrize("crop", [None, (50, 25, 128, 128)])
@pytest.mark.parametrize("aligned", [True, False])
def test_places_follow_size_and_crop(crop: tuple[int, int, int, int] | None, aligned: bool) -> None:
    rows = np.arange(COUNT)
    whole = load(count=COUNT, aligned=aligned)
    part = load(count=COUNT, aligned=aligned, size=(64, 32), crop=crop)
    top, left, height, width = crop or (0, 0, 218, 178)
    for name in ("Eyeglasses", "Wearing_Hat", "Rosy_Cheeks"):
        points = whole.attribute_corners(name, rows)
        expected = (points + 0.5 - (left, top)) * (32 / width, 64 / height) - 0.5
        assert np.abs(part.attribute_corners(name, rows) - expected).max() < 1e-6


def test_a_place_is_cut_to_the_image_and_nan_where_there_is_none() -> None:
    dataset = load(count=300)
    rows = np.arange(300)
    assert dataset.attributes is not None
    for name in ("Eyeglasses", "Wearing_Necktie", "Wearing_Hat"):
        present = dataset.attributes[:, dataset.attribute_names.index(name)]
        boxes = dataset.attribute_place(name, rows)
        assert present.any()
        assert np.array_equal(np.isnan(boxes).any(axis=1), ~present)
        known = dataset.attribute_place(name, rows, absent=True)
        assert np.array_equal(known[present], boxes[present])
        assert known.min() >= -0.5
        assert (known[:, 2:] <= (177.5, 217.5)).all()
    ties = dataset.attribute_place("Wearing_Necktie", rows, absent=True)
    assert (ties[:, 3] == 217.5).all()
    # Of the eyes alone, no necktie is seen.
    eyes = load(count=300, crop=(90, 40, 40, 100), size=(40, 100))
    assert np.isnan(eyes.attribute_place("Wearing_Necktie", rows, absent=True)).all()


def test_the_box_of_a_face_holds_its_landmarks() -> None:
    for aligned in (True, False):
        dataset = load(count=50, aligned=aligned)
        assert dataset.landmarks is not None
        points = np.concatenate([dataset.landmarks.min(axis=1), dataset.landmarks.max(axis=1)], axis=1)
        middle = (points[:, :2] + points[:, 2:]) / 2
        half = points[:, 2:] - points[:, :2]  # twice as wide and high
        assert np.abs(dataset.boxes - np.concatenate([middle - half, middle + half], axis=1)).max() < 1e-3


def test_attributes_without_a_place() -> None:
    dataset = load(count=5)
    with pytest.raises(DatasetError, match='attribute "Eyeglases" has no place; did you mean "Eyeglasses"'):
        dataset.attribute_place("Eyeglases", np.array([0]))
    with pytest.raises(DatasetError, match='attribute "Male" has no place'):
        dataset.attribute_place("Male", np.array([0]))
    assert dataset.attribute_place("Smiling", np.array([], np.intp)).shape == (0, 4)
