"""Example panels show originals, magnified perturbations and adversarials (Rozsa et al., figure 1)."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness.analysis import Analysis, drawing
from harness.analysis.pictures import KEEP, Pixels, adversarials, image_row, magnified, pixels
from harness.analysis.reading import choose, outputs
from harness.errors import HarnessError
from harness.results import Results
from harness_attributes.analyses.names import SIGN_TEXT, method_text, search_text, threshold_text
from harness_attributes.analyses.study import KEY, SIGNS, Cell, Study, hits, read_study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OTHERS = 5
"""A caption names at most so many other attributes; the table names all."""

# Inches of the figure.
WIDE, GAP, BLOCK_GAP, CAPTION, HEADER, TOP = 1.3, 0.06, 0.45, 0.5, 0.85, 0.5


@dataclass(frozen=True, eq=False)
class Example:
    """An example is one line of a figure: a case, and its two images."""

    facts: Mapping[str, Any]
    original: Pixels  # (C, H, W)
    adversarial: Pixels  # (C, H, W)


@dataclass(frozen=True, eq=False)
class Block:
    """A block holds the examples of one cell."""

    cell: Cell
    examples: list[Example]
    rule: str
    """How they were chosen."""


def run(
    results: Results,
    *,
    rows: int = 4,
    attributes: Sequence[str] = (),
    magnification: float = 10.0,
    attack: str = "ffa",
    threshold: float = 0.95,
) -> Analysis:
    """Show typical adversarials: nearest to the median PASS of their cell and sign, half of them natural.

    Half of the lines are cases that were right before the attack, the rest natural adversarials; where one
    kind lacks cases, the other fills up. Each line shows another image and attribute as long as there are
    any. With a threshold of 0 and no PASS, the median of L2 decides. Early checkpoints are left out where
    there is a converged model.

    Rows: one per line of the figure: sample, attribute, decisions, PASS, distances, and which other
    attributes changed.

    Args:
        rows: lines per model and attack.
        attributes: only these; all by default.
        magnification: of the perturbation, around grey.
        attack: a name of the catalogue.
        threshold: of PASS.

    Raises:
        HarnessError: there is no such attack, no picture was kept, or PASS is needed and was not measured.
    """
    if rows < 1:
        raise HarnessError(f"rows = {rows} shows nothing; name a number of at least 1")
    study = read_study(results, (threshold,))
    choose([attack], {cell.attack_kind for cell in study.cells}, "attack")
    attacked = {name for cell in study.cells for name in cell.cases["target"].dropna().unique()}
    choose(attributes, attacked, "attribute")
    cells = [cell for cell in study.cells if cell.attack_kind == attack]
    cells = [cell for cell in cells if not cell.early] or cells
    blocks = [block for cell in cells if (block := _block(study, cell, rows, attributes, threshold))]
    if not blocks:
        raise HarnessError(
            f"{results.path}: no adversarials and originals of {threshold_text(threshold)} are kept; "
            f"{KEEP}, or lower the threshold"
        )
    table = pd.DataFrame([example.facts for block in blocks for example in block.examples])
    return Analysis(table, _figure(blocks, magnification, threshold))


def _block(study: Study, cell: Cell, rows: int, attributes: Sequence[str], threshold: float) -> Block | None:
    cases = cell.cases
    cases = cases[hits(cases, threshold)]
    if attributes:
        cases = cases[cases["target"].isin(attributes)]
    if cases.empty:
        return None
    facts = study.results.samples(
        columns=[*KEY, "linf", "l2", "decisions_clean", "decisions_adv"],
        where={"cell": cell.id, "success": True},
    )
    cases = cases.merge(facts[[*KEY, "linf", "l2", "decisions_clean", "decisions_adv"]], on=KEY)
    measure = "pass" if cases["pass"].notna().all() else "l2"
    cases, medians = typical(cases, rows, measure)
    originals = study.results.originals(cell.dataset)
    made = {tuple(case[name] for name in KEY): image for case, image in adversarials(study.results, cases)}
    names = outputs(study.results, cell.dataset, cell.model)
    examples = []
    for row in cases.to_dict("records"):
        adversarial, original = made.get((row["sample_id"], row["target"])), originals.get(row["sample_id"])
        if adversarial is not None and original is not None:
            found = _facts(row, names) | {f"median_{measure}": medians[row["sign"]]}
            examples.append(Example(cell.identity | found, pixels(original), adversarial))
    name = "PASS" if measure == "pass" else "L2"
    told = ", ".join(f"{SIGN_TEXT[sign]} {value:.3f}" for sign, value in medians.items())
    return Block(cell, examples, f"nearest to the median {name} ({told})") if examples else None


def typical(cases: pd.DataFrame, rows: int, measure: str) -> tuple[pd.DataFrame, dict[str, float]]:
    """Return the cases nearest to the median of their sign, half of them of each sign, and the medians.

    Deterministic: ties are broken by sample and attribute.
    """
    medians: dict[str, float] = {}
    ranked: dict[str, pd.DataFrame] = {}
    for sign in SIGNS:
        own = cases[cases["sign"] == sign]
        if not own.empty:
            medians[sign] = float(own[measure].median())
            far = (own[measure] - medians[sign]).abs()
            ranked[sign] = own.assign(far=far).sort_values(["far", *KEY], kind="stable")
    held = {sign: len(ranked.get(sign, ())) for sign in SIGNS}
    right = min(held["+"], max(ceil(rows / 2), rows - held["-"]))
    wanted = {"+": right, "-": min(held["-"], rows - right)}
    taken: list[Any] = []
    for sign, own in ranked.items():
        taken += list(_varied(own, wanted[sign], cases.loc[taken]))
    return cases.loc[taken], medians


def _varied(ranked: pd.DataFrame, room: int, taken: pd.DataFrame) -> Iterator[Any]:
    """Yield the labels of the first rows, of new images and attributes before others."""
    images, targets, used = set(taken["sample_id"]), set(taken["target"]), set()
    for strict in (True, False):
        for label, row in ranked.iterrows():
            if room <= 0:
                return
            known = row["sample_id"] in images or row["target"] in targets
            if label in used or (strict and known):
                continue
            images.add(row["sample_id"])
            targets.add(row["target"])
            used.add(label)
            room -= 1
            yield label


def _facts(row: Mapping[Any, Any], outputs: Sequence[str]) -> dict[str, Any]:
    before = np.asarray(row["decisions_clean"], bool)
    after = np.asarray(row["decisions_adv"], bool)
    at = list(outputs).index(row["target"])
    changed = [name for name, was, became in zip(outputs, before, after, strict=True) if was != became]
    return {
        "sample_id": row["sample_id"],
        "attribute": row["target"],
        "sign": row["sign"],
        "natural": row["sign"] == "-",
        "before": bool(before[at]),
        "after": bool(after[at]),
        "pass": float(row["pass"]),
        "linf_grey_levels": round(255 * float(row["linf"])),
        "l2": float(row["l2"]),
        "also_flipped": ", ".join(name for name in changed if name != row["target"]),
    }


def caption(facts: Mapping[str, Any]) -> str:
    """Return what stands under a line of the figure."""
    mark = {True: "+", False: "−"}
    kind = "natural adversarial: was wrong, corrected" if facts["natural"] else "was right"
    similar = "" if np.isnan(facts["pass"]) else f"PASS {facts['pass']:.3f}, "
    levels = facts["linf_grey_levels"]
    text = (
        f"{drawing.spaced(facts['attribute'])} {mark[facts['before']]} → {mark[facts['after']]} ({kind}); "
        f"{similar}L∞ {levels}/255; "
    )
    others = [drawing.spaced(name) for name in facts["also_flipped"].split(", ") if name]
    shown = ", ".join(others[:OTHERS]) + (f" and {len(others) - OTHERS} more" if len(others) > OTHERS else "")
    return text + (f"also flips {shown}" if others else "flips nothing else")


def _figure(blocks: Sequence[Block], magnification: float, threshold: float) -> Figure:
    columns = 2 if len(blocks) > 1 else 1
    lines = [list(blocks[at : at + columns]) for at in range(0, len(blocks), columns)]
    tallest = max(
        image.original.shape[1] / image.original.shape[2] for block in blocks for image in block.examples
    )
    block_width, row_height = 3 * WIDE + 2 * GAP, WIDE * tallest + CAPTION
    heights = [HEADER + max(len(block.examples) for block in line) * row_height for line in lines]
    width = columns * block_width + (columns + 1) * BLOCK_GAP
    height = TOP + sum(heights) + 0.2
    figure = drawing.figure(width, height, layout="none")
    told = f"Adversarials with {threshold_text(threshold)}, perturbations × {magnification:g} around grey"
    drawing.write(figure, width / 2, height - 0.2, told, ha="center", va="center", fontsize=11)
    top = height - TOP
    for line, tall in zip(lines, heights, strict=True):
        for number, block in enumerate(line):
            left = BLOCK_GAP + number * (block_width + BLOCK_GAP)
            _draw_block(figure, block, left, top, row_height, magnification)
        top -= tall
    return figure


def _draw_block(
    figure: Any, block: Block, left: float, top: float, row_height: float, magnification: float
) -> None:
    cell = block.cell
    searched = f", {search_text(cell.search)}" if cell.search else ""
    place = drawing.dataset_text(cell.dataset, cell.stand_in_for)
    header = f"{place}: {cell.model}, {method_text(cell.method)}{searched}"
    told = "\n".join([*textwrap.wrap(header, 64, break_on_hyphens=False), block.rule])
    drawing.write(figure, left, top - 0.02, told, ha="left", va="top", fontsize=8)
    names = ("original", f"perturbation × {magnification:g}", "adversarial")
    for number, example in enumerate(block.examples):
        above = top - HEADER - number * row_height
        shown = magnified(example.original, example.adversarial, magnification)
        images = (example.original, shown, example.adversarial)
        image_row(figure, images, left, above, WIDE, () if number else names, GAP)
        told = "\n".join(textwrap.wrap(caption(example.facts), 74))
        below = above - row_height + CAPTION - 0.03
        drawing.write(figure, left, below, told, ha="left", va="top", fontsize=7, linespacing=1.1)
