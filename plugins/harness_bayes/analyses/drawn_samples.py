"""Drawn samples show images that the mixtures draw, and those of their outliers (figures 2 right, 10)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge

from harness.analysis import Analysis, drawing
from harness.analysis.pictures import KEEP, Pixels, image_row, originals, pixels
from harness.analysis.reading import typed
from harness.errors import HarnessError
from harness.results import Results
from harness_bayes.analyses.names import data_text
from harness_bayes.analyses.study import Data, read_study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAWN = ("symmetric", "asymmetric")
CLASS, OUTLIER = "class", "outlier"

# Inches of the figure.
WIDE, GAP, HEADER, TOP, SIDE = 0.8, 0.05, 0.42, 0.45, 0.2


@dataclass(frozen=True, eq=False)
class Line:
    """A line shows images of one class of a data set, drawn by its components or by its outlier."""

    data: Data
    side: int | None
    """The class; None where it is not known."""
    outlier: bool
    images: Mapping[str, Pixels]
    """By sample id."""
    kept: int
    """How many such images the folder keeps."""


def run(results: Results, *, images: Annotated[int, Ge(1)] = 8) -> Analysis:
    """Show attacked images that mixtures drew, by class, and of asymmetric data sets those of the outliers.

    Rows: data set x class x image shown. ``outlier`` says whether the wide Gaussian of the class drew it,
    where the data set tells; its mean, which the paper shows, is a part of the mixture, and no folder of
    results holds that. ``kept`` is the number of such images.

    Args:
        images: the most that are shown of each class, and of its outlier.

    Raises:
        HarnessError: no drawn image was attacked and kept.
    """
    study = read_study(results)
    told = results.annotations()
    lines = []
    for data in study.datasets:
        if data.group in DRAWN:
            own = told[told["dataset"] == data.label]
            known = {
                str(name): dict(zip(part["sample_id"], part["value"], strict=True))
                for name, part in own.groupby("name")
            }
            lines += _lines(data, originals(results, data.label), known, images)
    if not lines:
        raise HarnessError(
            f'{results.path}: no image is kept that a mixture drew; put "mfa-symmetric" into the suite, '
            f"and {KEEP}"
        )
    return Analysis(typed(_rows(lines), ("sample_id",)), _figure(lines))


def _lines(
    data: Data, kept: Mapping[str, bytes], known: Mapping[str, Mapping[str, float]], images: int
) -> list[Line]:
    groups: dict[tuple[bool, int], list[str]] = {}
    for sample in kept:
        side = known.get(CLASS, {}).get(sample, -1)
        groups.setdefault((known.get(OUTLIER, {}).get(sample, 0) > 0, int(side)), []).append(sample)
    return [
        Line(
            data,
            side if side >= 0 else None,
            outlier,
            {sample: pixels(kept[sample]) for sample in samples[:images]},
            len(samples),
        )
        for (outlier, side), samples in sorted(groups.items())
    ]


def _rows(lines: Sequence[Line]) -> list[dict[str, Any]]:
    return [
        {
            "dataset": line.data.label,
            "stand_in_for": line.data.stand_in_for,
            "kind": line.data.group,
            "task": line.data.task,
            "class": line.side,
            "outlier": line.outlier,
            "sample_id": sample,
            "kept": line.kept,
            "reason": "the data set does not tell the class" if line.side is None else None,
        }
        for line in lines
        for sample in line.images
    ]


# --- figure -----------------------------------------------------------------------------------------------


def _figure(lines: Sequence[Line]) -> Figure:
    heights = [HEADER + _tall(line) for line in lines]
    width = max(2 * SIDE + max(len(line.images) for line in lines) * (WIDE + GAP), 6.0)
    height = TOP + sum(heights) + 0.1
    figure = drawing.figure(width, height, layout="none")
    drawing.write(figure, SIDE, height - 0.25, "Images that the mixtures drew", fontsize=11)
    top = height - TOP
    for line, tall in zip(lines, heights, strict=True):
        drawing.write(figure, SIDE, top - HEADER + 0.07, _text(line), va="bottom", fontsize=8.5)
        image_row(figure, list(line.images.values()), SIDE, top - HEADER, WIDE, gap=GAP)
        top -= tall
    return figure


def _tall(line: Line) -> float:
    _, height, width = next(iter(line.images.values())).shape
    return WIDE * float(height / width)


def _text(line: Line) -> str:
    side = "" if line.side is None else f", class {line.side}"
    return f"{data_text(line.data)}{side}{', from its outlier' if line.outlier else ''} ({line.kept} kept)"
