"""Portability shows what adversarials of one attribute do to other networks (Rozsa et al., figure 4)."""

from __future__ import annotations

from typing import Any, Literal

import pandas as pd

from harness.analysis import Analysis, drawing
from harness.analysis.reading import choose
from harness.errors import HarnessError
from harness.results import Results
from harness_attributes.analyses import heatmap
from harness_attributes.analyses.flips import Flips, across, within
from harness_attributes.analyses.names import BEFORE_TEXT, method_text, search_text, threshold_text
from harness_attributes.analyses.study import Cell, Study, read_study

Sign = Literal["both", "+", "-"]


def run(
    results: Results,
    *,
    search: str = "line",
    attack: str = "ffa",
    sign: Sign = "both",
    threshold: float = 0.95,
    model: str = "",
) -> Analysis:
    """Tell the share of the adversarials made for one attribute that flip the decision on another.

    Rows: panel x made_for (column of the figure) x network (row). In the panel "within", adversarials are
    asked on the separate networks that they were made on: the diagonal is 1 ``by_definition``. In "transfer",
    adversarials of the ``surrogate`` are asked on another model; success, sign and PASS are those that they
    had when made. Attributes without adversarials have n = 0 and no rate. ``mean_off_diagonal`` and
    ``mean_diagonal`` are means of the panel's rates.

    Args:
        search: of the attack; "" for attacks that do not search.
        attack: a name of the catalogue.
        sign: "+" for cases that were right before, "-" for those that were wrong, or "both".
        threshold: of PASS.
        model: the label of a model; all separate networks by default.

    Raises:
        HarnessError: there is no such model or attack, or PASS is needed and was not measured.
    """
    study = read_study(results, (threshold,))
    cells = cells_of(study, attack, search, model)
    rows: list[dict[str, Any]] = []
    grid: list[list[heatmap.Panel | None]] = []
    for cell in cells:
        own = within(study, cell, threshold, sign)
        known = {"panel": "within", **cell.identity, "surrogate": None, "sign": sign, "threshold": threshold}
        rows += own.rows(known)
        line: list[heatmap.Panel | None] = [_panel(cell, own, None)]
        for source, moved in _transfers(study, cell):
            found = across(study, source, moved, threshold, sign)
            known |= {"panel": "transfer", **moved.identity, "surrogate": source.model}
            rows += found.rows(known)
            line.append(_panel(cell, found, source))
        # An early checkpoint has its panel where its adversarials are tried on the converged model.
        if not cell.early or len(line) > 1 or all(other.early for other in cells):
            grid.append(line)
    title = (
        f"Portability of {method_text(attack)} adversarials, {search_text(search)}, "
        f"{threshold_text(threshold)}, {BEFORE_TEXT[sign]} (hatched: no adversarials)"
    )
    return Analysis(pd.DataFrame(rows), heatmap.draw(grid, title))


def cells_of(study: Study, attack: str, search: str, model: str) -> list[Cell]:
    """Return the cells of an attack on a model of separate networks.

    Raises:
        HarnessError: there is none.
    """
    if model:
        choose([model], {cell.model for cell in study.cells}, "model")
    choose([attack], {cell.attack_kind for cell in study.cells}, "attack")
    found = [
        cell
        for cell in study.cells
        if (cell.attack_kind, cell.search) == (attack, search)
        and (cell.model == model if model else "separate" in cell.model_kind)
    ]
    if not found:
        raise HarnessError(
            f'{study.results.path}: no separate networks were attacked by "{attack}" with search '
            f'"{search}"; name a model, attack and search of this suite'
        )
    return found


def _transfers(study: Study, victim: Cell) -> list[tuple[Cell, Cell]]:
    """Return the cells with a surrogate like the victim, each with that in which the victim judged."""
    sources = {cell.id: cell for cell in study.cells}
    same = ("method", "search", "threat", "model_kind")
    return [
        (source, moved)
        for moved in study.transfers
        if (source := sources.get(moved.source or "")) is not None
        and (moved.dataset, moved.model) == (victim.dataset, victim.model)
        and all(getattr(source, name) == getattr(victim, name) for name in same)
    ]


def _panel(cell: Cell, flips: Flips, source: Cell | None) -> heatmap.Panel:
    place = drawing.dataset_text(cell.dataset, cell.stand_in_for)
    of = f"{source.model}\n→ {cell.model}" if source else cell.model
    return heatmap.Panel(
        flips,
        title=f"{place}:\n{of}",
        down="network asked, after the arrow" if source else "network asked",
        across="adversarials made for, before the arrow" if source else "adversarials made for",
    )
