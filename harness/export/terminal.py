"""The terminal shows the board as a table that fits the window; what matters least is left out first."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from harness.export.columns import (
    Column,
    clusters_of,
    columns_of,
    dataset,
    flag_hint,
    flags_of,
    flags_on,
    notes,
    rows_of,
    thresholds_on,
    warnings_of,
)
from harness.leaderboard.ranking import CLEAN, WORST_CASE

if TYPE_CHECKING:
    import pandas as pd

FLAG = "⚑"
STYLES = {CLEAN: "dim", WORST_CASE: "bold"}


def table(board: pd.DataFrame, suite: Mapping[str, Any], width: int | None = None) -> Table:
    """Return the board as a table, grouped by model: clean first, worst case last.

    Args:
        board: rows in the order of a leaderboard.
        suite: the content of suite.json.
        width: characters to fit into; the window's where None.
    """
    room = shutil.get_terminal_size().columns if width is None else width
    rows = rows_of(board)
    places = list(dict.fromkeys((dataset(row), row["goal"]) for row in rows))
    # A single data set and goal stand in the title, several beneath each model's name.
    columns = [column for column in columns_of(board) if column.name not in ("dataset", "goal")]
    columns = _with_marks(columns, flags_on(board))
    drawn = _drawn(rows, columns, several=len(places) > 1)
    for dropped in _least_important_first(columns, board):
        if _width(drawn) <= room:
            break
        kept = [column.short if column is dropped else column for column in columns]
        columns = [column for column in kept if column is not None]
        drawn = _drawn(rows, columns, several=len(places) > 1)
    drawn.title = Text(" · ".join([str(suite.get("name") or "leaderboard"), *_only(places)]), style="bold")
    for line in warnings_of(board):
        drawn.title.append(f"\n{FLAG} {line}", style="bold red")
    for line in thresholds_on(board):
        drawn.title.append(f"\n{line}", style="not bold")
    drawn.caption = _caption(board)
    return drawn


def _least_important_first(columns: Sequence[Column], board: pd.DataFrame) -> list[Column]:
    """Return the columns that may be left out or shortened, in the order in which they are.

    Of equal ones the last goes first. A coverage that is not complete stays.
    """
    complete = board["coverage"].eq(1).all()
    leaving = [column for column in reversed(columns) if column.name != "coverage" or complete]
    return sorted(
        (column for column in leaving if column.importance is not None),
        key=lambda column: column.importance or 0,
    )


def _width(drawn: Table) -> int:
    return Measurement.get(Console(width=1000), Console(width=1000).options, drawn).maximum


def _drawn(rows: Sequence[Mapping[Any, Any]], columns: Sequence[Column], several: bool) -> Table:
    drawn = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, title_justify="left")
    drawn.caption_justify = "left"
    for column in columns:
        drawn.add_column(
            Text(_broken(column.heading)),
            justify="right" if column.is_number else "left",
            overflow="fold",
            vertical="top",
        )
    model: Any = None
    within = 0
    for row in rows:
        here = (row["dataset"], row["goal"], row["model"])
        if here != model:
            if model is not None:
                drawn.add_section()
            model, within = here, 0
        style = STYLES.get(row["attack"], "")
        cells = []
        for column in columns:
            text = Text(column.text(row), style=style)
            if column.name == "model":
                text = _under_model(row, within, several)
            cells.append(text)
        drawn.add_row(*cells)
        within += 1
    return drawn


def _broken(heading: str) -> str:
    """Return a heading on several short lines."""
    for before, after in ((" %", "\n%"), (" (", "\n("), (" / ", "\n/ "), (" on ", " on\n")):
        heading = heading.replace(before, after)
    return heading


def _under_model(row: Mapping[Any, Any], within: int, several: bool) -> Text:
    """Write the model's name once, and beneath it, where there are several, its data set and goal."""
    if within == 0:
        return Text(str(row["model"]), style="bold")
    lines = [dataset(row), str(row["goal"])] if several else []
    return Text(lines[within - 1] if within <= len(lines) else "", style="dim")


def _with_marks(columns: Sequence[Column], flags: Sequence[str]) -> list[Column]:
    """Return the columns with a mark, beside the threat, in place of the flags' long names."""
    plain = [column for column in columns if column.name != "flags"]
    if not flags:
        return plain
    at = next(place for place, column in enumerate(plain) if column.name == "threat")
    marks = Column(FLAG, "flags", lambda row: "".join(_mark(name, flags) for name in flags_of(row)), False)
    return [*plain[: at + 1], marks, *plain[at + 1 :]]


def _mark(flag: str, flags: Sequence[str]) -> str:
    """Return the letter of a flag on this board, which the caption explains."""
    return chr(ord("a") + flags.index(flag))


def _caption(board: pd.DataFrame) -> Text:
    flags = flags_on(board)
    lines = [f"{FLAG}{_mark(name, flags)} {name}: {flag_hint(name, board)}" for name in flags]
    if flags:
        lines.append(f"{FLAG}  docs/flags: what they mean, what raises them falsely, what to do")
    lines.append("[low–high]: 95 %; =: a tie, not statistically distinguishable from another model")
    lines += clusters_of(board)
    errors = notes(board)
    lines += errors[:3]
    if len(errors) > 3:
        lines.append(f"and {len(errors) - 3} more rows with errors")
    return Text("\n".join(lines), style="dim")


def _only(places: Sequence[tuple[str, str]]) -> list[str]:
    return list(places[0]) if len(places) == 1 else []
