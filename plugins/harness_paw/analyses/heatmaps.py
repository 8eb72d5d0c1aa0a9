"""Heatmaps of attributes are laid over faces, with the crops' squares (Ding et al., figure 4)."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from harness.analysis import Analysis, drawing
from harness.analysis.reading import choose
from harness.errors import HarnessError
from harness.results import Results
from harness_paw.analyses.study import Net, read_studies

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Bytes = npt.NDArray[np.uint8]
SHOWN = (
    "Eyeglasses", "Arched_Eyebrows", "Mouth_Slightly_Open", "Big_Nose", "Bangs", "Wavy_Hair", "Wearing_Hat",
    "Wearing_Necktie",
)  # fmt: skip
"""What is shown where the suite names no attributes: parts of the face from top to bottom, and hair."""
FEW = 8
OPACITY = 0.45
# Inches of the figure.
WIDE, GAP, SIDE, TOP, HEAD = 1.15, 0.05, 0.25, 0.75, 0.45


@dataclass(frozen=True, eq=False)
class Shown:
    """A Shown model has heatmaps of some images on its card."""

    net: Net
    pictures: list[Bytes]
    """(H, W, 3) each, maybe smaller than the image."""
    samples: Sequence[str]
    heatmaps: Bytes
    """(N, M, h, w): from each one's smallest to its largest value."""
    centres: npt.NDArray[np.float64]
    """(N, M, 2): row and column, in pixels of the image."""
    size: tuple[int, int]
    side: tuple[float, float]
    """The crop's height and width in pixels of the image."""


def shown_of(net: Net) -> Shown | None:
    """Return the heatmaps of a model; None where its card has none."""
    told = net.notes.get("heatmaps")
    if not isinstance(told, Mapping):
        return None
    values = np.frombuffer(base64.b64decode(told["values"]), np.uint8)
    height, width = told["size"]
    return Shown(
        net,
        [_picture(text) for text in told["pictures"]],
        list(told["samples"]),
        values.reshape([int(length) for length in told["shape"]]),
        np.asarray([[list(place) for place in rows] for rows in told["centres"]], np.float64),
        (int(height), int(width)),
        (float(told["side"][0]), float(told["side"][1])),
    )


def run(results: Results, *, attributes: Sequence[str] = (), images: int = 5) -> Analysis:
    """Show where the localisation network finds attributes in some validation images.

    Rows: model x attribute: mean and standard deviation of row and column of its crop's centre over up to 512
    validation images, as shares of height and width, and ``spread``, the root of the mean squared distance to
    the mean place, in shares of the image's diagonal: 0 if the crop is always at the same place.

    Args:
        attributes: shown in the figure; by default parts of the face from top to bottom.
        images: the most images that are shown.

    Raises:
        HarnessError: no card has heatmaps, or an attribute is unknown.
    """
    if images < 1:
        raise HarnessError(f"images = {images} shows nothing; name a number of at least 1")
    nets = [net for study in read_studies(results) for net in study.nets if net.dataset == study.dataset]
    found = [one for net in nets if (one := shown_of(net)) is not None]
    if not found:
        raise HarnessError(
            f"{results.path}: no card has heatmaps; put `paw` or `paw-part-only` into the suite"
        )
    choose(attributes, {name for one in found for name in one.net.outputs}, "attribute")
    table = pd.DataFrame([row for one in found for row in _rows(one)])
    return Analysis(table, _figure(_first_of_each(found), tuple(attributes) or SHOWN, images))


def _rows(one: Shown) -> list[dict[str, Any]]:
    height, width = one.size
    diagonal = float(np.hypot(height, width))
    rows = []
    for name, (row, column, down, across) in (one.net.notes.get("places") or {}).items():
        rows.append(
            {
                **one.net.identity,
                "attribute": name,
                "row": row,
                "column": column,
                "row_deviation": down,
                "column_deviation": across,
                "spread": float(np.hypot(down * height, across * width)) / diagonal,
                "crop_share": one.side[0] * one.side[1] / (height * width),
            }
        )
    return rows


