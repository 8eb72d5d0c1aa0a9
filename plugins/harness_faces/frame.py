"""Aligned faces lie in a frame of 218 x 178 pixels, of which a crop may become the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.errors import DatasetError

SOURCE_SIZE = (218, 178)
"""The height and width in pixels of every aligned image."""
ALIGNED_LANDMARKS = ((69.0, 111.5), (107.5, 111.5), (88.0, 136.0), (72.0, 152.0), (104.5, 152.0))
"""About where alignment puts eyes, nose and corners of the mouth: x and y in pixels of the frame."""
EXPAND = 2.0
"""How many times as wide and high as the landmarks' own the box of a face is (PaW, "Dataset")."""


@dataclass(frozen=True)
class Crop:
    """A Crop is a rectangle of the frame, in its pixels."""

    top: int = 0
    left: int = 0
    height: int = SOURCE_SIZE[0]
    width: int = SOURCE_SIZE[1]

    @property
    def size(self) -> tuple[int, int]:
        """Return height and width."""
        return self.height, self.width


WHOLE = Crop()


def checked_crop(place: str, crop: Sequence[int] | None) -> Crop:
    """Return the rectangle of a data set's parameter ``crop``; None means the whole frame.

    Raises:
        DatasetError: it is not a rectangle, is empty, or leaves the frame; the message begins with ``place``.
    """
    if crop is None:
        return WHOLE
    whole = isinstance(crop, list | tuple) and all(type(number) is int for number in crop)
    if not whole or len(crop) != 4:
        raise DatasetError(
            f"{place}: crop = {crop!r} is not top, left, height and width; give four, such as "
            "[50, 25, 128, 128]"
        )
    top, left, height, width = crop
    inside = top >= 0 and left >= 0 and top + height <= SOURCE_SIZE[0] and left + width <= SOURCE_SIZE[1]
    if height < 1 or width < 1 or not inside:
        raise DatasetError(
            f"{place}: crop = {list(crop)} must be a rectangle inside the frame, which is {SOURCE_SIZE[0]} "
            f"pixels high and {SOURCE_SIZE[1]} wide: it covers rows {top} to {top + height - 1} and "
            f"columns {left} to {left + width - 1}"
        )
    return Crop(top, left, height, width)
