"""celeba-unaligned reads CelebA's original images, and cuts the face out of each of them (PaW, "Dataset")."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import cv2
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from harness.dataset import PARTITIONS, Dataset, UInt8Images
from harness.errors import DatasetError
from harness.training import Context, StateDict
from harness_faces.affine import Rectangles, bounds, enlarged, mapped, rectangles
from harness_faces.celeba_layout import (
    BOXES,
    EVAL_PARTITIONS,
    IDENTITIES,
    LANDMARK_NAMES,
    LANDMARKS,
    WILD,
    annotation,
    digest_of,
    image_sizes,
    listed_attributes,
    locate,
)
from harness_faces.checked_values import checked_bytes, checked_number, checked_size
from harness_faces.decoding import planes, read_pixels, resized
from harness_faces.face_crops import FaceCrops, crops_of, tell
from harness_faces.face_detection import KINDS, boxes_found, detector_of, find
from harness_faces.frame import EXPAND
from harness_faces.list_file import Table
from harness_faces.located_faces import LocatedFaces, boxes_of
from harness_faces.streaming import CACHE_BYTES, StreamedImages

NAME = "celeba-unaligned"
FORMAT = "celeba-unaligned 1"
"""A part of the fingerprint, to be increased when the same files give other pixels or annotations."""
ANNOTATED, LANDMARKED = "annotated", "landmarks"
"""The values of ``detector`` that ask no detector."""


@dataclass(frozen=True, eq=False)
class Originals:
    """Originals are CelebA's in-the-wild images, and what its files say of them."""

    folder: Path
    listed: Table
    landmarks: npt.NDArray[np.int32]  # (N, 10): x and y of each point
    sizes: npt.NDArray[np.int64]  # (N,): of the files, in bytes

    def place(self, row: int) -> str:
        """Return the file of a row, and where it is listed."""
        return f"{self.path(row)} (row {self.listed.first + row} of {self.listed.path})"

    def path(self, row: int) -> Path:
        """Return the file of a row."""
        return self.folder / WILD / self.listed.ids[row]

    def known(self, expand: float) -> Rectangles:
        """Return the boxes (N, 4) around the landmarks, so many times as wide and high."""
        return enlarged(bounds(self.points), expand)

    @property
    def points(self) -> npt.NDArray[np.float64]:
        """Return the landmarks (N, 5, 2)."""
        return self.landmarks.reshape(len(self.landmarks), -1, 2).astype(np.float64)

    @property
    def digest(self) -> str:
        """Return a digest of the images and landmarks, in which faces are found."""
        return digest_of((FORMAT,), self.listed, (self.landmarks, self.sizes))


def opened(root: str) -> Originals:
    """Open the folder of the originals.

    Raises:
        DatasetError: a file is missing or malformed.
    """
    folder = locate(root, WILD, NAME)
    listed = listed_attributes(folder)
    landmarks = annotation(folder / LANDMARKS[WILD], listed, width=2 * len(LANDMARK_NAMES))
    if landmarks is None:
        raise DatasetError(f"{folder}: has no {LANDMARKS[WILD]}, which says where each face is; restore it")
    flat = bounds(landmarks.reshape(len(landmarks), -1, 2))
    for row in np.flatnonzero((flat[:, 2:] <= flat[:, :2]).any(axis=1)):
        raise DatasetError(
            f"{folder / LANDMARKS[WILD]}: {listed.ids[row]}, listed in row {listed.first + row} of "
            f"{listed.path}, has landmarks on one line; restore the file, or remove the row"
        )
    return Originals(folder, listed, landmarks, image_sizes(folder / WILD, listed))


def fit(
    context: Context, *, root: str, detector: str = "cascade", expand: float = EXPAND, detection: int = 0
) -> StateDict:
    """Find the face in each image; 256 images at a time are kept, and none is looked at twice.

    Arguments and errors are those of ``load``.
    """
    originals = opened(root)
    known = originals.known(checked_number(NAME, "expand", expand, 1.0))
    if detector in (ANNOTATED, LANDMARKED):
        found = _without_detector(originals, known, annotated=detector == ANNOTATED)
    else:

        def picture(row: int) -> tuple[UInt8Images, str]:
            place = originals.place(row)
            return cv2.cvtColor(read_pixels(originals.path(row), place), cv2.COLOR_BGR2RGB), place  # type: ignore[return-value]

        found = find(detector_of(f"{NAME}: detector", detector), picture, known, originals.digest, context)
    digest = np.frombuffer(bytes.fromhex(originals.digest), np.uint8)
    return {**found, "digest": torch.from_numpy(digest.copy())}


