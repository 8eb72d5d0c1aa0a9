"""CelebA is read in its official layout: aligned faces with attributes, identities, partitions, landmarks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from harness.dataset import PARTITIONS, Dataset, UInt8Images
from harness_faces.celeba_layout import (
    ALIGNED,
    EVAL_PARTITIONS,
    IDENTITIES,
    LANDMARK_NAMES,
    LANDMARKS,
    annotation,
    digest_of,
    image_sizes,
    listed_attributes,
    locate,
)
from harness_faces.checked_values import checked_bytes, checked_size
from harness_faces.decoding import decode
from harness_faces.frame import SOURCE_SIZE, WHOLE, Crop, checked_crop
from harness_faces.list_file import Numbers
from harness_faces.streaming import CACHE_BYTES, StreamedImages

FORMAT = "celeba 1"
"""A part of the fingerprint, to be increased when the same files give other pixels or annotations."""


def load(
    *,
    root: str,
    size: tuple[int, int] = SOURCE_SIZE,
    crop: tuple[int, int, int, int] | None = None,
    cache_bytes: int = CACHE_BYTES,
) -> Dataset:
    """Open CelebA, or the part of it that ``list_attr_celeba.txt`` lists.

    Images are decoded when they are read. The first ones are kept in memory until they take ``cache_bytes``;
    the others are decoded each time.

    Landmarks are x, y in pixels of the resized images, with pixel centres at whole numbers: (0, 0) is the
    middle of the first pixel, not its corner.

    Args:
        root: a folder with ``img_align_celeba/`` and ``list_attr_celeba.txt``, and optionally with
            ``identity_CelebA.txt``, ``list_eval_partition.txt`` and ``list_landmarks_align_celeba.txt``.
            These may list more images, in any order.
        size: the height and width in pixels of the resized images, or of the resized crops.
        crop: top, left, height and width of the part to use, in pixels of the files.
        cache_bytes: the largest number of bytes that decoded images in memory may take.

    Raises:
        DatasetError: a file is missing, malformed, or contradicts another one; a parameter is wrong.
    """
    height, width = checked_size("celeba", size)
    checked_bytes("celeba", cache_bytes)
    part = checked_crop("celeba", crop)
    folder = locate(root)
    listed = listed_attributes(folder)
    identities = annotation(folder / IDENTITIES, listed, width=1)
    partitions = annotation(folder / EVAL_PARTITIONS, listed, width=1)
    landmarks = annotation(folder / LANDMARKS[ALIGNED], listed, width=2 * len(LANDMARK_NAMES))
    sizes = image_sizes(folder / ALIGNED, listed)  # bytes
    words = (FORMAT, _grid((height, width), part))

    def decode_row(row: int) -> UInt8Images:
        origin = f"row {listed.first + row} of {listed.path}"
        return decode(folder / ALIGNED / listed.ids[row], origin, SOURCE_SIZE, (height, width), part)

    return Dataset(
        name="celeba",
        ids=tuple(listed.ids),
        shape=(3, height, width),
        read=StreamedImages(decode_row, len(listed.ids), (3, height, width), cache_bytes).read,
        fingerprint=digest_of(words, listed, (listed.values, identities, partitions, landmarks, sizes)),
        attribute_names=listed.names,
        attributes=listed.values == 1,
        identities=None if identities is None else identities[:, 0].astype(np.int64),
        partitions=None if partitions is None else np.array(PARTITIONS)[partitions[:, 0]],
        landmarks=None if landmarks is None else _scaled(landmarks, part, (height, width)),
        landmark_names=() if landmarks is None else LANDMARK_NAMES,
    )


def _grid(size: tuple[int, int], part: Crop) -> str:
    grid = f"{size[0]} {size[1]}"
    if part == WHOLE:  # without a crop, the fingerprint stays what it was before crops were supported
        return grid
    return f"{grid} of {part.top} {part.left} {part.height} {part.width}"


def _scaled(landmarks: Numbers, crop: Crop, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Convert landmarks (N, 5, 2), x and y, from pixels of the files to pixels of the resized images.

    Resizing maps corners to corners, and a pixel's corner lies half a pixel before its centre.
    """
    scale = np.array([size[1] / crop.width, size[0] / crop.height])
    points = landmarks.reshape(len(landmarks), -1, 2) - np.array([crop.left, crop.top])
    return np.asarray((points + 0.5) * scale - 0.5, dtype=np.float32)
