"""unaligned-faces puts the aligned faces of another data set into wider frames, and cuts them out again.

It stands in for in-the-wild images where only aligned ones are at hand: the same faces, aligned and not, can
be compared, and the place of the face in its frame is known. Landmarks follow; those of a source that has
none are where alignment puts them, so that its images must show CelebA's whole aligned frame.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from harness.dataset import Dataset, UInt8Images
from harness.errors import DatasetError
from harness.training import Context, StateDict
from harness_faces.affine import Affines, Rectangles, after, bounds, enlarged, mapped
from harness_faces.celeba_layout import LANDMARK_NAMES
from harness_faces.checked_values import checked_bytes, checked_number, checked_size
from harness_faces.decoding import resized
from harness_faces.face_crops import FaceCrops, crops_of, tell
from harness_faces.face_detection import KINDS, boxes_found, detector_of, find
from harness_faces.frame import ALIGNED_LANDMARKS, EXPAND, SOURCE_SIZE
from harness_faces.located_faces import LocatedFaces, Outlines, Rows, boxes_of
from harness_faces.streaming import CACHE_BYTES, StreamedImages
from harness_faces.wide_frames import Frames, Placed, framed, place

NAME = "unaligned-faces"
FORMAT = "unaligned-faces 1"
"""A part of the fingerprint, to be increased when the same source gives other pixels or annotations."""
KNOWN, WHOLE_FRAME = "known", "frame"
"""The values of ``detector`` that ask no detector."""
FRAMES = Frames()


def fit(
    source: Dataset,
    context: Context,
    *,
    detector: str = KNOWN,
    expand: float = EXPAND,
    frames: Frames = FRAMES,
    detection: int = 0,
) -> StateDict:
    """Find the face in each frame, if a detector is asked; arguments and errors are those of ``load``."""
    expand = checked_number(NAME, "expand", expand, 1.0)
    placed, known = _placed(source, frames, expand)
    if detector in (KNOWN, WHOLE_FRAME):
        return {}
    whole = np.array([0, 0, placed.size[1], placed.size[0]])

    def picture(row: int) -> tuple[UInt8Images, str]:
        frame = framed(_pixels(source, row), placed.maps[row], whole, frames.fill)
        return np.repeat(frame, 3 // frame.shape[2], axis=2), f"{NAME}: {source.ids[row]}"

    finder = detector_of(f"{NAME}: detector", detector)
    return find(finder, picture, known, source.fingerprint, context)


def load(
    source: Dataset,
    found: StateDict | None,
    *,
    size: tuple[int, int] = (224, 224),
    detector: str = KNOWN,
    margin: float = 0.0,
    expand: float = EXPAND,
    frames: Frames = FRAMES,
    detection: int = 0,
    cache_bytes: int = CACHE_BYTES,
) -> Dataset:
    """Open the faces of another data set, no longer aligned, with the source's annotations.

    Args:
        source: the data set with aligned faces.
        found: what ``fit`` found.
        size: the height and width in pixels of the results.
        detector: "known", the landmarks' box; "frame", the whole frame; "cascade" or any other detector.
        margin: what is added to each side of the box, as a share of its width or height.
        expand: how many times as wide and high as the landmarks' own their box is.
        frames: how wide the frames are, and how faces lie in them.
        detection: another number makes faces be found again: after the detector has changed.
        cache_bytes: the largest number of bytes that images in memory may take, beside those of the source.

    Raises:
        DatasetError: a parameter is wrong, or a face has no pixel in its frame.
    """
    target = checked_size(NAME, size)
    margin = checked_number(NAME, "margin", margin, 0.0)
    expand = checked_number(NAME, "expand", expand, 1.0)
    checked_bytes(NAME, cache_bytes)
    placed, known = _placed(source, frames, expand)
    crops = _crops(source, placed, known, detector, found, margin)
    maps = None if crops is None else after(crops.maps(target), placed.maps)
    marks = None if maps is None else mapped(maps, _landmarks(source)).astype(np.float32)
    parameters = {"size": target, "detector": detector, "margin": margin, "expand": expand, **asdict(frames)}
    words = [FORMAT, source.fingerprint, detection, parameters]
    return LocatedFaces(
        name=NAME,
        ids=source.ids,
        shape=(source.shape[0], *target),
        read=_no_images if crops is None else _reader(source, placed, crops, frames, target, cache_bytes),
        fingerprint=_fingerprint(words, crops),
        attribute_names=source.attribute_names,
        attributes=source.attributes,
        labels=source.labels,
        class_names=source.class_names,
        identities=source.identities,
        identity_names=source.identity_names,
        numbered=source.numbered,
        partitions=source.partitions,
        landmarks=marks,
        landmark_names=() if marks is None else LANDMARK_NAMES,
        annotations=None if crops is None else _annotations(placed, crops),
        notes={} if crops is None else {"detector": detector, "margin": margin, **crops.notes()},
        boxes=boxes_of(marks, len(source), expand),
        outlines=_outlines(source, maps),
        place_names=source.place_names if isinstance(source, LocatedFaces) else (),
    )


def _landmarks(source: Dataset) -> npt.NDArray[np.float64]:
    """Return the landmarks (N, 5, 2) of a source, or where alignment puts them."""
    if source.landmarks is not None:
        return source.landmarks.astype(np.float64)
    scale = np.array([source.shape[2] / SOURCE_SIZE[1], source.shape[1] / SOURCE_SIZE[0]])
    points = (np.array(ALIGNED_LANDMARKS) + 0.5) * scale - 0.5
    return np.broadcast_to(points, (len(source), *points.shape))


def _placed(source: Dataset, frames: Frames, expand: float) -> tuple[Placed, Rectangles]:
    """Return how the images lie in their frames, and the landmarks' boxes (N, 4) there."""
    marks = _landmarks(source)
    placed = place(frames, source.shape, list(source.ids), marks, expand)
    return placed, enlarged(bounds(mapped(placed.maps, marks)), expand)


