"""Quadruplets show images beside their reconstructions and swaps (Arvinte et al., figures 1 and 9)."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from harness.analysis import Analysis, drawing
from harness.results import Results
from harness_verification.analyses.training_notes import Trained, trained

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLES = {
    "quadruplets": "x and its reconstruction y, above t and u: the class of x, the content of t",
    "unseen": "unseen persons, their reconstructions, and these with the next person's class",
}
WIDE = 7.0
"""Inches of a picture."""


def run(results: Results) -> Analysis:
    """Show what the generator makes of random images; none of them is chosen by hand.

    Rows: data set x model x picture, with its size in pixels. "quadruplets" are of persons that the
    generator learned from, with their stored class codes; "unseen" of others, whose class is encoded.

    Raises:
        HarnessError: no verifier has learned with a generator.
    """
    found = trained(results, "pictures", 'give a verifier recipe = "proposed" in the suite')
    shown = [(one, name, _pixels(picture)) for one in found for name, picture in one.note.items()]
    rows = [
        {**one.columns, "picture": name, "height": image.shape[0], "width": image.shape[1]}
        for one, name, image in shown
    ]
    return Analysis(pd.DataFrame(rows), _figure(shown))


def _pixels(picture: str) -> npt.NDArray[np.uint8]:
    """Return a JPEG in base64 as (H, W, 3)."""
    import cv2

    octets = np.frombuffer(base64.b64decode(picture), np.uint8)
    picture_bgr = np.asarray(cv2.imdecode(octets, cv2.IMREAD_COLOR), np.uint8)
    return picture_bgr[:, :, ::-1]


def _figure(shown: list[tuple[Trained, str, npt.NDArray[np.uint8]]]) -> Figure:
    heights = [WIDE * image.shape[0] / image.shape[1] for _, _, image in shown]
    figure = drawing.figure(WIDE + 0.4, sum(heights) + 0.4 * len(shown) + 0.5)
    options: dict[str, Any] = {"height_ratios": heights}
    for axes, (one, name, image) in drawing.panels(figure, shown, across=1, **options):
        axes.imshow(image, interpolation="nearest")
        axes.set_axis_off()
        axes.set_title(f"{one.dataset}, {one.model}: {TITLES.get(name, name)}", fontsize=8, loc="left")
    drawing.title(figure, "What the generator makes of faces")
    return figure
