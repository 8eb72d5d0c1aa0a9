"""The columns that people read of a board are made here: their headings, and how numbers are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from harness.leaderboard.board import columns, plugin_metrics
from harness.leaderboard.finders import COLUMN as FOUND_BY
from harness.leaderboard.flags import FLAGS, OF_MODELS
from harness.leaderboard.hints import hint
from harness.leaderboard.operating import COLUMNS as OPERATING
from harness.leaderboard.rows import column_name
from harness.metrics import SPECS
from harness.specs import MetricSpec

if TYPE_CHECKING:
    import pandas as pd

NULL = "–"
PERCENT = 100.0
FEW_FALSE_MATCHES = "few-false-matches"
IMPORTANCE_OF_N = 10
"""What matters more than the number of cases is shortened in a narrow terminal, and never leaves it."""
Row = Mapping[Any, Any]


@dataclass(frozen=True)
class Column:
    """A column as people read it."""

    heading: str
    name: str
    """The board's column."""
    text: Callable[[Row], str]
    is_number: bool = True
    always: bool = True
    """It is shown even where the board has no value in it."""
    importance: int | None = None
    """What matters least leaves a narrow terminal first; None stays."""
    short: Column | None = None
    """What stays in a narrow terminal instead of it."""


def is_null(value: Any) -> bool:
    """Say whether a frame's value is None, NaN or NA."""
    import pandas as pd

    return bool(pd.isna(value))


def number(name: str, digits: int = 3, scale: float = 1.0) -> Callable[[Row], str]:
    """Write a number with so many decimals."""

    def text(row: Row) -> str:
        value = row.get(name)
        return NULL if is_null(value) else f"{float(value) * scale:.{digits}f}"  # type: ignore[arg-type]

    return text


def name(column: str) -> Callable[[Row], str]:
    """Write a name on one line."""
    return lambda row: NULL if is_null(row.get(column)) else " ".join(str(row[column]).split())


def rank(row: Row) -> str:
    """Write the rank, with "=" where it is shared."""
    if is_null(row.get("rank")):
        return NULL
    tied = row.get("tied")
    return f"{int(row['rank'])}{'=' if not is_null(tied) and tied else ''}"


def dataset(row: Row) -> str:
    """Write the data set, and which one it stands in for."""
    shown = name("dataset")(row)
    stood_in_for = name("stand_in_for")(row)
    return shown if stood_in_for == NULL else f"{shown} (stand-in for {stood_in_for})"


def metric(column: str, spec: MetricSpec) -> Column:
    """Return the column of a metric, as its spec says."""
    heading, always = spec.heading or column, spec.shown == "always"
    value, low, high = (number(f"{column}{end}", spec.digits, spec.scale) for end in ("", "_low", "_high"))
    plain = Column(heading, column, value, always=always, importance=spec.importance)
    is_rate = spec.scale == PERCENT
    if not (spec.interval and (always or is_rate)):
        return plain

    def with_interval(row: Row) -> str:
        """Write a number, its interval and, where not of all cases, of how many: "75.0 [30–95] of 4"."""
        if low(row) == NULL:
            return value(row)
        n = row.get(f"{column}_n")
        of = "" if is_null(n) or n == row.get("n") else f" of {int(n)}"  # type: ignore[arg-type]
        return f"{value(row)} [{low(row)}–{high(row)}]{of}"

    short = plain if spec.importance > IMPORTANCE_OF_N else None
    return replace(plain, heading=f"{heading} [low–high]", text=with_interval, short=short)


_POINTS = (
    Column("threshold", "threshold", number("threshold", digits=4), always=False, importance=1),
    Column("FMR %", "threshold_fmr", number("threshold_fmr", 2, 100.0), always=False, importance=3),
    Column("FNMR %", "threshold_fnmr", number("threshold_fnmr", 2, 100.0), always=False, importance=3),
)
"""Of verifiers: the operating point."""


