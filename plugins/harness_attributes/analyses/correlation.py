"""Flip correlation shows what else changes when MOON flips one attribute (Rozsa et al., figure 5)."""

from __future__ import annotations

from typing import Any

import pandas as pd

from harness.analysis import Analysis, drawing
from harness.analysis.reading import choose
from harness.errors import HarnessError
from harness.results import Results
from harness_attributes.analyses import heatmap
from harness_attributes.analyses.flips import within
from harness_attributes.analyses.names import BEFORE_TEXT, method_text, search_text, threshold_text
from harness_attributes.analyses.portability import Sign
from harness_attributes.analyses.study import Cell, Study, read_study, searches_of


def run(
    results: Results, *, attack: str = "ffa", sign: Sign = "both", threshold: float = 0.95, model: str = ""
) -> Analysis:
    """Tell how many adversarials made for one attribute flip another of the same network's answers.

    Rows: cell x made_for (column of the figure) x network (row: the attribute whose decision is asked for).
    The diagonal is 1 ``by_definition``. Attributes without adversarials have n = 0 and no rate.

    Args:
        attack: a name of the catalogue.
        sign: "+" for cases that were right before, "-" for those that were wrong, or "both".
        threshold: of PASS.
        model: the label of a model; by default every MOON.

    Raises:
        HarnessError: there is no such model or attack, or PASS is needed and was not measured.
    """
    study = read_study(results, (threshold,))
    cells = cells_of(study, attack, model)
    rows: list[dict[str, Any]] = []
    lines: dict[tuple[str, str, str], list[heatmap.Panel | None]] = {}
    searches = searches_of(cell.search for cell in cells)
    for cell in cells:
        found = within(study, cell, threshold, sign)
        rows += found.rows({**cell.identity, "sign": sign, "threshold": threshold})
        place = drawing.dataset_text(cell.dataset, cell.stand_in_for)
        line = lines.setdefault((cell.dataset, cell.model, cell.method), [None] * len(searches))
        line[searches.index(cell.search)] = heatmap.Panel(
            found,
            title=f"{place}: {cell.model}, {method_text(cell.method)}, {search_text(cell.search)}",
            down="decision asked",
            across="adversarials made for",
        )
    title = (
        f"Decisions flipped together by {method_text(attack)}, {threshold_text(threshold)}, "
        f"{BEFORE_TEXT[sign]} (hatched: no adversarials)"
    )
    return Analysis(pd.DataFrame(rows), heatmap.draw(list(lines.values()), title))


def cells_of(study: Study, attack: str, model: str) -> list[Cell]:
    """Return the cells of an attack on a joint network.

    Raises:
        HarnessError: there is none.
    """
    if model:
        choose([model], {cell.model for cell in study.cells}, "model")
    choose([attack], {cell.attack_kind for cell in study.cells}, "attack")
    found = [
        cell
        for cell in study.cells
        if cell.attack_kind == attack and (cell.model == model if model else "moon" in cell.model_kind)
    ]
    if not found:
        raise HarnessError(
            f'{study.results.path}: "{attack}" was run on no MOON; name another network that answers '
            'several attributes by model = "…"'
        )
    return found
