"""Adversarial panels show what fools each model, on the same images (figures 1, 4, 13 to 16)."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness.analysis import Analysis, drawing
from harness.analysis.pictures import (
    KEEP,
    Pixels,
    adversarials,
    distance,
    image_row,
    magnified,
    originals,
    pixels,
)
from harness.analysis.reading import choose, typed
from harness.errors import HarnessError
from harness.results import Results
from harness_bayes.analyses.l2_by_model import shown_models
from harness_bayes.analyses.names import attack_text, data_text, model_text
from harness_bayes.analyses.study import CLOSEST, OPTIMAL, Attacked, Data, Study, read_study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Inches of the figure.
WIDE, GAP, MODEL_GAP, BLOCK_GAP = 0.95, 0.04, 0.16, 0.45
CAPTION, HEADER, TOP, SIDE = 0.2, 0.72, 0.5, 0.25


@dataclass(frozen=True, eq=False)
class Line:
    """A line shows one image, and what fools each model on it."""

    sample: str
    original: Pixels  # (C, H, W)
    made: Mapping[str, Pixels]
    """By the model's label; a model that withstood, or whose picture is not kept, is not there."""


@dataclass(frozen=True, eq=False)
class Block:
    """A block shows the images of one data set."""

    data: Data
    items: tuple[Attacked, ...]
    """One per model, in the paper's order."""
    lines: tuple[Line, ...]


def run(
    results: Results,
    *,
    rows: int = 2,
    magnification: float = 5.0,
    attack: str = CLOSEST,
    datasets: Sequence[str] = (),
    every_model: bool = False,
) -> Analysis:
    """Show what fools each model on the same images, and perturbations magnified around grey.

    Shown are typical images that as many models as possible were fooled on, of both classes by turns where
    the data set tells them: those whose L2 is nearest to the median of the Bayes-optimal model, or else of
    the first model.

    Rows: data set x image x model shown: L2, the largest change in 8-bit levels, and the typical L2 of
    the model (``mean_l2`` over ``n`` adversarials).

    Args:
        rows: images per data set.
        magnification: of perturbations, the same for all, so that they can be compared.
        attack: label or name; "closest" takes of each case the nearest adversarial of all attacks.
        datasets: labels; all by default.
        every_model: show CNN variants and adversarially trained CNNs too.

    Raises:
        HarnessError: no such attack or data set, or no picture was kept.
    """
    if rows < 1:
        raise HarnessError(f"rows = {rows} shows nothing; name a number of at least 1")
    study = read_study(results)
    items = study.of(attack)
    choose(datasets, [data.label for data in study.datasets], "data set")
    labels = {model.label for model in shown_models(study, every_model)}
    blocks = []
    for data in study.datasets:
        if not datasets or data.label in datasets:
            own = [item for item in study.models_on(items, data) if item.model.label in labels]
            block = _block(study, data, own, rows)
            if block is not None:
                blocks.append(block)
    if not blocks:
        raise HarnessError(f'{results.path}: no adversarial of "{attack}" is kept; {KEEP}')
    return Analysis(typed(_rows(blocks)), _figure(blocks, magnification))


def _block(study: Study, data: Data, items: Sequence[Attacked], rows: int) -> Block | None:
    kept = originals(study.results, data.label)
    fooled = [item for item in items if item.broken["sample_id"].isin(list(kept)).any()]
    if not fooled:
        return None
    classes = _classes(study, data)
    samples = typical(fooled, classes, list(kept), rows)
    made: dict[str, dict[str, Pixels]] = {}
    for item in fooled:
        cases = item.broken[item.broken["sample_id"].isin(samples)]
        for case, adversarial in adversarials(study.results, cases):
            made.setdefault(case["sample_id"], {})[item.model.label] = adversarial
    lines = tuple(Line(sample, pixels(kept[sample]), made[sample]) for sample in samples if sample in made)
    held = {label for line in lines for label in line.made}
    return Block(data, tuple(item for item in fooled if item.model.label in held), lines) if lines else None


def typical(
    items: Sequence[Attacked], classes: Mapping[str, int], kept: Sequence[str], rows: int
) -> list[str]:
    """Choose images that fooled most models, nearest to the first's median L2, of both classes by turns.

    Deterministic: ties are broken by sample id.
    """
    first = next((item for item in items if item.model.kind == OPTIMAL), items[0])
    l2 = first.broken.set_index("sample_id")["l2"]
    median = float(l2.median())
    fooled = pd.concat([item.broken["sample_id"] for item in items]).value_counts()
    ranked = sorted(
        (sample for sample in kept if sample in fooled.index),
        key=lambda sample: (-int(fooled[sample]), abs(float(l2.get(sample, np.inf)) - median), sample),
    )
    places: dict[int, int] = {}
    turns = []
    for at, sample in enumerate(ranked):
        # The first of each class, then the second of each, …
        place = places.setdefault(classes.get(sample, 0), 0)
        places[classes.get(sample, 0)] += 1
        turns.append((-int(fooled[sample]), place, at, sample))
    return [sample for _, _, _, sample in sorted(turns)[:rows]]


