"""Aligned faces are put into wider frames, turned, scaled and moved by amounts that are known.

The amounts of an image depend on the seed and its id alone. What the aligned image does not show is filled.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated, Literal

import cv2
import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Le

from harness.dataset import UInt8Images
from harness.errors import DatasetError
from harness_faces.affine import Affines, bounds, enlarged, mapped, similarities


@dataclass(frozen=True)
class Frames:
    """Frames says how wide the frames are, and how faces lie in them."""

    widen: Annotated[float, Ge(1), Le(8)] = 2.0
    """How many times as high and wide as the aligned image its frame is."""
    turn: Annotated[float, Ge(0), Le(180)] = 20.0
    """Faces are turned by up to so many degrees, in either direction."""
    smallest: Annotated[float, Ge(0.1), Le(4)] = 0.7
    """By how much faces are scaled, at least."""
    largest: Annotated[float, Ge(0.1), Le(4)] = 1.1
    """By how much faces are scaled, at most."""
    fill: Literal["border", "reflect"] = "border"
    """What is around the aligned image: "border": the median colour of its rim; "reflect": its mirror images,
    which show the face again, so that detectors find several."""
    seed: Annotated[int, Ge(0)] = 0
    """Another seed gives other turns, scales and places."""


@dataclass(frozen=True, eq=False)
class Placed:
    """Placed is how N aligned images lie in their frames."""

    size: tuple[int, int]
    """The height and width of the frames."""
    maps: Affines
    """(N, 2, 3): from pixels of the aligned images to those of the frames."""
    degrees: npt.NDArray[np.float64]
    """(N,): how far faces are turned, clockwise."""
    scale: npt.NDArray[np.float64]
    """(N,): by how much they are scaled."""


def place(
    frames: Frames,
    shape: tuple[int, int, int],
    ids: list[str],
    landmarks: npt.NDArray[np.float64],
    expand: float,
) -> Placed:
    """Return how images lie in their frames: the landmarks' box anywhere inside, or in the middle.

    Args:
        frames: the parameters.
        shape: the channels, height and width of the aligned images.
        ids: the N sample ids.
        landmarks: (N, 5, 2) of the aligned images.
        expand: how many times as wide and high as the landmarks' own their box is.

    Raises:
        DatasetError: the smallest scale is larger than the largest.
    """
    if frames.smallest > frames.largest:
        raise DatasetError(
            f"unaligned-faces: smallest = {frames.smallest:g} is larger than largest = {frames.largest:g}"
        )
    height, width = (round(edge * frames.widen) for edge in shape[1:])
    drawn = np.array([_uniforms(frames.seed, sample_id) for sample_id in ids]).reshape(-1, 4)
    degrees = frames.turn * (2 * drawn[:, 0] - 1)
    scale = frames.smallest + (frames.largest - frames.smallest) * drawn[:, 1]
    zero = np.zeros((len(ids), 2))
    turned = similarities(np.radians(degrees), scale, zero, zero)
    boxes = enlarged(bounds(mapped(turned, landmarks)), expand)
    room = np.array([width, height]) - (boxes[:, 2:] - boxes[:, :2])
    corner = np.where(room > 0, drawn[:, 2:] * room, room / 2) - 0.5
    maps = turned.copy()
    maps[:, :, 2] += corner - boxes[:, :2]
    return Placed((height, width), maps, degrees, scale)


def _uniforms(seed: int, sample_id: str) -> npt.NDArray[np.float64]:
    """Return four numbers in (0, 1) that depend on the seed and a sample id alone."""
    digest = hashlib.sha256(f"{seed}\x1fframe\x1f{sample_id}".encode()).digest()
    return ((np.frombuffer(digest, "<u8") >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def framed(
    image: UInt8Images, to_frame: npt.NDArray[np.float64], part: npt.NDArray[np.int64], fill: str
) -> UInt8Images:
    """Return a part of a frame (H, W, C) with an aligned image (h, w, C) in it.

    Args:
        image: the aligned image.
        to_frame: (2, 3) its map to the frame.
        part: (4,) the first column and row, and those after the last ones.
        fill: "reflect" or "border".
    """
    moved = to_frame.copy()
    moved[:, 2] -= part[:2]
    rim = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    found = cv2.warpAffine(
        image,
        moved,
        (int(part[2] - part[0]), int(part[3] - part[1])),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT_101 if fill == "reflect" else cv2.BORDER_CONSTANT,
        borderValue=np.median(rim, axis=0).tolist(),
    )
    return np.asarray(found, np.uint8).reshape(*found.shape[:2], image.shape[2])