def columns_of(board: pd.DataFrame) -> list[Column]:
    """Return the columns to show of a board, in order: those with values, the metrics of plugins last."""
    core = [metric(column_name(name), spec) for name, spec in SPECS.items() if spec.shown != "never"]
    shown = [
        Column("rank", "rank", rank),
        Column("dataset", "dataset", dataset, is_number=False),
        *(Column(part, part, name(part), is_number=False) for part in ("model", "attack", "threat", "goal")),
        Column("n", "n", number("n", digits=0), importance=IMPORTANCE_OF_N),
        Column("coverage %", "coverage", number("coverage", digits=1, scale=100.0), importance=12),
        *(column for column in core if column.always),
        Column("flags", "flags", lambda row: ", ".join(flags_of(row)), is_number=False, always=False),
        Column("found by", FOUND_BY, name(FOUND_BY), is_number=False, always=False, importance=2),
        *_POINTS,
        *(column for column in core if not column.always),
        *(metric(column, spec) for column, spec in _added(board).items() if spec.shown != "never"),
    ]
    return [column for column in shown if column.always or _has_values(board, column.name)]


def explanations(board: pd.DataFrame) -> dict[str, str]:
    """Return how a board is to be read: what each heading means."""
    metrics = {column_name(name): spec for name, spec in SPECS.items()} | _added(board)
    return {
        "rank": "of the model among those under the same data set, attack, threat and goal, by robust "
        "accuracy: one more than the number of models that are clearly better, or better than such a model. "
        "One is clearly better where the 95 % interval of the difference, case by case, lies above 0. “=” "
        "marks a tie: some other model is neither clearly better nor clearly worse. Constant baselines have "
        "no rank, and neither have models whose clean answers raise a flag.",
        "attack": "“clean” is the model without attack; in “worst-case” a case counts as a success once any "
        "attack succeeded on it within the bounds of the threat. It has the cases that all of them were "
        "tried on.",
        "n": "cases planned; coverage % is the share of them with an outcome. Cases without one count "
        "neither as robust nor as fooled; intervals reach over all that could have become of them.",
        **{
            spec.term or spec.heading or column: spec.explanation
            for column, spec in metrics.items()
            if spec.explanation and spec.shown != "never"
        },
        **(
            {
                "threshold, FMR, FNMR": "a verifier accepts distances below its threshold; of the clean "
                "comparisons of the attacked persons, the shares of those with others that it then accepts "
                "(false matches) and of those with themselves that it rejects."
            }
            if _has_values(board, "threshold")
            else {}
        ),
        **(
            {
                "found by": "of an attack that consists of several, the share of the cases that each of them "
                "broke; one is run on the cases that those before it left."
            }
            if _has_values(board, FOUND_BY)
            else {}
        ),
        "flags": "signs that a row tells more of the attack, or of masked gradients, than of a robust model.",
        "[low–high]": ". ".join(
            [
                "95 % interval; cases that share an image or a person are not taken for independent",
                *clusters_of(board),
                "“of” says of how many cases, where not of all.",
            ]
        ),
    }


def clusters_of(board: pd.DataFrame) -> list[str]:
    """Say in a line how many persons the images show, where intervals are over persons; else nothing."""
    if "clusters" not in board.columns:  # boards of earlier versions
        return []
    fewer = board[board["clusters"] < board["images"]]
    counts = sorted({(int(row["images"]), int(row["clusters"])) for row in rows_of(fewer)})
    of = ", ".join(f"{images} images of {clusters} persons" for images, clusters in counts)
    return [f"intervals and ties are over persons: {of}"] if counts else []


def _added(board: pd.DataFrame) -> dict[str, MetricSpec]:
    """Return the metrics of plugins on a board, by column; an interval tells those that are not installed."""
    own = {*columns(), *OPERATING, FOUND_BY}
    added = [name for name in board.columns if name not in own]
    if not added:
        return {}
    installed = {column_name(name): entry.spec for name, entry in plugin_metrics().items()}
    unknown = {
        name: MetricSpec(name=name, summary="", run="", columns=())
        for name in added
        if f"{name}_low" in added
    }
    return {name: spec for name in added if (spec := installed.get(name) or unknown.get(name))}


