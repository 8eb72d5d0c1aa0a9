"""Dataset: sample ids, 8-bit images, and what is known of each image; NumPy only, no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.errors import DatasetError, nearest

PARTITIONS = ("train", "validation", "test")

UInt8Images = npt.NDArray[np.uint8]  # (B, C, H, W), RGB where C is 3


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images with stable string ids on one pixel grid, read on demand.

    What a data set does not have is None. All arrays have N rows, in the order of ``ids``.
    """

    name: str
    ids: Sequence[str]
    """N unique, stable sample ids (CelebA: the file name)."""
    shape: tuple[int, int, int]
    """Channels, height, width of every image."""
    read: Callable[[npt.NDArray[np.intp]], UInt8Images]
    """Row numbers (B,) to uint8 images (B, C, H, W); may be called from several threads."""
    fingerprint: str
    """Digest of all that decides what ``read`` and the annotations return, the root's path excepted."""
    attribute_names: tuple[str, ...] = ()
    attributes: npt.NDArray[np.bool_] | None = None
    """(N, M): attribute present."""
    labels: npt.NDArray[np.int64] | None = None
    """(N,): class of each image, for data sets with classes."""
    class_names: tuple[str, ...] = ()
    identities: npt.NDArray[np.int64] | None = None
    """(N,): person of each image."""
    partitions: npt.NDArray[np.str_] | None = None
    """(N,): one of "train", "validation", "test"."""
    landmarks: npt.NDArray[np.float32] | None = None
    """(N, 5, 2): x, y in pixels of left eye, right eye, nose, left and right mouth corner, left as seen."""
    landmark_names: tuple[str, ...] = ()
    annotations: Callable[[npt.NDArray[np.intp]], Mapping[str, npt.NDArray[np.float64]]] | None = None
    """Row numbers (B,) to numbers (B,) by name that are known of these images, for analyses to read."""

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
        """Row number by sample id."""
        return {sample_id: row for row, sample_id in enumerate(self.ids)}

    def rows(self, partition: str | None = None) -> npt.NDArray[np.intp]:
        """Row numbers of a partition ("train", "validation", "test"), or of all images for None or "all".

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
        """uint8 images (B, C, H, W) of the given rows, checked against ``shape``."""
        images = self.read(rows)
        if images.dtype != np.uint8 or images.shape != (len(rows), *self.shape):
            raise DatasetError(
                f"{self.name}: read returned {images.dtype} {images.shape}, "
                f"expected uint8 {(len(rows), *self.shape)}"
            )
        return images
