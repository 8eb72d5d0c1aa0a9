r"""The LaTeX export is a table for a paper; it needs \usepackage{booktabs} and \usepackage{graphicx}."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness.export.columns import columns_of, flag_text, flags_on, notes, provenance, rows_of, thresholds_on

if TYPE_CHECKING:
    import pandas as pd

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "–": "--",
    "∞": r"$\infty$",
    # An opening bracket after a line break would be read as its optional argument.
    "[": "{[}",
    "]": "{]}",
}


def render(board: pd.DataFrame, suite: Mapping[str, Any]) -> str:
    """Return the board as a table, with a rule between models; comments before it name flags and errors."""
    columns = columns_of(board)
    alignment = "".join("r" if column.is_number else "l" for column in columns)
    lines = [
        r"% needs \usepackage{booktabs} and \usepackage{graphicx}",
        *(f"% {line}" for line in thresholds_on(board)),
        *(f"% {name}: {flag_text(name, board)}" for name in flags_on(board)),
        *(f"% {note}" for note in notes(board)),
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_escaped(provenance(suite))}}}",
        r"\resizebox{\textwidth}{!}{%",
        rf"\begin{{tabular}}{{{alignment}}}",
        r"\toprule",
        _line(column.heading for column in columns),
        r"\midrule",
    ]
    model = None
    for row in rows_of(board):
        here = (row["dataset"], row["goal"], row["model"])
        if model not in (None, here):
            lines.append(r"\midrule")
        model = here
        lines.append(_line(column.text(row) for column in columns))
    lines += [r"\bottomrule", r"\end{tabular}}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def _line(cells: Any) -> str:
    return " & ".join(_escaped(cell) for cell in cells) + r" \\"


def _escaped(text: str) -> str:
    return "".join(_SPECIAL.get(character, character) for character in " ".join(text.split()))