def _has_values(board: pd.DataFrame, column: str) -> bool:
    """Say whether a column holds anything; boards of earlier versions lack some columns."""
    return column in board.columns and bool((board[column].notna() & (board[column] != "")).any())


def flags_of(row: Row) -> list[str]:
    """Return the flags of a row."""
    told = row.get("flags")
    return [] if is_null(told) or not told else str(told).split(", ")


def flags_on(board: pd.DataFrame) -> list[str]:
    """Return the flags that some row of a board has, in the order of FLAGS; unknown ones last."""
    raised = [name for row in rows_of(board) for name in flags_of(row)]
    return [name for name in dict.fromkeys((*FLAGS, *raised)) if name in raised]


def warnings_of(board: pd.DataFrame) -> list[str]:
    """Return one line for each model that has no rank, or whose threshold rests on little."""
    told: dict[str, list[str]] = {}
    for row in rows_of(board):
        place, flags = f"{name('model')(row)} on {dataset(row)}", flags_of(row)
        own = [flag for flag in flags if flag in OF_MODELS]
        if own:
            told.setdefault(f"{place} has no rank", own)
        if FEW_FALSE_MATCHES in flags:
            told.setdefault(place, [FEW_FALSE_MATCHES])
    return [
        f"{place}: " + "; ".join(f"{flag_sign(flag)} ({flag})" for flag in flags)
        for place, flags in told.items()
    ]


def thresholds_on(board: pd.DataFrame) -> list[str]:
    """Return one line for each verifier: its threshold, and its rates on the clean images of the attacked."""
    told = {}
    for row in rows_of(board):
        if not is_null(row.get("threshold")):
            threshold, fmr, fnmr = (column.text(row) for column in _POINTS)
            told[name("model")(row), dataset(row)] = f"{threshold}, with FMR {fmr} % and FNMR {fnmr} % here"
    return [f"{model} on {data} accepts below {rates}" for (model, data), rates in told.items()]


def flag_sign(name: str) -> str:
    """Say what was seen where a flag is raised."""
    return FLAGS[name].sign if name in FLAGS else "a flag of another version"


def flag_hint(name: str, board: pd.DataFrame | None = None) -> str:
    """Say what was seen, and which attacks that are not on the board would tell more."""
    told = hint(name, () if board is None else {*board["attack"]})
    return "; ".join(filter(None, (flag_sign(name), told)))


def flag_text(name: str, board: pd.DataFrame | None = None) -> str:
    """Say in one line what was seen, what to do, and where to read more.

    Args:
        board: the attacks on it are not proposed.
    """
    told = hint(name, () if board is None else {*board["attack"]})
    remedy = FLAGS[name].remedy if name in FLAGS else ""
    return "; ".join(filter(None, (flag_sign(name), remedy, told))) + f" (docs/flags/{name}.md)"


def rows_of(board: pd.DataFrame) -> list[dict[Any, Any]]:
    """Return the board's rows, top down."""
    return board.to_dict("records")


def notes(board: pd.DataFrame) -> list[str]:
    """Return one line for each row with an error."""
    told = []
    for row in rows_of(board):
        if not is_null(row.get("error")):
            place = ", ".join(name(part)(row) for part in ("dataset", "goal", "model", "attack", "threat"))
            told.append(f"{place}: {name('error')(row)}")
    return told


def provenance(suite: Mapping[str, Any]) -> str:
    """Write suite, date, versions and revision in one line, as far as they are known."""
    parts = [f"Suite {suite.get('name') or NULL}"]
    if suite.get("created"):
        parts.append(str(suite["created"]))
    versions = suite.get("versions")
    if isinstance(versions, Mapping):
        parts += [f"{package} {version}" for package, version in versions.items() if version]
    if suite.get("revision"):
        parts.append(f"revision {suite['revision']}")
    return ", ".join(" ".join(part.split()) for part in parts)
