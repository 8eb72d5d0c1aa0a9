"""The check's rows, its time, its table and its verdict."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

Status = Literal["same", "measured", "differs", "failed", "skipped"]
BAD = ("differs", "failed")


@dataclass(frozen=True)
class Row:
    """A Row is one thing that was checked."""

    part: str
    name: str
    status: Status
    note: str = ""
    figures: dict[str, Any] = field(default_factory=dict)


class Report:
    """A Report collects rows as long as there is time; what fails is a row, and the rest goes on."""

    def __init__(self, until: float, show: Callable[[str], None] = print) -> None:
        """Begin nothing new after ``until``, a time of ``time.perf_counter``."""
        self.rows: list[Row] = []
        self._start, self._until, self._show = time.perf_counter(), until, show

    @property
    def spent(self) -> float:
        """Return the seconds since the start."""
        return time.perf_counter() - self._start

    def add(self, row: Row) -> None:
        """Add a row, and show it."""
        self.rows.append(row)
        self._show(f"{self.spent:6.1f} s  {row.part:<10} {row.name:<34} {row.status:<9} {row.note}")

    def check(self, part: str, name: str, work: Callable[[], Row | list[Row]]) -> None:
        """Run some work that returns rows, unless the time is over; its failure becomes a row."""
        if time.perf_counter() > self._until:
            self.add(Row(part, name, "skipped", "the time is over"))
            return
        begun = self.spent
        try:
            found = work()
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            said = " ".join(str(error).split())[:200]
            place = f"{Path(where.filename).name}:{where.lineno}"
            self.add(Row(part, name, "failed", f"{type(error).__name__}: {said} ({place})"))
            return
        for row in found if isinstance(found, list) else [found]:
            row.figures.setdefault("seconds", round(self.spent - begun, 2))
            self.add(row)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Turn an error between the checks of a part into a row, so that other parts still run."""
        try:
            yield
        except Exception as error:
            said = " ".join(str(error).split())[:200]
            self.add(Row(name, "preparation", "failed", f"{type(error).__name__}: {said}"))

    @property
    def wrong(self) -> list[Row]:
        """Return the rows that differ or failed."""
        return [row for row in self.rows if row.status in BAD]

    def verdict(self, devices: Sequence[str]) -> str:
        """Return one line that says what the check came to."""
        same, skipped = (sum(row.status == status for row in self.rows) for status in ("same", "skipped"))
        left = f"; {skipped} were skipped" if skipped else ""
        if self.wrong:
            names = ", ".join(f"{row.part} {row.name}" for row in self.wrong[:5])
            more = ", …" if len(self.wrong) > 5 else ""
            return f"NOT THE SAME: {len(self.wrong)} rows differ or failed ({names}{more}){left}"
        if devices[0] == devices[1]:
            return f"NO GPU: nothing was compared, but all {len(self.rows) - skipped} rows ran{left}"
        return f"THE SAME on {devices[0]} and {devices[1]}: all {same} rows that were compared{left}"


def write(path: Path, machine: dict[str, Any], report: Report, verdict: str) -> None:
    """Write everything as JSON."""
    told = {
        "verdict": verdict,
        "seconds": round(report.spent, 1),
        "machine": machine,
        "rows": [asdict(row) for row in report.rows],
    }
    path.write_text(json.dumps(told, indent=1, allow_nan=False, default=str) + "\n", encoding="utf-8")


def table(rows: list[Row]) -> str:
    """Return the rows with their figures as a Markdown table."""
    lines = ["| part | what | status | figures | note |", "|---|---|---|---|---|"]
    for row in rows:
        figures = ", ".join(f"{name} {_short(value)}" for name, value in row.figures.items())
        lines.append(f"| {row.part} | {row.name} | {row.status} | {figures} | {row.note} |")
    return "\n".join(lines)


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
