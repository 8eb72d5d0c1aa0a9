"""synthetic-faces are drawn faces with CelebA's attributes, rates, correlations, identities and partitions.

They are the substitute for CelebA. The seed and an image's index alone decide it; no file is read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from harness.dataset import UInt8Images
from harness.errors import DatasetError
from harness_faces.affine import corners
from harness_faces.attribute_model import sample_attributes
from harness_faces.attribute_names import CELEBA_ATTRIBUTES
from harness_faces.attribute_places import PLACE_NAMES, places
from harness_faces.drawing import draw
from harness_faces.frame import EXPAND, WHOLE, Crop, checked_crop
from harness_faces.identities import identity_of, partition_of
from harness_faces.located_faces import LocatedFaces, boxes_of
from harness_faces.measures import Faces, face, landmarks, measure, placed, traits
from harness_faces.streaming import CACHE_BYTES, StreamedImages

VERSION = 1
"""A part of the fingerprint, to be increased whenever an image or an annotation changes."""

_LANDMARKS = ("lefteye", "righteye", "nose", "leftmouth", "rightmouth")
_LARGEST_COUNT = 2_000_000
_SMALLEST_SIDE, _LARGEST_SIDE = 16, 4096


def load(
    *,
    size: tuple[int, int] = (218, 178),
    crop: tuple[int, int, int, int] | None = None,
    count: int = 6000,
    seed: int = 0,
    aligned: bool = True,
    cache_bytes: int = CACHE_BYTES,
) -> LocatedFaces:
    """Open a data set of drawn faces, of which it is known where each is, and where its attributes are.

    Args:
        size: the height and width in pixels. As with the real images, the 178 x 218 frame is resized to it,
            so that other proportions stretch the faces.
        crop: top, left, height and width of the part of that frame that is drawn, and fills the image.
        count: the number of images. A larger data set begins with the images of a smaller one.
        seed: another seed gives other people.
        cache_bytes: the largest number of bytes of images in memory; the others are drawn again each time.
        aligned: true puts eyes at CelebA's aligned positions; false puts faces anywhere, smaller and turned.

    Raises:
        DatasetError: a parameter is out of range.
    """
    height, width = _checked_size(size)
    part = checked_crop("synthetic-faces", crop)
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= _LARGEST_COUNT:
        raise DatasetError(
            f"synthetic-faces: count = {count!r} must be a whole number from 1 to {_LARGEST_COUNT}"
        )
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise DatasetError(f"synthetic-faces: seed = {seed!r} must be a whole number of at least 0")
    if not isinstance(aligned, bool):
        raise DatasetError(f"synthetic-faces: aligned = {aligned!r} must be true or false")
    index = np.arange(count, dtype=np.int64)
    sample = sample_attributes(seed, index)
    identity = identity_of(index)
    measures = measure(sample.strengths, traits(seed, index))

    def draw_row(row: int) -> UInt8Images:
        return draw(face(measures, row), (height, width), aligned, part)

    marks = landmarks(measures, (height, width), aligned, part)
    return LocatedFaces(
        name="synthetic-faces",
        ids=[f"synthetic-{number:06d}" for number in range(1, count + 1)],
        shape=(3, height, width),
        read=_checked(StreamedImages(draw_row, count, (3, height, width), cache_bytes).read, count),
        fingerprint=_fingerprint(part, size=[height, width], count=count, seed=seed, aligned=aligned),
        attribute_names=CELEBA_ATTRIBUTES,
        attributes=sample.labels,
        identities=identity,
        partitions=partition_of(identity),
        landmarks=marks,
        landmark_names=_LANDMARKS,
        boxes=boxes_of(marks, count, EXPAND),
        outlines=partial(_outlines, measures, (height, width), aligned, part),
        place_names=PLACE_NAMES,
    )


def _outlines(
    measures: Faces, size: tuple[int, int], aligned: bool, crop: Crop, name: str, rows: npt.NDArray[np.intp]
) -> npt.NDArray[np.float64]:
    """Return the corners (B, P, 4, 2) of the parts of an attribute in pixels."""
    own = {key: values[rows] for key, values in measures.items()}
    parts = corners(places(name, own))  # in face coordinates
    return placed(own, parts.reshape(len(rows), parts.shape[1] * 4, 2), size, aligned, crop).reshape(
        parts.shape
    )


def _fingerprint(part: Crop, **parameters: object) -> str:
    if part != WHOLE:  # without a crop, the fingerprint stays what it was before crops were supported
        parameters["crop"] = [part.top, part.left, part.height, part.width]
    text = json.dumps({"name": "synthetic-faces", "version": VERSION, **parameters}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _checked(
    read: Callable[[npt.NDArray[np.intp]], UInt8Images], count: int
) -> Callable[[npt.NDArray[np.intp]], UInt8Images]:
    """Return ``read`` with a check that the rows exist."""

    def checked(rows: npt.NDArray[np.intp]) -> UInt8Images:
        wanted = np.asarray(rows, dtype=np.intp)
        if len(wanted) and not (wanted.min() > -1 and wanted.max() < count):
            raise DatasetError(f"synthetic-faces: rows must be from 0 to {count - 1}")
        return read(wanted)

    return checked


def _checked_size(size: Sequence[int]) -> tuple[int, int]:
    """Return height and width as a tuple; a manifest gives a list."""
    sides = tuple(size) if isinstance(size, Sequence) and not isinstance(size, str) else ()
    whole = len(sides) == 2 and all(isinstance(side, int) and not isinstance(side, bool) for side in sides)
    if not whole or not all(_SMALLEST_SIDE <= side <= _LARGEST_SIDE for side in sides):
        raise DatasetError(
            f"synthetic-faces: size = {size!r} must be height and width, "
            f"each from {_SMALLEST_SIDE} to {_LARGEST_SIDE} pixels"
        )
    return int(sides[0]), int(sides[1])
