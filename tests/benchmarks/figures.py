"""Figures that benchmarks report, the bars that they are held against, and the table that shows both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import StringIO
from math import inf
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

HEADINGS = ("benchmark", "measured", "bar", "held or missed")


class BarError(AssertionError):
    """A figure misses its bar, or holds one that it is known to miss."""


@dataclass(frozen=True)
class Figure:
    """A measured number, and the bar that it has to hold where it has one."""

    name: str
    measured: float
    unit: str
    at_least: float = -inf
    at_most: float = inf
    known_to_miss: str = ""
    """Why it misses a bar that stands all the same; empty where it has to hold it."""

    @property
    def bar(self) -> str:
        """The bar in words; empty where there is none."""
        least = [f"at least {_short(self.at_least)}"] if self.at_least > -inf else []
        most = [f"at most {_short(self.at_most)}"] if self.at_most < inf else []
        return ", ".join(least + most)

    @property
    def held(self) -> bool:
        """Whether the number is inside its bar; what is not a number never is."""
        return not self.bar or self.at_least <= self.measured <= self.at_most

    @property
    def expected(self) -> bool:
        """Whether it holds its bar, or is known to miss it and does."""
        return self.held is not bool(self.known_to_miss)

    @property
    def verdict(self) -> str:
        """Held or missed, and whether it is known to miss; empty where there is no bar."""
        known = (", unexpected" if self.held else ", expected") if self.known_to_miss else ""
        return ("held" if self.held else "missed") + known if self.bar else ""

    def __str__(self) -> str:
        return f"{self.name}: {_short(self.measured)} {self.unit}, bar {self.bar}: {self.verdict}"


def check(figures: Iterable[Figure]) -> None:
    """Hold all figures against their bars; pytest counts one that is known to miss as an expected failure.

    Raises:
        BarError: at least one is not as expected; the message has them all.
    """
    figures = tuple(figures)
    wrong = [str(figure) for figure in figures if not figure.expected]
    if wrong:
        raise BarError("; ".join(wrong))
    reasons = [figure.known_to_miss for figure in figures if figure.known_to_miss]
    if reasons:
        pytest.xfail("; ".join(reasons))


def table(reports: Iterable[Any]) -> str:
    """All figures of pytest's reports beside their bars, and the benchmarks without any, in order of time."""
    shown = Table(*HEADINGS)
    for report in sorted(reports, key=lambda report: getattr(report, "start", 0.0)):
        for row in _rows(report):
            shown.add_row(*row)
    text = StringIO()
    Console(file=text, width=160, markup=False).print(shown)
    return text.getvalue()


def _rows(report: Any) -> Iterator[tuple[str, str, str, str]]:
    """The rows of a report: one a figure, and one where the benchmark failed, was skipped or gave none."""
    called = getattr(report, "when", "collect") == "call"
    figures = [value for _, value in report.user_properties if isinstance(value, Figure)] if called else []
    for figure in figures:
        measured = f"{_short(figure.measured)} {figure.unit}".strip()
        yield figure.name, measured, figure.bar, figure.verdict
    name, reason = report.nodeid.rpartition("/")[2], _reason(report)
    if report.failed and not (figures and f"{BarError.__name__}: " in reason):
        yield name, "", "", f"error: {reason}"
    elif report.skipped and not hasattr(report, "wasxfail"):
        yield name, "", "", f"skipped: {reason}"
    elif called and not figures:
        yield name, "", "", "no figure"


def _reason(report: Any) -> str:
    """Why a report is no success, in one line."""
    if isinstance(report.longrepr, tuple):  # of a skip: file, line, reason
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    lines = (crash.message if crash else str(report.longrepr)).splitlines()
    return lines[0 if crash else -1].removeprefix("E   ")


def _short(number: float) -> str:
    """Three digits, or all of those before the point."""
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3g}"
