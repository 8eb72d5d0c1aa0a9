"""MNIST is read in its official layout: 28x28 grey digits in IDX files, a training set and a test set."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.dataset import Dataset, UInt8Images
from harness.errors import DatasetError
from harness_faces.idx_file import read_idx

FORMAT = "mnist 1"
"""A part of the fingerprint, to be increased when the same files give other pixels or labels."""
DIGITS = tuple(str(digit) for digit in range(10))
TRAIN = "train"
"""The beginning of the names of the training set's files; those of the test set mostly begin with t10k."""

_NAME = re.compile(r"(?P<prefix>.+)-(?P<kind>images|labels)[-.]idx(?P<dimensions>[13])-ubyte(\.gz)?")
_DIMENSIONS = {"images": "3", "labels": "1"}
_LAYOUT = (
    "expected a folder that holds train-images-idx3-ubyte[.gz], train-labels-idx1-ubyte[.gz], t10k-… likewise"
)

Files = dict[str, dict[str, Path]]
"""The files by prefix, and then by "images" or "labels"."""


def load(*, root: str) -> Dataset:
    """Read MNIST into memory; ids are "train-00000" and "test-00000", numbered as in the files.

    Args:
        root: a folder with the images and labels of the training set and of one test set, compressed by gzip
            or not: ``train-images-idx3-ubyte.gz``, ``t10k-labels.idx1-ubyte`` and the like.

    Raises:
        DatasetError: a file is missing, damaged, or contradicts another one.
    """
    files = locate(root)
    parts = []
    for partition, prefix in (("train", TRAIN), ("test", next(name for name in files if name != TRAIN))):
        parts.append((partition, *_read(files[prefix])))
    shapes = {partition: images.shape[1:] for partition, images, _ in parts}
    if shapes["train"] != shapes["test"]:
        raise DatasetError(
            f"{root}: training images are {_size_text(shapes['train'])} pixels, test images "
            f"{_size_text(shapes['test'])}; take both from one data set"
        )
    pixels = np.concatenate([images for _, images, _ in parts])[:, None]  # (N, 1, H, W)
    labels = np.concatenate([labels for _, _, labels in parts])
    counts = [len(labels) for _, _, labels in parts]
    digest = hashlib.sha256(f"{FORMAT} {pixels.shape} {counts}".encode())
    digest.update(pixels.tobytes())
    digest.update(labels.tobytes())

    def read(rows: npt.NDArray[np.intp]) -> UInt8Images:
        return np.asarray(pixels[rows])

    return Dataset(
        name="mnist",
        ids=[f"{partition}-{row:05d}" for partition, _, own in parts for row in range(len(own))],
        shape=(1, *shapes["train"]),
        read=read,
        fingerprint=digest.hexdigest(),
        labels=labels.astype(np.int64),
        class_names=DIGITS,
        partitions=np.repeat(np.array([partition for partition, _, _ in parts]), counts),
    )


def _read(pair: dict[str, Path]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Read images (N, H, W) and labels (N,) of a training or a test set."""
    images, labels = read_idx(pair["images"], 3), read_idx(pair["labels"], 1)
    if len(images) != len(labels):
        raise DatasetError(
            f"{pair['labels']}: has {len(labels)} labels for the {len(images)} images of "
            f"{pair['images'].name}; take both from one data set"
        )
    if not images.size:
        raise DatasetError(f"{pair['images']}: has no pixels; fetch it again")
    for row in np.flatnonzero(labels >= len(DIGITS)):
        raise DatasetError(
            f"{pair['labels']}: label {row}, counted from 0, is {labels[row]}; it must be a digit"
        )
    return images, labels


def locate(root: str) -> Files:
    """Return the files of the training set and of one test set in the folder that ``root`` names.

    Raises:
        DatasetError: files are missing; if a folder nearby has some, the message names it.
    """
    if not isinstance(root, str | os.PathLike) or not str(root).strip():
        raise DatasetError(f"mnist: root = {root!r} is not a path; {_LAYOUT}")
    folder = Path(os.path.expanduser(root))  # os.path returns the path, or False, where pathlib would raise
    if not os.path.exists(folder):
        raise DatasetError(f"{folder}: does not exist; {_LAYOUT}")
    files = _files(folder)
    if not files:
        below = sorted(folder.glob("*/")) + sorted(folder.glob("*/*/"))
        for nearby in (*folder.absolute().parents[:2], *below):
            if _files(nearby):
                raise DatasetError(f'{folder}: has no IDX files; did you mean root = "{nearby}"?')
        fault = "has no IDX files" if os.path.isdir(folder) else "is not a folder"
        raise DatasetError(f"{folder}: {fault}; {_LAYOUT}")
    tests = sorted(prefix for prefix in files if prefix != TRAIN)
    if TRAIN not in files or not tests:
        missing = "training set" if TRAIN not in files else "test set"
        raise DatasetError(f"{folder}: has no {missing}; {_LAYOUT}")
    if len(tests) > 1:
        raise DatasetError(f"{folder}: has {len(tests)} test sets, {' and '.join(tests)}; leave one there")
    for prefix, kinds in sorted(files.items()):
        for kind, dimensions in _DIMENSIONS.items():
            if kind not in kinds:
                raise DatasetError(
                    f"{folder}: has no {prefix}-{kind}-idx{dimensions}-ubyte, compressed or not, beside "
                    f"{next(iter(kinds.values())).name}; put it there"
                )
    return files


def _files(folder: Path) -> Files:
    """Return the files with the names of MNIST's parts; an uncompressed one replaces a compressed one."""
    found: Files = {}
    try:
        names = sorted(os.listdir(folder), reverse=True)
    except OSError:
        return {}
    for name in names:
        match = _NAME.fullmatch(name)
        if match and _DIMENSIONS[match["kind"]] == match["dimensions"] and (folder / name).is_file():
            found.setdefault(match["prefix"], {})[match["kind"]] = folder / name
    return found


def _size_text(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
