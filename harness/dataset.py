"""A Dataset holds sample ids, 8-bit images and the annotations of each image; it needs NumPy, not torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.errors import DatasetError, nearest

PARTITIONS = ("train", "validation", "test")

UInt8Images = npt.NDArray[np.uint8]  # (B, C, H, W), RGB where C is 3


@dataclass(frozen=True, eq=False)
class Dataset:
    """A Dataset holds images with stable string ids on one pixel grid, and reads them on demand.

    Annotations that a data set does not have are None. All arrays have N rows, in the order of ``ids``.
    """

    name: str
    ids: Sequence[str]
    """N unique, stable sample ids (for CelebA, the file names)."""
    shape: tuple[int, int, int]
    """The channels, height and width of every image."""
    read: Callable[[npt.NDArray[np.intp]], UInt8Images]
    """A function of row numbers (B,) that returns uint8 images (B, C, H, W); threads may call it at once."""
    fingerprint: str
    """A digest of everything that decides what ``read`` and the annotations return, but not of the path."""
    attribute_names: tuple[str, ...] = ()
    attributes: npt.NDArray[np.bool_] | None = None
    """(N, M): whether each attribute is present."""
    labels: npt.NDArray[np.int64] | None = None
    """(N,): the class of each image, for data sets with classes."""
    class_names: tuple[str, ...] = ()
    identities: npt.NDArray[np.int64] | None = None
    """(N,): the person in each image."""
    identity_names: tuple[str, ...] = ()
    """The name of each person, where persons are numbered from 0 and have names."""
    numbered: Callable[[str, int], str | None] | None = None
    """A function of a person's name and of a number, as files of pairs write images ("Name 4"), that returns
    the sample id, or None where there is no such image."""
    partitions: npt.NDArray[np.str_] | None = None
    """(N,): one of "train", "validation", "test"."""
    landmarks: npt.NDArray[np.float32] | None = None
    """(N, 5, 2): x and y, in pixels, of the eyes, the nose and the mouth's corners, those on the left of
    the image first."""
    landmark_names: tuple[str, ...] = ()
    annotations: Callable[[npt.NDArray[np.intp]], Mapping[str, npt.NDArray[np.float64]]] | None = None
    """A function of row numbers (B,) that returns numbers (B,) by name, which are kept for analyses."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """What else is to be known of it, as JSON has it, such as how many images were treated in another way;
    it stands in the card of weights that are trained on it, as "dataset_notes"."""

    def __post_init__(self) -> None:
        count = len(self.ids)
        columns: dict[str, npt.NDArray[Any] | None] = {
            "attributes": self.attributes,
            "labels": self.labels,
            "identities": self.identities,
            "partitions": self.partitions,
            "landmarks": self.landmarks,
        }
        for column, values in columns.items():
            if values is not None and len(values) != count:
                raise DatasetError(f"{self.name}: {column} has {len(values)} rows for {count} images")
        if self.attributes is not None and self.attributes.shape != (count, len(self.attribute_names)):
            raise DatasetError(
                f"{self.name}: attributes have shape {self.attributes.shape}, "
                f"expected ({count}, {len(self.attribute_names)})"
            )

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Return the row number of each sample id."""
        return {sample_id: row for row, sample_id in enumerate(self.ids)}

    def rows(self, partition: str | None = None) -> npt.NDArray[np.intp]:
        """Return the row numbers of a partition ("train", "validation", "test"), or all for None or "all".

        Raises:
            DatasetError: the partition is unknown, empty, or the data set has none.
        """
        if partition is None or partition == "all":
            return np.arange(len(self), dtype=np.intp)
        if partition not in PARTITIONS:
            raise DatasetError(
                f'{self.name}: partition "{partition}" is unknown; {nearest(partition, (*PARTITIONS, "all"))}'
            )
        if self.partitions is None:
            raise DatasetError(f'{self.name} has no partitions, so partition = "{partition}" selects nothing')
        rows = np.flatnonzero(self.partitions == partition)
        if not len(rows):
            raise DatasetError(f'{self.name}: partition "{partition}" is empty')
        return rows

    def images(self, rows: npt.NDArray[np.intp]) -> UInt8Images:
        """Return the uint8 images (B, C, H, W) of the given rows, checked against ``shape``."""
        images = self.read(rows)
        if images.dtype != np.uint8 or images.shape != (len(rows), *self.shape):
            raise DatasetError(
                f"{self.name}: read returned {images.dtype} {images.shape}, "
                f"expected uint8 {(len(rows), *self.shape)}"
            )
        return images
