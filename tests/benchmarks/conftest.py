"""Benchmarks: each runs once at its tiny size with all tests, and in earnest under ``--benchmark-enable``.

A benchmark file names its sizes FULL and TINY. In earnest a benchmark is timed in rounds, with the memory
settings of `harness run`, its figures are held against their bars, and a table shows them all at the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any

import pytest

from harness.cli.memory import keep_freed_memory
from tests.benchmarks.figures import Figure, check, table

REPORTS = (pytest.TestReport, pytest.CollectReport)


@pytest.fixture(scope="session")
def in_earnest(request: pytest.FixtureRequest) -> bool:
    """Whether this run times: full sizes, rounds, bars and the table."""
    return bool(request.config.getoption("benchmark_enable"))


@pytest.fixture(scope="session", autouse=True)
def _as_the_command_line_does(in_earnest: bool) -> None:
    """Keep freed memory, as `harness run` does, where no tests of other folders share the process."""
    if in_earnest:
        keep_freed_memory()


@pytest.fixture(scope="module")
def sizes(request: pytest.FixtureRequest, in_earnest: bool) -> Any:
    """How large the benchmarks of a file are in this run: its FULL or its TINY."""
    return request.module.FULL if in_earnest else request.module.TINY


@pytest.fixture
def timed(request: pytest.FixtureRequest) -> Callable[..., tuple[Any, list[float]]]:
    """A function that runs work in rounds, and gives its last result and the seconds of each round."""

    def run(work: Callable[..., Any], **how: Any) -> tuple[Any, list[float]]:
        benchmark = request.getfixturevalue("benchmark")  # here: it complains where it is not used
        start = time.perf_counter()
        result = benchmark.pedantic(work, **how)
        # At the tiny size work runs once, and pytest-benchmark takes no times.
        return result, benchmark.stats.stats.data if benchmark.stats else [time.perf_counter() - start]

    return run


@pytest.fixture
def report(record_property: Callable[[str, object], None], in_earnest: bool) -> Callable[..., None]:
    """A function that takes a figure: ``report(name, measured, unit, at_least=…, at_most=…)``."""

    def record(name: str, measured: float, unit: str, **bar: Any) -> None:
        figure = Figure(name, measured, unit, **bar)
        if in_earnest:
            record_property("figure", figure)

    return record


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """A missed bar fails its benchmark only when that has ended, so that the table has all its figures."""
    result = yield
    check(value for _, value in pyfuncitem.user_properties if isinstance(value, Figure))
    return result


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print all figures and bars, held or missed, and the benchmarks that gave none."""
    if config.getoption("benchmark_enable"):
        stats = terminalreporter.stats  # by outcome; that of a passed setup or teardown has no name
        found = [report for outcome in stats if outcome for report in stats[outcome]]
        terminalreporter.section("figures and bars")
        terminalreporter.write(table(report for report in found if isinstance(report, REPORTS)))
