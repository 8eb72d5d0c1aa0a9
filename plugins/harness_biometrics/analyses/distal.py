"""Distal images are found from noise, without a bound; a model takes them for a person (figure 4)."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.analysis import Analysis, drawing
from harness.analysis.pictures import image_row
from harness.analysis.reading import typed
from harness.errors import HarnessError
from harness.results import Results
from harness_biometrics.analyses.kept import Kept, kept_of, nothing_kept
from harness_biometrics.analyses.study import read_study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KIND = "distal"
WIDE, GAP, NAME, TOP, BELOW = 0.95, 0.06, 1.5, 0.75, 0.55


def run(results: Results, *, persons: int = 8) -> Analysis:
    """Show targets above the images that were found from noise by approaching their embeddings.

    Rows: model x target, in the order of the records, one image each: ``start`` and ``distance_adv``, the
    distances before and after the attack, and whether it was accepted (``success``).

    Args:
        persons: at most so many targets per model.

    Raises:
        HarnessError: no distal attack was run, or no picture is kept.
    """
    tried = [
        one for verifier in read_study(results) for one in verifier.of("impersonate") if one.kind == KIND
    ]
    if not tried:
        raise HarnessError(f'{results.path}: no attack "{KIND}" was run; put it into the suite')
    blocks: list[tuple[str, list[Kept]]] = []
    rows: list[dict[str, Any]] = []
    for attacked in tried:
        firsts: dict[str, Kept] = {}
        for kept in kept_of(results, attacked):
            firsts.setdefault(str(kept.facts["target"]), kept)
        shown = list(islice(firsts.values(), persons))
        if shown:
            blocks.append((attacked.verifier.model, shown))
        for kept in shown:
            told = {name: kept.facts[name] for name in ("target", "reference", "distance_adv", "success")}
            rows.append(attacked.identity | told | {"start": kept.facts["distance_clean"]})
    if not rows:
        raise nothing_kept(results, "distal images")
    return Analysis(typed(rows), _figure(blocks))


def _figure(blocks: list[tuple[str, list[Kept]]]) -> Figure:
    """Draw a block per model: targets above, images found from noise below."""
    most = max(len(shown) for _, shown in blocks)
    first = blocks[0][1][0].adversarial
    tall = WIDE * first.shape[1] / first.shape[2]
    block = 2 * tall + GAP + BELOW
    figure = drawing.figure(NAME + most * (WIDE + GAP) + 0.2, TOP + block * len(blocks), layout=None)
    height = figure.get_size_inches()[1]
    drawing.write(
        figure, 0.1, height - 0.3, "Targets, and images from noise that a model takes for them", fontsize=11
    )
    for number, (model, shown) in enumerate(blocks):
        top = height - TOP - number * block
        grey = np.full_like(first, 235)
        image_row(
            figure, [grey if k.reference is None else k.reference for k in shown], NAME, top, WIDE, (), GAP
        )
        image_row(figure, [k.adversarial for k in shown], NAME, top - tall - GAP, WIDE, (), GAP)
        drawing.write(figure, 0.1, top - 0.15, model, fontsize=9, va="top", fontweight="bold")
        drawing.write(
            figure,
            0.1,
            top - 0.45,
            "target" + ("" if shown[0].reference is not None else "\n(not kept)"),
            fontsize=8,
            va="top",
        )
        drawing.write(
            figure, 0.1, top - tall - GAP - 0.15, "found from noise\n(distance below)", fontsize=8, va="top"
        )
        for place, kept in enumerate(shown):
            colour = "black" if kept.facts["success"] else "0.5"
            told = f"{kept.facts['distance_adv']:.3g}" + ("" if kept.facts["success"] else " (rejected)")
            x = NAME + place * (WIDE + GAP) + WIDE / 2
            drawing.write(
                figure, x, top - 2 * tall - GAP - 0.05, told, ha="center", va="top", fontsize=7, color=colour
            )
    return figure
