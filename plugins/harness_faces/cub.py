"""cub-200 is CUB-200-2011 in its official layout: birds with boxes, parts and attributes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from harness.dataset import Dataset, UInt8Images
from harness.errors import DatasetError
from harness.randomness import derived_seed
from harness_faces.affine import Points, cut_and_resized, mapped, rectangles, whole_pixels
from harness_faces.checked_values import checked_bytes, checked_size
from harness_faces.cub_files import Bird, Birds, read_birds
from harness_faces.decoding import planes, read_pixels, resized
from harness_faces.streaming import CACHE_BYTES, StreamedImages

NAME = "cub-200"
FORMAT = "cub-200 1"
"""A part of the fingerprint, to be increased when the same files give other pixels or annotations."""
Rows = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False, kw_only=True)
class BirdDataset(Dataset):
    """A BirdDataset knows the box and the parts of each bird, in pixels of the resized images.

    Pixel centres are at whole numbers, as for landmarks. Both read the beginnings of the image files.
    """

    part_names: tuple[str, ...]
    """The names of the P parts."""
    parts: Callable[[Rows], npt.NDArray[np.float64]]
    """A function of row numbers (B,) that returns x and y of each part (B, P, 2), NaN where it is hidden."""
    boxes: Callable[[Rows], npt.NDArray[np.float64]]
    """A function of row numbers (B,) that returns left, top, right and bottom (B, 4) of each bird."""


def load(
    *,
    root: str,
    size: tuple[int, int] = (224, 224),
    crop: Literal["none", "box"] = "none",
    validation: float = 0.0,
    seed: int = 0,
    cache_bytes: int = CACHE_BYTES,
) -> BirdDataset:
    """Open CUB-200-2011.

    Rows of ``image_attribute_labels.txt`` with more columns than five, of which the published file has some,
    are read from their first three. How many there are, and how many birds show no part, is in the notes.

    Args:
        root: the folder ``CUB_200_2011`` of the published archive. ``attributes.txt``, which lies beside that
            folder in the archive, is found there, in ``attributes/``, or in the folder itself.
        size: the height and width in pixels of the results, whatever the ratio of those of the image.
        crop: "box": the part that the box shows, cut to the image; "none": the whole image.
        validation: the share of the training images that are for validation; there are none as published.
        seed: another seed draws others.
        cache_bytes: the largest number of bytes that decoded images in memory may take.

    Raises:
        DatasetError: a file is missing or malformed, or a parameter is wrong.
    """
    target = checked_size(NAME, size)
    _check_share(validation)
    checked_bytes(NAME, cache_bytes)
    birds = read_birds(_locate(root))

    def decode_row(row: int) -> UInt8Images:
        bird = birds.bird(row)
        image = read_pixels(bird.path, bird.place)
        left, top, right, bottom = _part(bird, crop, (image.shape[0], image.shape[1]))
        return planes(resized(image[top:bottom, left:right], target))

    points = partial(_points, birds, crop, target)
    count, parts = birds.parts.shape[:2]
    partitions = _partitions(birds, validation, seed)
    return BirdDataset(
        name=NAME,
        ids=birds.ids,
        shape=(3, *target),
        read=StreamedImages(decode_row, count, (3, *target), cache_bytes).read,
        fingerprint=_fingerprint(birds, f"{target} {crop}", partitions),
        attribute_names=birds.attribute_names,
        attributes=birds.attributes,
        labels=birds.labels,
        class_names=birds.class_names,
        partitions=partitions,
        notes={
            "rows_with_more_columns": birds.odd_rows,
            "images_without_parts": int(np.isnan(birds.parts).all(axis=(1, 2)).sum()),
        },
        part_names=birds.part_names,
        parts=lambda rows: points(rows, lambda bird: bird.parts).reshape(len(rows), parts, 2),
        boxes=lambda rows: points(rows, _box).reshape(len(rows), 4),
    )


def _box(bird: Bird) -> Points:
    return rectangles(bird.box[None]).reshape(2, 2)


def _points(
    birds: Birds, crop: str, size: tuple[int, int], rows: Rows, of: Callable[[Bird], Points]
) -> npt.NDArray[np.float64]:
    """Return points (B, K, 2) of some birds in pixels of the resized images."""
    found = []
    for row in rows:
        bird = birds.bird(int(row))
        part = _part(bird, crop, bird.size())
        found.append(mapped(cut_and_resized(part[None], size), of(bird)[None])[0])
    return np.array(found)


def _part(bird: Bird, crop: str, size: tuple[int, int]) -> npt.NDArray[np.int64]:
    """Return the pixels (4,) of an image of a height and width that are used."""
    if crop == "none":
        return np.array([0, 0, size[1], size[0]])
    part = whole_pixels(rectangles(bird.box[None]), np.array([size]))[0]
    if part[0] >= part[2] or part[1] >= part[3]:
        left, top, width, height = bird.box
        raise DatasetError(
            f"{bird.place_of_box} is a box of {width:g} x {height:g} pixels at {left:g}, {top:g}, "
            f"outside of the image, which is {size[1]} pixels wide and {size[0]} high; correct it, or take "
            'crop = "none"'
        )
    return np.asarray(part)


def _check_share(share: float) -> None:
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < 1:
        raise DatasetError(f"{NAME}: validation = {share!r} must be a share from 0 to less than 1")


def _locate(root: str) -> Path:
    layout = "expected the folder CUB_200_2011, which holds images/ and images.txt"
    if not isinstance(root, str | os.PathLike) or not str(root).strip():
        raise DatasetError(f"{NAME}: root = {root!r} is not a path; {layout}")
    folder = Path(os.path.expanduser(root))
    if not os.path.isdir(folder):  # os.path returns False where pathlib would raise
        fault = "is not a folder" if os.path.exists(folder) else "does not exist"
        raise DatasetError(f"{folder}: {fault}; {layout}")
    if not os.path.isfile(folder / "images.txt"):
        below = folder / "CUB_200_2011"
        remedy = f'did you mean root = "{below}"?' if os.path.isfile(below / "images.txt") else layout
        raise DatasetError(f"{folder}: has no images.txt; {remedy}")
    return folder


def _partitions(birds: Birds, validation: float, seed: int) -> npt.NDArray[np.str_]:
    """Return the partition (N,) of each image: a digest of its id decides which are for validation."""
    found = np.where(birds.training, "train", "test").astype("<U10")
    rows = np.flatnonzero(birds.training)
    order = np.argsort([derived_seed(seed, "validation", birds.ids[row]) for row in rows], kind="stable")
    found[rows[order[: round(validation * len(rows))]]] = "validation"
    return found


def _fingerprint(birds: Birds, words: str, partitions: npt.NDArray[np.str_]) -> str:
    digest = hashlib.sha256(f"{FORMAT}\n{words}\0".encode())
    for names in (birds.ids, birds.class_names, birds.attribute_names, birds.part_names, partitions.tolist()):
        digest.update("\n".join(names).encode() + b"\0")
    for values in (birds.labels, birds.attributes, birds.file_bytes):
        digest.update(f"{values.shape}\0".encode() + values.astype("<i8").tobytes())
    for floats in (birds.boxes, birds.parts):
        digest.update(f"{floats.shape}\0".encode() + floats.astype("<f8").tobytes())
    return digest.hexdigest()
