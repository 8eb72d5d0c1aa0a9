"""A model of two classes learns from images that are selected, and checked, here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.dataset import Dataset, UInt8Images
from harness.errors import ModelError
from harness.training import Task
from harness_bayes.drawn_images import labels_of

LARGEST_COPY = 2**30
"""The largest number of bytes of images that are kept in memory; more images are read when needed."""
Batch = tuple[UInt8Images, npt.NDArray[np.int64]]
"""Images (B, C, H, W) and labels (B,)."""
CHUNK = 512
"""The number of images that are read at once."""


def check_task(task: Task) -> None:
    """Check that a task does not have another number of classes than two.

    Raises:
        ModelError: the task has another number of classes.
    """
    if task.class_names and len(task.class_names) != 2:
        raise ModelError(
            f"a model of two classes cannot distinguish {len(task.class_names)}; "
            "use a data set of two of them, such as two-classes with a pair"
        )


@dataclass(frozen=True, eq=False)
class TwoClassImages:
    """TwoClassImages are N images of two classes, in the order of their data set."""

    dataset: Dataset
    rows: npt.NDArray[np.intp]  # (N,)
    labels: npt.NDArray[np.int64]  # (N,) 0 or 1
    copy: UInt8Images | None
    """(N, C, H, W), if they are not too many."""

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, index: npt.NDArray[np.intp], epoch: int) -> Batch:
        """Return images (B, C, H, W) and labels (B,): the same in every epoch."""
        return self.read(index), self.labels[index]

    def read(self, index: npt.NDArray[np.intp]) -> UInt8Images:
        """Return uint8 (B, C, H, W) the images with the numbers ``index`` (B,) among these."""
        return self.dataset.images(self.rows[index]) if self.copy is None else self.copy[index]

    def all(self) -> UInt8Images:
        """Return all images, uint8 (N, C, H, W)."""
        return _read(self.dataset, self.rows) if self.copy is None else self.copy


@dataclass(frozen=True, eq=False)
class FreshImages:
    """FreshImages are N images for each epoch, drawn when they are read; no two epochs share one."""

    draw: Callable[[npt.NDArray[np.intp]], UInt8Images]
    """That of the data set."""
    count: int

    def __len__(self) -> int:
        return self.count

    def batch(self, index: npt.NDArray[np.intp], epoch: int) -> Batch:
        """Return images (B, C, H, W) of an epoch, counted from 1, by their numbers (B,); and labels (B,)."""
        numbers = index + (epoch - 1) * self.count
        return self.draw(numbers), labels_of(numbers)


def training_images(dataset: Dataset, limit: int | None, fresh: bool) -> TwoClassImages | FreshImages:
    """Return the images to learn from: those of the partition "train", or as many new ones for each epoch.

    Args:
        limit: the largest number of images of an epoch; if they are drawn, there may be more than the
            partition has. None: as many as it has.
        fresh: draw new images for each epoch, where the data set can.

    Raises:
        DatasetError: there is no training set.
        ModelError: as of ``two_class_images``.
    """
    draw = getattr(dataset, "draw", None)
    if not fresh or draw is None:
        return two_class_images(dataset, "train", limit)
    return FreshImages(draw, limit or len(dataset.rows("train")))


def two_class_images(dataset: Dataset, partition: str, limit: int | None = None) -> TwoClassImages:
    """Return the images of a partition, or the first of each class, with the partition's balance.

    Args:
        limit: the largest number of images of both classes together; None: all.

    Raises:
        DatasetError: there is no such partition.
        ModelError: its images are not of two classes, or the limit leaves a class without images.
    """
    rows = dataset.rows(partition)
    if dataset.labels is None:
        raise ModelError(f"{dataset.name} has no classes to learn; give a data set with labels 0 and 1")
    labels = dataset.labels[rows]
    found = np.unique(labels).tolist()
    if found != [0, 1]:
        raise ModelError(
            f"the {partition} partition of {dataset.name} has images of the classes {found[:5]}, but a model "
            "of two classes needs images of both 0 and 1"
        )
    if limit is not None and limit < len(rows):
        kept = first_of_each(labels, limit)
        if len(np.unique(labels[kept])) < 2:
            raise ModelError(f"images = {limit} leaves a class of {dataset.name} without images; use more")
        rows, labels = rows[kept], labels[kept]
    small = len(rows) * int(np.prod(dataset.shape)) <= LARGEST_COPY
    return TwoClassImages(dataset, rows, labels, _read(dataset, rows) if small else None)


def first_of_each(labels: npt.NDArray[np.int64], limit: int) -> npt.NDArray[np.intp]:
    """Return the numbers (limit,) of the first images of each class, in the proportions of labels (N,)."""
    ones = round(limit * int(labels.sum()) / len(labels))
    kept = [np.flatnonzero(labels == label)[:count] for label, count in ((0, limit - ones), (1, ones))]
    return np.sort(np.concatenate(kept))


def _read(dataset: Dataset, rows: npt.NDArray[np.intp]) -> UInt8Images:
    images = np.empty((len(rows), *dataset.shape), np.uint8)
    for start in range(0, len(rows), CHUNK):
        images[start : start + CHUNK] = dataset.images(rows[start : start + CHUNK])
    return images
