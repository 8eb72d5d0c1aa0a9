"""Benchmarks run with all tests, at a tiny size; when they are timed, one table has every figure and bar."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parent.parent
MADE = """
import pytest

FULL, TINY = 3, 1

def test_holds(report, timed, sizes, in_earnest):
    assert sizes == (FULL if in_earnest else TINY)
    done = []
    timed(lambda: done.append(sizes), rounds=sizes)
    report("quick thing", sum(done), "things", at_most=9)

def test_misses(report, sizes):
    report("slow thing", 1.5 * sizes, "s", at_most=2)
    report("large thing", 12345.6, "MB", at_most=1000)
    report("long thing", 2, "m")

def test_known(report):
    report("hard thing", 2, "times as fast", at_least=8, known_to_miss="nobody knows how")

def test_fails(report, in_earnest):
    report("lost thing", 1, "s", at_most=2)
    assert not in_earnest, "it rotted"

def test_skipped():
    pytest.skip("not here")

def test_reports_nothing():
    pass
"""
BETTER = """
FULL, TINY = 3, 1

def test_known(report):
    report("hard thing", 9, "times as fast", at_least=8, known_to_miss="nobody knows how")

def test_left_out():
    pass
"""


@pytest.fixture(autouse=True)
def _few_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run inside this one would import all plugins anew."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    # pytest-benchmark would take each run for one of xdist's, and time nothing.
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)


def run(pytester: pytest.Pytester, source: str, *options: str) -> pytest.RunResult:
    """The run of a benchmark file, by the fixtures and hooks of the benchmarks, in a folder of its own."""
    pytester.makepyfile(test_made=source)
    return pytester.runpytest("-p", "pytest_benchmark.plugin", "-p", "tests.benchmarks.conftest", *options)


def rows(result: pytest.RunResult) -> list[list[str]]:
    """The cells of the table that a run prints at its end."""
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in result.outlines if line[:1] == "│"]


def test_the_table_has_every_figure_and_every_benchmark_without_one(pytester: pytest.Pytester) -> None:
    result = run(pytester, MADE, "--benchmark-enable")
    assert rows(result) == [
        ["quick thing", "9 things", "at most 9", "held"],
        ["slow thing", "4.5 s", "at most 2", "missed"],
        ["large thing", "12,346 MB", "at most 1,000", "missed"],
        ["long thing", "2 m", "", ""],
        ["hard thing", "2 times as fast", "at least 8", "missed, expected"],
        ["lost thing", "1 s", "at most 2", "held"],
        ["test_made.py::test_fails", "", "", "error: AssertionError: it rotted"],
        ["test_made.py::test_skipped", "", "", "skipped: not here"],
        ["test_made.py::test_reports_nothing", "", "", "no figure"],
    ]
    result.assert_outcomes(passed=2, failed=2, xfailed=1, skipped=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_a_bar_that_holds_though_it_is_known_to_miss_fails(pytester: pytest.Pytester) -> None:
    result = run(pytester, BETTER, "--benchmark-enable", "-k", "known")
    assert rows(result) == [["hard thing", "9 times as fast", "at least 8", "held, unexpected"]]
    result.assert_outcomes(failed=1, deselected=1)


def test_a_benchmark_that_cannot_be_imported_is_in_the_table(pytester: pytest.Pytester) -> None:
    result = run(pytester, "import nowhere", "--benchmark-enable")
    assert rows(result) == [["test_made.py", "", "", "error: ModuleNotFoundError: No module named 'nowhere'"]]
    assert result.ret == pytest.ExitCode.INTERRUPTED


def test_a_tiny_run_holds_no_bar_and_prints_no_table(pytester: pytest.Pytester) -> None:
    result = run(pytester, MADE, "--benchmark-disable")
    assert rows(result) == []
    result.assert_outcomes(passed=5, skipped=1)


def test_all_tests_are_run_with_the_benchmarks_at_their_tiny_size() -> None:
    recipe = re.search(r"^test:.*\n\t(.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert recipe
    words = recipe[1].partition("/bin/pytest ")[2].split()
    assert words
    assert not {"-k", "-m"}.intersection(words)
    assert not [word for word in words if re.match("tests|--ignore|--deselect|--benchmark", word)]
    options = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"][
        "ini_options"
    ]
    assert options["testpaths"] == ["tests"]
    assert "--benchmark-disable" in options["addopts"]