def load(
    found: StateDict | None,
    *,
    root: str,
    size: tuple[int, int] = (224, 224),
    detector: str = "cascade",
    margin: float = 0.0,
    expand: float = EXPAND,
    detection: int = 0,
    cache_bytes: int = CACHE_BYTES,
) -> Dataset:
    """Open CelebA's original images, of each the part that shows the face.

    Boxes are cut to the image, and resized whatever their ratio of height and width. Landmarks follow.

    Args:
        found: what ``fit`` found; without it there are no images and no landmarks.
        root: a folder with ``img_celeba/``, ``list_attr_celeba.txt`` and ``list_landmarks_celeba.txt``, and
            optionally with ``list_bbox_celeba.txt``, ``identity_CelebA.txt`` and ``list_eval_partition.txt``.
        size: the height and width in pixels of the resized faces.
        detector: "cascade", as scikit-image ships it; "package.module:function", see ``face_detection``;
            "annotated", the boxes of ``list_bbox_celeba.txt``; "landmarks", their box alone.
        margin: what is added to each side of the box, as a share of its width or height.
        expand: how many times as wide and high as the landmarks' own their box is.
        detection: another number makes faces be found again: after images or the detector have changed.
        cache_bytes: the largest number of bytes that images in memory may take.

    Raises:
        DatasetError: a file is missing, malformed, or contradicts another one; a parameter is wrong.
    """
    size = height, width = checked_size(NAME, size)
    margin = checked_number(NAME, "margin", margin, 0.0)
    checked_bytes(NAME, cache_bytes)
    originals = opened(root)
    listed = originals.listed
    known = originals.known(checked_number(NAME, "expand", expand, 1.0))
    _check_detector(originals, detector)
    identities = annotation(originals.folder / IDENTITIES, listed, width=1)
    partitions = annotation(originals.folder / EVAL_PARTITIONS, listed, width=1)
    crops = None if found is None else _crops(originals, found, known, margin, detector)
    marks = None if crops is None else mapped(crops.maps(size), originals.points).astype(np.float32)
    words = (FORMAT, f"{height} {width} {margin} {expand} {detector} {detection}")
    parts = None if crops is None else crops.parts
    columns = (listed.values, identities, partitions, originals.landmarks, originals.sizes, parts)
    return LocatedFaces(
        name=NAME,
        ids=tuple(listed.ids),
        shape=(3, height, width),
        read=_no_images if crops is None else _reader(originals, crops, size, cache_bytes),
        fingerprint=digest_of(words, listed, columns),
        attribute_names=listed.names,
        attributes=listed.values == 1,
        identities=None if identities is None else identities[:, 0].astype(np.int64),
        partitions=None if partitions is None else np.array(PARTITIONS)[partitions[:, 0]],
        landmarks=marks,
        landmark_names=() if marks is None else LANDMARK_NAMES,
        annotations=None if crops is None else crops.annotations,
        notes={} if crops is None else {"detector": detector, "margin": margin, **crops.notes()},
        boxes=boxes_of(marks, len(known), expand),
    )


def _no_images(rows: npt.NDArray[np.intp]) -> UInt8Images:
    raise DatasetError(f"{NAME} has no images before faces are found in them")


def _reader(
    originals: Originals, crops: FaceCrops, size: tuple[int, int], cache_bytes: int
) -> Callable[[npt.NDArray[np.intp]], UInt8Images]:
    def decode_row(row: int) -> UInt8Images:
        left, top, right, bottom = crops.parts[row]
        image = read_pixels(originals.path(row), originals.place(row))
        if image.shape[0] < bottom or image.shape[1] < right:
            raise DatasetError(
                f"{originals.place(row)} is smaller than when faces were found in it; set another number, "
                "such as detection = 1, to find them again"
            )
        return planes(resized(image[top:bottom, left:right], size))

    return StreamedImages(decode_row, len(crops.parts), (3, *size), cache_bytes).read


def _crops(
    originals: Originals, found: StateDict, known: Rectangles, margin: float, detector: str
) -> FaceCrops:
    if bytes(found["digest"].numpy()).hex() != originals.digest:
        raise DatasetError(
            f"{originals.folder}: images or landmarks have changed since faces were found in them; set "
            "another number, such as detection = 1, to find them again"
        )

    def fail(row: int, fault: str) -> NoReturn:
        raise DatasetError(f"{originals.place(row)} {fault}")

    crops = crops_of(found, known, margin, fail)
    tell(NAME, detector, crops)
    return crops


def _check_detector(originals: Originals, detector: str) -> None:
    if detector == ANNOTATED:
        _annotated(originals)
    elif detector != LANDMARKED:
        detector_of(f"{NAME}: detector", detector)


def _annotated(originals: Originals) -> npt.NDArray[np.int32]:
    """Return the boxes (N, 4) of the file of boxes: left, top, width and height in pixels."""
    boxes = annotation(originals.folder / BOXES, originals.listed, width=4)
    if boxes is None:
        raise DatasetError(
            f'{originals.folder}: has no {BOXES}, which detector = "{ANNOTATED}" reads; restore it, or take '
            'detector = "cascade"'
        )
    return boxes


def _without_detector(originals: Originals, known: Rectangles, *, annotated: bool) -> StateDict:
    sizes = np.array([_size_of(originals, row) for row in range(len(known))], np.int64)
    kinds = np.full(len(known), KINDS.index("given"), np.int64)
    if not annotated:
        return boxes_found(known, kinds, sizes)
    boxes = rectangles(_annotated(originals))
    inside = (boxes[:, 2:] > boxes[:, :2]) & (boxes[:, 2:] > -0.5) & (boxes[:, :2] < sizes[:, ::-1] - 0.5)
    usable = np.asarray(inside.all(axis=1))
    kinds[:] = np.where(usable, KINDS.index("one"), KINDS.index("no-box"))
    return boxes_found(np.where(usable[:, None], boxes, known), kinds, sizes)


def _size_of(originals: Originals, row: int) -> tuple[int, int]:
    """Return height and width of an image, from the beginning of its file."""
    path = originals.path(row)
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=("JPEG", "PNG")) as image:
            return image.height, image.width
    except (OSError, SyntaxError, ValueError) as error:
        read_pixels(path, originals.place(row))  # says what is wrong with it
        raise DatasetError(f"{originals.place(row)} has no size that can be read; fetch it again") from error
