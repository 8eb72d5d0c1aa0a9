"""Crops move under attack: by how much, of which attributes, and what that has to do with success."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness.analysis import Analysis, drawing
from harness.analysis.reading import Cell, cases, estimate, estimate_columns, recorded, typed
from harness.errors import HarnessError
from harness.metrics import mean, rate
from harness.results import Results
from harness_paw.analyses.study import Net, Study, read_studies

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WHERE = ("crop_row", "crop_column")
COLUMNS = tuple(f"{name}_{when}" for name in WHERE for when in ("clean", "adv"))
ALL = "all"
BINS = {
    "not moved": (0.0, 0.0),
    "by up to 1/4": (0.0, 0.25),
    "1/4 to 1": (0.25, 1.0),
    "by more": (1.0, np.inf),
}
"""Distances in sides of the crop: above the first and up to the second; the first bin is exactly 0."""
MOVED = 1e-3
"""Pixels; less is float32's own rounding."""


@dataclass(frozen=True, eq=False)
class Moves:
    """The cases of one model under one attack and threat, with the distances by which their crops moved."""

    net: Net
    attack: str
    threat: str
    transferred: bool
    cases: pd.DataFrame
    """sample_id, cluster, target, right, success, ``moved`` in pixels, ``sides`` in sides of the crop."""

    @property
    def identity(self) -> dict[str, Any]:
        """Return the columns that tell it from others."""
        return {**self.net.identity, "attack": self.attack, "threat": self.threat}

    @property
    def counted(self) -> pd.DataFrame:
        """Return the cases that were classified correctly before the attack."""
        return self.cases[self.cases["right"]]


def read_moves(study: Study) -> list[Moves]:
    """Return what moved in the models of a study that tell where their crops are."""
    nets = {net.name: net for net in study.nets if net.dataset == study.dataset}
    cells = [
        cell for cell in study.cells if cell.model in nets and set(COLUMNS) <= recorded(study.results, cell)
    ]
    held = cases(study.results, cells, COLUMNS) if cells else {}
    groups: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.model, cell.attack, cell.threat), []).append(cell)
    found = []
    for (model, attack, threat), same in groups.items():
        frame = pd.concat([held[cell.id] for cell in same], ignore_index=True)
        frame = frame[frame[list(COLUMNS)].notna().all(axis=1)].reset_index(drop=True)
        if len(frame):
            transferred = same[0].surrogate is not None
            found.append(Moves(nets[model], attack, threat, transferred, _with_moves(nets[model], frame)))
    return found


def _with_moves(net: Net, frame: pd.DataFrame) -> pd.DataFrame:
    row, column = (
        frame[f"{name}_adv"].to_numpy(np.float64) - frame[f"{name}_clean"].to_numpy(np.float64)
        for name in WHERE
    )
    moved = np.hypot(row, column)
    moved[moved <= MOVED] = 0.0
    side = (net.notes.get("heatmaps") or {}).get("side")
    sides = np.where(moved > 0, np.hypot(row / side[0], column / side[1]), 0.0) if side else moved * np.nan
    return frame.assign(moved=moved, sides=sides)


def run(results: Results, *, attributes: Sequence[str] = ()) -> Analysis:
    """Tell how far crops move under attack, by attribute, and how often attacks succeed by that distance.

    The crop is that of the attribute that is attacked, on the original and on the judged image. Cases are
    those that were classified correctly before the attack.

    Rows: model x attack x threat x attribute ("all", too) x ``distance``: "all", or a bin of distances in
    sides of the crop. ``moved`` is the share of cases whose crop moved at all, ``pixels`` and ``sides`` the
    mean distance, ``success_rate`` how often the attack succeeded, all with 95 % intervals over persons
    (images, where persons are not known). Random noise shows how easily crops move by themselves.

    Args:
        attributes: only these; all that were attacked by default.

    Raises:
        HarnessError: no record tells where crops are.
    """
    found = [moves for study in read_studies(results) for moves in read_moves(study)]
    if not found:
        raise HarnessError(
            f"{results.path}: no record tells where crops are; attack `paw` or `paw-part-only` in the suite"
        )
    return Analysis(typed([row for moves in found for row in _rows(moves, attributes)]), _figure(found))