def _first_of_each(found: Sequence[Shown]) -> list[Shown]:
    """Return one of those that have the same heatmaps: models with one localisation network share it."""
    kept: dict[bytes, Shown] = {}
    for one in found:
        kept.setdefault(one.heatmaps.tobytes() + str(one.net.dataset).encode(), one)
    return list(kept.values())


# --- figure -----------------------------------------------------------------------------------------------


def _figure(found: Sequence[Shown], attributes: Sequence[str], images: int) -> Figure:
    chosen = [_chosen(one, attributes) for one in found]
    blocks = [(one, names, min(images, len(one.pictures))) for one, names in zip(found, chosen, strict=True)]
    tall = [WIDE * one.size[0] / one.size[1] + GAP for one, _, _ in blocks]
    across = max(len(names) for _, names, _ in blocks) + 1
    height = HEAD + sum(TOP + rows * step for (_, _, rows), step in zip(blocks, tall, strict=True))
    figure = drawing.figure(2 * SIDE + across * (WIDE + GAP), height, layout="none")
    top = height - HEAD
    for (one, names, rows), step in zip(blocks, tall, strict=True):
        title = f"{drawing.dataset_text(one.net.dataset, one.net.stand_in_for)}: {one.net.name}"
        drawing.write(figure, SIDE, top - 0.05, title, fontsize=10, va="top")
        top -= TOP
        for line in range(rows):
            _line(figure, one, names, line, top - line * step, step - GAP, line == 0)
        top -= rows * step
    drawing.write(
        figure, SIDE, height - 0.1, "Heatmaps and crops of validation images", fontsize=11, va="top"
    )
    return figure


def _chosen(one: Shown, attributes: Sequence[str]) -> list[str]:
    known = [name for name in attributes if name in one.net.outputs]
    return known or list(one.net.outputs[:FEW])


def _line(
    figure: Figure, one: Shown, names: Sequence[str], line: int, top: float, tall: float, first: bool
) -> None:
    wide, high = figure.get_size_inches()
    for place, name in enumerate(("", *names)):
        left = SIDE + place * (WIDE + GAP)
        axes: Any = figure.add_axes((left / wide, (top - tall) / high, WIDE / wide, tall / high))
        axes.set_axis_off()
        picture = one.pictures[line]
        if name:
            column = one.net.outputs.index(name)
            picture = blended(picture, one.heatmaps[line, column])
            _square(axes, one, one.centres[line, column], picture.shape)
        axes.imshow(picture, interpolation="nearest")
        if first and name:
            text = drawing.spaced(name).replace(" ", "\n", 1)
            drawing.write(figure, left + WIDE / 2, top + 0.03, text, ha="center", va="bottom", fontsize=7.5)


def _square(axes: Any, one: Shown, centre: npt.NDArray[np.float64], shape: tuple[int, ...]) -> None:
    from matplotlib.patches import Rectangle

    scale = shape[0] / one.size[0], shape[1] / one.size[1]
    height, width = (side * ratio for side, ratio in zip(one.side, scale, strict=True))
    corner = (centre[1] * scale[1] - width / 2 - 0.5, centre[0] * scale[0] - height / 2 - 0.5)
    axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor="white", linewidth=1.1))


def blended(picture: Bytes, heatmap: Bytes) -> Bytes:
    """Return a picture (H, W, 3) under the colours of a heatmap (h, w), which is interpolated bilinearly."""
    import cv2
    from matplotlib import colormaps

    levels = cv2.resize(heatmap, (picture.shape[1], picture.shape[0]), interpolation=cv2.INTER_LINEAR)
    colours = 255 * colormaps["turbo"](levels)[..., :3]
    mixed: Bytes = np.rint((1 - OPACITY) * picture + OPACITY * colours).astype(np.uint8)
    return mixed


def _picture(text: str) -> Bytes:
    """Return the picture (H, W, 3) of a JPEG in base64."""
    import cv2

    octets = np.frombuffer(base64.b64decode(text), np.uint8)
    found = cv2.imdecode(octets, cv2.IMREAD_COLOR)
    if found is None:
        raise HarnessError("a card's picture is no JPEG; train the model again")
    return np.ascontiguousarray(found[:, :, ::-1]).astype(np.uint8)
