"""A contact sheet shows many images of a data set as one picture."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from harness.dataset import Dataset
from harness.errors import DatasetError


def contact_sheet(
    dataset: Dataset, rows: npt.NDArray[np.intp], columns: int, gap: int = 2
) -> npt.NDArray[np.uint8]:
    """Return the images of ``rows``, from left to right and down, as one uint8 RGB picture (H, W, 3).

    Args:
        dataset: the data set; images with one channel are shown in grey.
        rows: the row numbers (B,).
        columns: the number of images side by side.
        gap: the number of white pixels between images.
    """
    if columns < 1 or not len(rows):
        raise DatasetError(f"a contact sheet needs images and columns, not {len(rows)} and {columns}")
    images = dataset.images(rows).transpose(0, 2, 3, 1)  # (B, h, w, C)
    count, height, width, _ = images.shape
    lines = -(-count // columns)
    sheet = np.full((lines * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for place, image in enumerate(images):
        top, left = place // columns * (height + gap), place % columns * (width + gap)
        sheet[top : top + height, left : left + width] = image
    return sheet