def _crops(
    source: Dataset,
    placed: Placed,
    known: Rectangles,
    detector: str,
    found: StateDict | None,
    margin: float,
) -> FaceCrops | None:
    """Return the parts of the frames that become images; None before a detector was asked."""

    def fail(row: int, fault: str) -> NoReturn:
        raise DatasetError(f"{NAME}: {source.ids[row]} {fault}")

    if detector not in (KNOWN, WHOLE_FRAME):
        detector_of(f"{NAME}: detector", detector)  # a name that is wrong is told when the suite is planned
    if detector in (KNOWN, WHOLE_FRAME):
        height, width = placed.size
        sizes = np.tile([height, width], (len(known), 1))
        whole = np.tile([-0.5, -0.5, width - 0.5, height - 0.5], (len(known), 1))
        kinds = np.full(len(known), KINDS.index("given"))
        found = boxes_found(known if detector == KNOWN else whole, kinds, sizes)
        margin = margin if detector == KNOWN else 0.0
    if found is None:
        return None
    crops = crops_of(found, known, margin, fail)
    tell(NAME, detector, crops)
    return crops


def _fingerprint(words: Sequence[object], crops: FaceCrops | None) -> str:
    digest = hashlib.sha256(json.dumps(words, sort_keys=True).encode())
    digest.update(b"" if crops is None else crops.parts.astype("<i8").tobytes())
    return digest.hexdigest()


def _annotations(placed: Placed, crops: FaceCrops) -> Callable[[Rows], Mapping[str, npt.NDArray[np.float64]]]:
    def of(rows: Rows) -> Mapping[str, npt.NDArray[np.float64]]:
        own = {"face_degrees": placed.degrees[rows], "face_scale": placed.scale[rows]}
        return {**own, **crops.annotations(rows)}

    return of


def _outlines(source: Dataset, maps: Affines | None) -> Outlines | None:
    """Return the places of the source's attributes, mapped; None where it knows none."""
    if maps is None or not isinstance(source, LocatedFaces) or source.outlines is None:
        return None

    def of(name: str, rows: Rows) -> npt.NDArray[np.float64]:
        return mapped(maps[rows], source.attribute_corners(name, rows))

    return of


def _pixels(source: Dataset, row: int) -> UInt8Images:
    """Return an image (h, w, C) of the source."""
    return np.ascontiguousarray(source.images(np.array([row]))[0].transpose(1, 2, 0))


def _no_images(rows: Rows) -> UInt8Images:
    raise DatasetError(f"{NAME} has no images before faces are found in them")


def _reader(
    source: Dataset,
    placed: Placed,
    crops: FaceCrops,
    frames: Frames,
    size: tuple[int, int],
    cache_bytes: int,
) -> Callable[[Rows], UInt8Images]:
    shape = (source.shape[0], *size)

    def make_row(row: int) -> UInt8Images:
        part = framed(_pixels(source, row), placed.maps[row], crops.parts[row], frames.fill)
        return resized(part, size).reshape(*size, shape[0]).transpose(2, 0, 1)

    return StreamedImages(make_row, len(source), shape, cache_bytes).read
