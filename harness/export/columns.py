"""What people read of a board: columns, their headings, and how numbers are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.leaderboard.flags import FLAGS

if TYPE_CHECKING:
    import pandas as pd

NULL = "–"
Row = Mapping[Any, Any]

EXPLANATIONS: Mapping[str, str] = {
    "rank": "of the model among those under the same data set, attack, threat and goal, by robust accuracy: "
    "one more than the number of models that are clearly better, their interval lying wholly above. "
    "“=” marks a tie: another model's interval overlaps, so the two are not statistically distinguishable.",
    "attack": "“clean” is the model without attack; in “worst-case” a case counts as broken once any attack "
    "succeeded on it.",
    "n": "cases planned; coverage % is the share of them with an outcome. Errors lower the coverage, and "
    "count neither as robust nor as broken.",
    "clean %": "cases that are right before the attack.",
    "robust %": "cases that are right before the attack and stay so, of all cases.",
    "success %": "cases that the attack breaks, of those that were right before.",
    "natural %": "cases that reach the goal, of those that were wrong before.",
    "transfer %": "of the adversarials that fooled the model they were made on, those that fool this one.",
    "L2, L∞, PASS": "means over the adversarials of cases that were right before; L∞ in grey levels of 255.",
    "forwards, backwards, seconds": "mean cost of a case; “/ success” is the cost of all cases over the "
    "number of successes.",
    "flags": "signs that a row tells more of the attack, or of masked gradients, than of a robust model.",
    "[low–high]": "95 % interval; cases that share an image are not taken for independent.",
}
"""How a board is to be read, by heading."""


@dataclass(frozen=True)
class Column:
    """A column as people read it."""

    heading: str
    needs: str
    """The board's column; left out where the board has no value in it."""
    text: Callable[[Row], str]
    is_number: bool = True


def is_null(value: Any) -> bool:
    """Whether a frame's value is None, NaN or NA."""
    import pandas as pd

    return bool(pd.isna(value))


def number(name: str, digits: int = 3, scale: float = 1.0) -> Callable[[Row], str]:
    """Writes a number with so many decimals."""

    def text(row: Row) -> str:
        value = row.get(name)
        return NULL if is_null(value) else f"{float(value) * scale:.{digits}f}"  # type: ignore[arg-type]

    return text


def percent(name: str) -> Callable[[Row], str]:
    """Writes a share in percent with one decimal."""
    return number(name, digits=1, scale=100.0)


def percent_with_interval(name: str) -> Callable[[Row], str]:
    """Writes a share and its interval: "73.5 [70.1–76.5]"."""
    value, low, high = (percent(f"{name}{end}") for end in ("", "_low", "_high"))
    return lambda row: value(row) if low(row) == NULL else f"{value(row)} [{low(row)}–{high(row)}]"


def name(column: str) -> Callable[[Row], str]:
    """Writes a name on one line."""
    return lambda row: NULL if is_null(row.get(column)) else " ".join(str(row[column]).split())


def rank(row: Row) -> str:
    """The rank, with "=" where it is shared."""
    if is_null(row.get("rank")):
        return NULL
    tied = row.get("tied")
    return f"{int(row['rank'])}{'=' if not is_null(tied) and tied else ''}"


def dataset(row: Row) -> str:
    """The data set, and which one it stands in for."""
    shown = name("dataset")(row)
    stood_in_for = name("stand_in_for")(row)
    return shown if stood_in_for == NULL else f"{shown} (stand-in for {stood_in_for})"