def _classes(study: Study, data: Data) -> dict[str, int]:
    """Return the class of each image, where the data set tells it."""
    told = study.results.annotations()
    told = told[(told["dataset"] == data.label) & (told["name"] == "class")]
    return dict(zip(told["sample_id"], told["value"].astype(int), strict=True))


def _rows(blocks: Sequence[Block]) -> list[dict[str, Any]]:
    rows = []
    for block in blocks:
        for (number, line), item in product(enumerate(block.lines), block.items):
            made, l2 = line.made.get(item.model.label), item.l2
            shown: dict[str, Any] = dict.fromkeys(("l2", "largest_change"))
            if made is not None:
                shown["l2"] = distance(line.original, made)
                shown["largest_change"] = int(np.abs(made.astype(np.int16) - line.original).max())
            reason = item.reason if made is not None else "this image has no adversarial, or none is kept"
            typical = {"mean_l2": l2.value, "n": l2.n, "coverage": item.coverage, "reason": reason}
            rows.append(item.identity | {"line": number, "sample_id": line.sample} | shown | typical)
    return rows


# --- figure -----------------------------------------------------------------------------------------------


def _figure(blocks: Sequence[Block], magnification: float) -> Figure:
    room = max(_wide(block) for block in blocks)
    lines: list[list[tuple[float, Block]]] = []
    for block in blocks:  # beside the one before, where there is room
        left = sum(_wide(held) + BLOCK_GAP for _, held in lines[-1]) if lines else room
        if left + _wide(block) > room:
            lines.append([])
            left = 0.0
        lines[-1].append((left, block))
    heights = [HEADER + max(len(block.lines) * _tall(block) for _, block in line) for line in lines]
    width, height = max(room + 2 * SIDE, 6.0), TOP + sum(heights) + 0.1
    figure = drawing.figure(width, height, layout="none")
    title = f"Adversarials and their perturbations × {magnification:g} around grey"
    middle = {"ha": "center", "va": "center"}
    drawing.write(figure, width / 2, height - 0.2, title, fontsize=11, **middle)
    drawing.write(figure, width / 2, height - 0.4, attack_text(blocks[0].items[0]), fontsize=8.5, **middle)
    top = height - TOP
    for line, tall in zip(lines, heights, strict=True):
        for left, block in line:
            _draw_block(figure, block, SIDE + left, top, magnification)
        top -= tall
    return figure


def _wide(block: Block) -> float:
    return WIDE + len(block.items) * (MODEL_GAP + 2 * WIDE + GAP)


def _tall(block: Block) -> float:
    _, height, width = block.lines[0].original.shape
    return WIDE * float(height / width) + CAPTION


def _draw_block(figure: Figure, block: Block, side: float, top: float, magnification: float) -> None:
    # At 9 bold points, twelve characters take an inch.
    name = textwrap.fill(data_text(block.data), int(12 * _wide(block)), break_on_hyphens=False)
    drawing.write(figure, side, top - 0.08, name, va="top", fontsize=9, fontweight="bold")
    lefts = [side + WIDE + MODEL_GAP + at * (MODEL_GAP + 2 * WIDE + GAP) for at in range(len(block.items))]
    heads = [(side + WIDE / 2, "original")]
    heads += [
        (at + WIDE + GAP / 2, model_text(item.model)) for at, item in zip(lefts, block.items, strict=True)
    ]
    for at, text in heads:
        drawing.write(figure, at, top - HEADER + 0.05, text, ha="center", va="bottom", fontsize=8.5)
    tall = _tall(block)
    for number, line in enumerate(block.lines):
        above = top - HEADER - number * tall
        image_row(figure, [line.original], side, above, WIDE)
        for left, item in zip(lefts, block.items, strict=True):
            made = line.made.get(item.model.label)
            middle = left + WIDE + GAP / 2
            if made is None:
                drawing.write(figure, middle, above - (tall - CAPTION) / 2, "not fooled,\nor not kept",
                              ha="center", va="center", fontsize=7.5, color="0.4")  # fmt: skip
                continue
            shown = magnified(line.original, made, magnification)
            image_row(figure, [made, shown], left, above, WIDE, gap=GAP)
            told = f"L2 {distance(line.original, made):.2f}"
            below = above - tall + CAPTION - 0.03
            drawing.write(figure, middle, below, told, ha="center", va="top", fontsize=8)
