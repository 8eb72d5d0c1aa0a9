"""The Markdown export is a table as GitHub reads it, with what went wrong and how to read it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness.export.columns import (
    columns_of,
    explanations,
    flag_text,
    flags_on,
    notes,
    provenance,
    rows_of,
    thresholds_on,
    warnings_of,
)

if TYPE_CHECKING:
    import pandas as pd


def render(board: pd.DataFrame, suite: Mapping[str, Any]) -> str:
    """Return the board as a Markdown document."""
    columns = columns_of(board)
    lines = [
        f"# {_escaped(str(suite.get('name') or 'Leaderboard'))}",
        "",
        f"{_escaped(provenance(suite))}",
        "",
        *(f"> **{_escaped(line)}**\n" for line in warnings_of(board)),
        *(f"> {_escaped(line)}\n" for line in thresholds_on(board)),
        _line(_escaped(column.heading) for column in columns),
        _line("---:" if column.is_number else ":---" for column in columns),
    ]
    lines += [_line(_escaped(column.text(row)) for column in columns) for row in rows_of(board)]
    flags = flags_on(board)
    if flags:
        lines += [
            "",
            "Flags:",
            "",
            *(f"- **{_escaped(name)}**: {_escaped(flag_text(name, board))}" for name in flags),
        ]
    errors = notes(board)
    if errors:
        lines += ["", "Errors:", "", *(f"- {_escaped(note)}" for note in errors)]
    lines += [
        "",
        *(f"- **{_escaped(term)}**: {_escaped(text)}" for term, text in explanations(board).items()),
    ]
    return "\n".join(lines) + "\n"


def _line(cells: Any) -> str:
    return "| " + " | ".join(cells) + " |"


def _escaped(text: str) -> str:
    """Return a text in which nothing is markup; intervals keep their brackets, which alone make no link."""
    return re.sub(r"([\\`*_|<>~#]|\](?=[(\[:]))", r"\\\1", " ".join(text.split()))