COLUMNS = (
    Column("rank", "dataset", rank),
    Column("dataset", "dataset", dataset, is_number=False),
    Column("model", "dataset", name("model"), is_number=False),
    Column("attack", "dataset", name("attack"), is_number=False),
    Column("threat", "dataset", name("threat"), is_number=False),
    Column("goal", "dataset", name("goal"), is_number=False),
    Column("n", "dataset", number("n", digits=0)),
    Column("coverage %", "dataset", percent("coverage")),
    Column("clean %", "dataset", percent("clean_accuracy")),
    Column("robust % [low–high]", "dataset", percent_with_interval("robust_accuracy")),
    Column("success % [low–high]", "dataset", percent_with_interval("success_rate")),
    Column("flags", "flags", lambda row: ", ".join(flags_of(row)), is_number=False),
    Column("natural %", "natural_rate", percent("natural_rate")),
    Column("transfer %", "transfer_rate", percent("transfer_rate")),
    Column("mean L2", "mean_l2", number("mean_l2")),
    Column("mean L∞ (k/255)", "mean_linf", number("mean_linf", digits=2, scale=255.0)),
    Column("PASS", "mean_pass", number("mean_pass")),
    Column("forwards", "mean_forwards", number("mean_forwards", digits=1)),
    Column("backwards", "mean_backwards", number("mean_backwards", digits=1)),
    Column("seconds", "mean_seconds", number("mean_seconds")),
    Column("forwards / success", "forwards_per_success", number("forwards_per_success", digits=1)),
    Column("backwards / success", "backwards_per_success", number("backwards_per_success", digits=1)),
    Column("seconds / success", "seconds_per_success", number("seconds_per_success")),
)


def columns_of(board: pd.DataFrame) -> list[Column]:
    """The columns to show of a board: those with values, and the metrics of plugins after them."""
    from harness.leaderboard.board import columns  # here: it reads Parquet, which none of this does

    known = set(columns())
    extra = [
        Column(name, name, number(name))
        for name in board.columns
        if name not in known and f"{name}_low" in board.columns
    ]
    identity = "dataset"
    return [
        column
        for column in (*COLUMNS, *extra)
        if column.needs == identity or _has_values(board, column.needs)
    ]


def _has_values(board: pd.DataFrame, column: str) -> bool:
    """Whether a column holds anything; boards of earlier versions lack some columns."""
    return column in board.columns and bool((board[column].notna() & (board[column] != "")).any())


def flags_of(row: Row) -> list[str]:
    """The flags of a row."""
    told = row.get("flags")
    return [] if is_null(told) or not told else str(told).split(", ")


def flags_on(board: pd.DataFrame) -> list[str]:
    """The flags that some row of a board has, in the order of FLAGS; unknown ones last."""
    raised = [name for row in rows_of(board) for name in flags_of(row)]
    return [name for name in dict.fromkeys((*FLAGS, *raised)) if name in raised]


def flag_sign(name: str) -> str:
    """What a flag says was seen."""
    return FLAGS[name].sign if name in FLAGS else "a flag of another version"


def flag_text(name: str) -> str:
    """What was seen, what to do, and where to read more, in one line."""
    remedy = f"; {FLAGS[name].remedy}" if name in FLAGS else ""
    return f"{flag_sign(name)}{remedy} (docs/flags/{name}.md)"


def rows_of(board: pd.DataFrame) -> list[dict[Any, Any]]:
    """The board's rows, top down."""
    return board.to_dict("records")


def notes(board: pd.DataFrame) -> list[str]:
    """One line for each row with an error."""
    told = []
    for row in rows_of(board):
        if not is_null(row.get("error")):
            place = ", ".join(name(part)(row) for part in ("dataset", "goal", "model", "attack", "threat"))
            told.append(f"{place}: {name('error')(row)}")
    return told


def provenance(suite: Mapping[str, Any]) -> str:
    """Suite, date, versions and revision in one line, as far as they are known."""
    parts = [f"Suite {suite.get('name') or NULL}"]
    if suite.get("created"):
        parts.append(str(suite["created"]))
    versions = suite.get("versions")
    if isinstance(versions, Mapping):
        parts += [f"{package} {version}" for package, version in versions.items() if version]
    if suite.get("revision"):
        parts.append(f"revision {suite['revision']}")
    return ", ".join(" ".join(part.split()) for part in parts)
