"""Progress is shown as a rate and the time left on a terminal; elsewhere nothing is printed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class _Rate(ProgressColumn):
    """The rate column shows cases per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f}/s" if speed else "")


class Reporter:
    """A reporter shows trainings and attacks on standard error, and is quiet where that is no terminal."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),  # labels have brackets
            BarColumn(),
            MofNCompleteColumn(),
            TaskProgressColumn(),
            _Rate(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )

    def __enter__(self) -> Reporter:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def say(self, line: str) -> None:
        """Print a line that stays, where there is a terminal."""
        if self._console.is_terminal:
            self._console.print(line, highlight=False, markup=False)

    @contextlib.contextmanager
    def training(self, label: str) -> Iterator[Callable[[float, str], None]]:
        """Show a bar for a training; yield the function that moves it."""
        task = self._bars.add_task(f"training {label}", total=100, start=True)

        def report(share: float, word: str) -> None:
            self._bars.update(task, completed=round(100 * share), description=f"training {label}: {word}")

        try:
            yield report
        finally:
            self._bars.remove_task(task)

    def attacking(self, label: str, cases: int) -> Callable[[int], None]:
        """Show a bar for a cell until all its cases are counted; return the function that counts them."""
        if not cases:
            return lambda done: None
        task, left = self._bars.add_task(label, total=cases), cases

        def count(done: int) -> None:
            nonlocal left
            left -= done
            self._bars.advance(task, done)
            if not left:
                self._bars.remove_task(task)

        return count
