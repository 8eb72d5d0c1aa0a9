"""Places of drawn faces' attributes: what is drawn there, in every form of the images."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from harness_faces.attribute_model import COLUMN, sample_attributes
from harness_faces.attribute_places import PLACE_NAMES
from harness_faces.drawing import draw
from harness_faces.located_faces import LocatedFaces
from harness_faces.measures import face, measure, traits
from harness_faces.synthetic import load

COUNT = 12
INSIDE = {  # the share of the change that lies in the place; others move neighbouring parts, too
    "Bald": 0.6,
    "Wearing_Necktie": 0.6,
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
    return np.abs(pictures[1] - pictures[0]).sum(axis=0)


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
    shares, areas = [], []
    for row in range(0, COUNT, 4):
        changed = change(name, row, aligned)
        if changed.sum():
            place = inside(dataset, name, row)
            shares.append(changed[place].sum() / changed.sum())
            areas.append(place.mean())
    print("SHARE", name, aligned, np.round(shares, 2), np.round(areas, 3))
    assert shares
    assert np.mean(shares) > INSIDE.get(name, 0.8)
    assert max(areas) < 0.25
