"""Located faces are images of which it is known where the face is, and of drawn ones each local attribute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.dataset import Dataset
from harness.errors import DatasetError, nearest
from harness_faces.affine import bounds, enlarged

Rows = npt.NDArray[np.intp]
Outlines = Callable[[str, Rows], npt.NDArray[np.float64]]
"""A function of an attribute's name and of row numbers (B,) that returns the corners (B, P, 4, 2) of the P
rectangles, turned with the face, in which the attribute is seen, or would be: x and y in pixels."""


@dataclass(frozen=True, eq=False, kw_only=True)
class LocatedFaces(Dataset):
    """LocatedFaces knows where the face is in each image, and may know where each attribute is.

    Places are in pixels of the images, with pixel centres at whole numbers, as landmarks are. A rectangle is
    left, top, right and bottom.
    """

    boxes: npt.NDArray[np.float32]
    """(N, 4): the smallest rectangle around the landmarks, enlarged; it may exceed the image."""
    outlines: Outlines | None = None
    """The places of attributes, where they are known."""
    place_names: tuple[str, ...] = ()
    """The attributes that have a place, in the order of ``attribute_names``."""

    def attribute_place(self, name: str, rows: Rows, *, absent: bool = False) -> npt.NDArray[np.float64]:
        """Return the rectangle (B, 4) of each image in which an attribute is seen, cut to the image.

        It bounds all parts of the attribute, such as both eyes, and is NaN where the attribute is absent, or
        lies outside of the image.

        Args:
            name: the attribute.
            rows: row numbers (B,).
            absent: whether to return also where absent attributes would be.

        Raises:
            DatasetError: the attribute has no known place.
        """
        rows = np.asarray(rows, np.intp)
        corners = self.attribute_corners(name, rows)
        points = corners.reshape(len(rows), corners.shape[1] * 4, 2)
        edge = np.array([self.shape[2], self.shape[1]]) - 0.5
        found = np.concatenate(
            [np.maximum(points.min(axis=1), -0.5), np.minimum(points.max(axis=1), edge)], axis=1
        )
        found[(found[:, 0] >= found[:, 2]) | (found[:, 1] >= found[:, 3])] = np.nan
        if not absent and self.attributes is not None:
            found[~self.attributes[rows, self.attribute_names.index(name)]] = np.nan
        return found

    def attribute_corners(self, name: str, rows: Rows) -> npt.NDArray[np.float64]:
        """Return the corners (B, P, 4, 2) of the P rectangles of each image in which an attribute is seen.

        They are turned with the face, and may leave the image.

        Raises:
            DatasetError: the attribute has no known place.
        """
        if self.outlines is None:
            raise DatasetError(f"{self.name}: the places of attributes are known of drawn faces only")
        if name not in self.place_names:
            raise DatasetError(
                f'{self.name}: attribute "{name}" has no place; {nearest(name, self.place_names)}'
            )
        return self.outlines(name, np.asarray(rows, np.intp))


def boxes_of(landmarks: npt.NDArray[np.float32] | None, count: int, expand: float) -> npt.NDArray[np.float32]:
    """Return the boxes (N, 4) around landmarks (N, 5, 2), enlarged; NaN where there are none yet."""
    if landmarks is None:
        return np.full((count, 4), np.nan, np.float32)
    return enlarged(bounds(landmarks), expand).astype(np.float32)
