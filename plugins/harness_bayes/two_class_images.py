"""Training images of two classes: which of a data set a model learns from, and what it must have for that."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.dataset import Dataset, UInt8Images
from harness.errors import ModelError
from harness.training import Task

LARGEST_COPY = 2**30
"""Bytes of images that are kept in memory; more are read as they are needed."""
CHUNK = 512
"""Images that are read at once."""


def check_task(task: Task) -> None:
    """Refuse a task that names another number of classes than two.

    Raises:
        ModelError: it does.
    """
    if task.class_names and len(task.class_names) != 2:
        raise ModelError(
            f"a model of two classes cannot tell {len(task.class_names)} apart; "
            "make a data set of two of them, such as two-classes with a pair"
        )


@dataclass(frozen=True, eq=False)
class TwoClassImages:
    """N images of two classes, in the order of their data set."""

    dataset: Dataset
    rows: npt.NDArray[np.intp]  # (N,)
    labels: npt.NDArray[np.int64]  # (N,) 0 or 1
    copy: UInt8Images | None
    """(N, C, H, W), where they are not too many."""

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, index: npt.NDArray[np.intp]) -> UInt8Images:
        """uint8 (B, C, H, W) of the images numbered ``index`` (B,), counted among these."""
        return self.dataset.images(self.rows[index]) if self.copy is None else self.copy[index]

    def all(self) -> UInt8Images:
        """uint8 (N, C, H, W)."""
        return _read(self.dataset, self.rows) if self.copy is None else self.copy


def two_class_images(dataset: Dataset, partition: str, limit: int | None = None) -> TwoClassImages:
    """The images of a partition, or the first of each class, as balanced as the partition is.

    Args:
        limit: how many, of both classes together, at most; None: all.

    Raises:
        DatasetError: there is no such partition.
        ModelError: its images are not of two classes, or the limit leaves one without any.
    """
    rows = dataset.rows(partition)
    if dataset.labels is None:
        raise ModelError(f"{dataset.name} has no classes to learn; give a data set with labels 0 and 1")
    labels = dataset.labels[rows]
    found = np.unique(labels).tolist()
    if found != [0, 1]:
        raise ModelError(
            f"the {partition} partition of {dataset.name} has images of the classes {found[:5]}, and a "
            "model of two classes needs some of 0 and some of 1"
        )
    if limit is not None and limit < len(rows):
        kept = first_of_each(labels, limit)
        if len(np.unique(labels[kept])) < 2:
            raise ModelError(f"images = {limit} leaves a class of {dataset.name} without any; ask for more")
        rows, labels = rows[kept], labels[kept]
    small = len(rows) * int(np.prod(dataset.shape)) <= LARGEST_COPY
    return TwoClassImages(dataset, rows, labels, _read(dataset, rows) if small else None)


def first_of_each(labels: npt.NDArray[np.int64], limit: int) -> npt.NDArray[np.intp]:
    """Numbers (limit,) of the first images of each class, shared out as the labels (N,) of 0 and 1 are."""
    ones = round(limit * int(labels.sum()) / len(labels))
    kept = [np.flatnonzero(labels == label)[:count] for label, count in ((0, limit - ones), (1, ones))]
    return np.sort(np.concatenate(kept))


def _read(dataset: Dataset, rows: npt.NDArray[np.intp]) -> UInt8Images:
    images = np.empty((len(rows), *dataset.shape), np.uint8)
    for start in range(0, len(rows), CHUNK):
        images[start : start + CHUNK] = dataset.images(rows[start : start + CHUNK])
    return images