def _rows(moves: Moves, attributes: Sequence[str]) -> Iterator[dict[str, Any]]:
    counted = moves.counted
    names = [name for name in dict.fromkeys(counted["target"]) if not attributes or name in attributes]
    for name in (ALL, *sorted(names)):
        own = counted[counted["target"].isin(names)] if name == ALL else counted[counted["target"] == name]
        for bin_ in (ALL, *BINS):
            chosen = own if bin_ == ALL else own[within(own["sides"], bin_)]
            if len(chosen) or bin_ == ALL:
                yield {**moves.identity, "attribute": name, "distance": bin_, **_numbers(chosen)}


def within(sides: pd.Series[float], bin_: str) -> pd.Series[bool]:
    """Say which distances, in sides of the crop, lie in a bin."""
    low, high = BINS[bin_]
    return sides == 0 if high == 0 else (sides > low) & (sides <= high)


def _numbers(own: pd.DataFrame) -> dict[str, Any]:
    clusters = own["cluster"]
    return {
        "n": len(own),
        **estimate_columns("moved", rate(own["moved"] > 0, clusters)),
        **estimate_columns("pixels", mean(own["moved"], clusters)),
        **estimate_columns("sides", mean(own["sides"], clusters)),
        **estimate_columns("success_rate", rate(own["success"], clusters)),
    }


# --- figure -----------------------------------------------------------------------------------------------


def _figure(found: Sequence[Moves]) -> Figure:
    groups: dict[tuple[str, str | None, str], list[Moves]] = {}
    for moves in found:
        groups.setdefault((moves.net.dataset, moves.net.stand_in_for, moves.net.name), []).append(moves)
    attributes = {key: sorted({a for m in own for a in m.counted["target"]}) for key, own in groups.items()}
    most = max(map(len, attributes.values()))
    figure = drawing.figure(max(9.5, 0.3 * most + 7.5) + 2.6, 3.6 * len(groups) + 0.5)
    grid = figure.subplots(len(groups), 2, squeeze=False, width_ratios=(max(most, 6), 6))
    labels = list(dict.fromkeys(_label(moves) for moves in found))
    looks = {label: drawing.style(turn) for turn, label in enumerate(labels)}
    for (left, right), (key, own) in zip(grid, groups.items(), strict=True):
        names = attributes[key]
        for turn, moves in enumerate(own):
            look, shift = looks[_label(moves)], 0.7 * (turn + 0.5) / len(own) - 0.35
            by_name = {name: _numbers(part) for name, part in moves.counted.groupby("target")}
            for place, name in enumerate(names):
                if name in by_name:
                    found_here = estimate(by_name[name], "moved")
                    drawing.interval(left, place + shift, found_here, scale=100, along="y", **look)
            for place, bin_ in enumerate(BINS):
                inside = moves.counted[within(moves.counted["sides"], bin_)]
                if len(inside):
                    succeeded = rate(inside["success"], inside["cluster"])
                    drawing.interval(right, place + shift, succeeded, scale=100, along="y", **look)
        dataset, stand_in, model = key
        left.set_title(f"{drawing.dataset_text(dataset, stand_in)}: {model}", fontsize=10)
        right.set_title("by distance moved, in sides", fontsize=10)
        drawing.category_axis(left, map(drawing.spaced, names))
        drawing.category_axis(right, BINS)
        drawing.percent_axis(left, "% of crops that move")
        drawing.percent_axis(right, "% of attacks that succeed")
    drawing.legend_beside(figure, {label: look | {"linestyle": "none"} for label, look in looks.items()})
    drawing.title(figure, "Crops under attack, of cases that were right before (95 % intervals)")
    return figure


def _label(moves: Moves) -> str:
    return f"{moves.attack}, {moves.threat}"
