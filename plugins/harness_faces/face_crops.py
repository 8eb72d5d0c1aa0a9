"""The box of a face, with a margin around it, is cut out of a picture and resized to one size for all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from harness.files import say
from harness.training import StateDict
from harness_faces.affine import Affines, Rectangles, cut_and_resized, enlarged, overlaps, whole_pixels
from harness_faces.face_detection import KINDS
from harness_faces.located_faces import Rows


@dataclass(frozen=True, eq=False)
class FaceCrops:
    """FaceCrops are the parts of N pictures that become images."""

    parts: npt.NDArray[np.int64]
    """(N, 4): the first column and row of each, and those after the last ones."""
    kinds: npt.NDArray[np.int64]
    """(N,): how each box came about, by its number in ``KINDS``."""
    clipped: npt.NDArray[np.bool_]
    """(N,): whether it left its picture, and was cut to it."""
    overlap: npt.NDArray[np.float64]
    """(N,): the area that box and landmarks' box share, by that of both."""

    def maps(self, size: tuple[int, int]) -> Affines:
        """Return the maps (N, 2, 3) from pixels of the pictures to those of the resized parts."""
        return cut_and_resized(self.parts, size)

    def annotations(self, rows: Rows) -> Mapping[str, npt.NDArray[np.float64]]:
        """Return how the faces of some images were found, as numbers (B,)."""
        return {
            "face_kind": self.kinds[rows].astype(np.float64),
            "face_clipped": self.clipped[rows].astype(np.float64),
            "face_overlap": self.overlap[rows],
        }

    def notes(self) -> dict[str, Any]:
        """Return how many images have each kind of box, and how many boxes were cut to their pictures."""
        counts = {kind: int((self.kinds == number).sum()) for number, kind in enumerate(KINDS)}
        return {"faces": counts, "boxes_cut_to_the_image": int(self.clipped.sum())}


def crops_of(
    found: StateDict, known: Rectangles, margin: float, fail: Callable[[int, str], NoReturn]
) -> FaceCrops:
    """Return the parts that become images.

    Args:
        found: "boxes" (N, 4), "kinds" (N,), and "sizes" (N, 2), the heights and widths of the pictures.
        known: (N, 4) the landmarks' boxes.
        margin: what is added on each side, as a share of the box's width or height.
        fail: raises the error of a row.

    Raises:
        DatasetError: a box has no pixel inside its picture.
    """
    boxes, sizes = (found[name].numpy() for name in ("boxes", "sizes"))
    wide = enlarged(boxes, 1.0 + 2.0 * margin)
    parts = whole_pixels(wide, sizes)
    for row in np.flatnonzero((parts[:, 2:] <= parts[:, :2]).any(axis=1)):
        left, top, right, bottom = (round(float(edge)) for edge in wide[row])
        fail(
            int(row),
            f"has its face at columns {left} to {right} and rows {top} to {bottom}, outside of its "
            f"{sizes[row, 1]} x {sizes[row, 0]} pixels; correct its landmarks, or remove the row",
        )
    limits = np.concatenate([np.full((len(wide), 2), -0.5), sizes[:, ::-1] - 0.5], axis=1)
    outside = np.asarray((wide < limits - 0.5)[:, :2].any(axis=1) | (wide > limits + 0.5)[:, 2:].any(axis=1))
    return FaceCrops(parts, found["kinds"].numpy(), outside, overlaps(boxes, known))


def tell(name: str, detector: str, crops: FaceCrops) -> None:
    """Say how many faces a detector did not simply find."""
    counts = crops.notes()["faces"]
    asked = len(crops.kinds) - counts["given"]
    if asked:
        said = {
            "several": "several, of which the one nearest to the landmarks was taken",
            "none": "none, so that the landmarks' box was taken",
            "elsewhere": "only elsewhere, so that the landmarks' box was taken",
            "no-box": "no box inside the image, so that the landmarks' box was taken",
        }
        odd = [f"in {counts[kind]} {words}" for kind, words in said.items() if counts[kind]]
        say(
            f'{name}: "{detector}" found one face in {counts["one"]} of {asked} images'
            + "".join(f"; {one}" for one in odd)
        )
