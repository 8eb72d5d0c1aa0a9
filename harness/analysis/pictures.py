"""Pictures are the images that a results folder keeps: read as pixels, and shown in figures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from harness.analysis.drawing import write
from harness.errors import HarnessError
from harness.results import Results
from harness.store.parquet import read_parquet, record_files
from harness.store.png import decode

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Pixels = npt.NDArray[np.uint8]
KEEP = "put keep = true into the suite and run it again"
GREY = 127.5
"""What a magnified perturbation shows where nothing was changed."""


def pixels(picture: bytes) -> Pixels:
    """Decode a PNG as (3, H, W), or as (1, H, W) where it has no colours."""
    # Byte 25 of a PNG is its colour type; 0 is grey.
    return decode(picture, 1 if picture[25] == 0 else 3)


def originals(results: Results, dataset: str) -> dict[str, bytes]:
    """Return the attacked images of a data set as PNG, by sample id; see ``pixels``.

    Raises:
        HarnessError: the folder keeps no pictures.
    """
    if not (results.path / "originals.parquet").is_file():
        raise HarnessError(f"{results.path}: no pictures are kept; {KEEP}")
    return results.originals(dataset)


def adversarials(results: Results, cases: pd.DataFrame) -> Iterator[tuple[dict[str, Any], Pixels]]:
    """Yield those of the cases of which a picture was kept, and its pixels; one shard is in memory at a time.

    Args:
        cases: columns cell and sample_id, and target where goals have one; the cell is the one whose
            adversarial is wanted.
    """
    keys = [name for name in ("sample_id", "target") if name in cases and cases[name].notna().all()]
    for cell, own in cases.groupby("cell", sort=False):
        wanted = {tuple(case[name] for name in keys): case for case in own.to_dict("records")}
        for file in record_files(results.path, str(cell)):
            table = read_parquet(file, set(keys)).to_pydict()
            held = list(zip(*(table[name] for name in keys), strict=True))
            if wanted.keys().isdisjoint(held):
                continue
            made = read_parquet(file, {"adversarial"})
            if "adversarial" not in made.column_names:
                continue
            for key, picture in zip(held, made.column("adversarial"), strict=True):
                if key in wanted and picture.is_valid:
                    yield {str(name): value for name, value in wanted[key].items()}, pixels(picture.as_py())


def magnified(original: Pixels, adversarial: Pixels, factor: float) -> Pixels:
    """Return the perturbation times ``factor`` around grey, (C, H, W)."""
    change = adversarial.astype(np.float64) - original
    return np.clip(np.rint(GREY + factor * change), 0, 255).astype(np.uint8)


def distance(original: Pixels, adversarial: Pixels) -> float:
    """Return the L2 norm of the perturbation, of values in [0, 1]."""
    change: Any = (adversarial.astype(np.float64) - original) / 255
    return math.sqrt((change**2).sum())


def image_row(
    figure: Figure,
    images: Sequence[Pixels],
    left: float,
    top: float,
    width: float,
    captions: Sequence[str] = (),
    gap: float = 0.05,
) -> float:
    """Show images side by side, from a place in inches on; return the height of the row.

    Args:
        width: inches of each image.
        captions: above the images.
        gap: inches between two images.
    """
    wide, tall = figure.get_size_inches()
    height = width * images[0].shape[1] / images[0].shape[2]
    for place, image in enumerate(images):
        x = left + place * (width + gap)
        axes = figure.add_axes((x / wide, (top - height) / tall, width / wide, height / tall))
        shown = np.repeat(image, 3, axis=0) if image.shape[0] == 1 else image
        axes.imshow(shown.transpose(1, 2, 0), interpolation="nearest")
        axes.set_axis_off()
        if captions:
            write(figure, x + width / 2, top + 0.03, captions[place], ha="center", va="bottom", fontsize=8)
    return float(height)
