"""The contracts of metrics, analyses and converters find every broken promise; sound ones pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import harness
from harness.catalog import Plugin
from harness.testing import analysis_checks, converter_checks, findings, metric_checks, results_of
from harness.testing.contract import Case, Given, Result

from . import broken_measurements as broken


def given(spec: Any, function: Callable[..., Any]) -> Any:
    return Given(spec, Plugin("given", "given", "0"), spec.run, function)


def cases_of(function: Callable[..., Any], kind: str, columns: tuple[str, ...] = ()) -> list[Case]:
    said = {"name": function.__name__.replace("_", "-"), "summary": "", "run": f"tests:{function.__name__}"}
    if kind == "metric":
        names = columns or ("sample_id", "success", "linf")
        return metric_checks(given(harness.MetricSpec(**said, columns=names), function))  # type: ignore[arg-type]
    if kind == "analysis":
        return analysis_checks(given(harness.AnalysisSpec(**said), function))
    return converter_checks(given(harness.ConverterSpec(**said), function))


def checked(function: Callable[..., Any], kind: str, columns: tuple[str, ...] = ()) -> list[Result]:
    return [result for group in results_of(cases_of(function, kind, columns)) for result in group]


@pytest.mark.parametrize(
    ("function", "kind", "passed"),
    [
        (broken.share, "metric", 4),
        (broken.tally, "analysis", 3),
        (broken.says_why, "analysis", 3),
        (broken.shows, "converter", 6),
        (broken.shows_probabilities, "converter", 6),
        (broken.for_no_attributes, "converter", 3),
    ],
)
def test_sound_ones_pass(function: Callable[..., Any], kind: str, passed: int) -> None:
    results = checked(function, kind)
    assert [result for result in results if result.status == "failed"] == []
    assert sum(result.status == "passed" for result in results) == passed


@pytest.mark.parametrize(
    ("function", "kind", "check", "line"),
    [
        (broken.raises_on_nothing, "metric", "estimates", "return harness.metrics.NOTHING"),
        (broken.divides_by_nothing, "metric", "estimates", "return finite numbers, or None"),
        (broken.returns_a_number, "metric", "estimates", "returned float; return a harness.metrics.Estimate"),
        (broken.returns_text, "metric", "estimates", "a limit is '0.5'; return finite numbers"),
        (broken.swaps_the_limits, "metric", "estimates", "return the limits in the order low, high"),
        (broken.counts_too_many, "metric", "estimates", "n is 1000 of 57 records"),
        (
            broken.reads_another_column,
            "metric",
            "estimates",
            "column 'l2', which its spec does not declare; add it",
        ),
        (broken.takes_the_first, "metric", "repeatable", "in another order give"),
        (broken.draws, "metric", "repeatable", "in a second call give"),
        (broken.fills_in_place, "metric", "inputs", "changes the table in place; work on a copy"),
        (broken.needs_a_success, "analysis", "few-records", "return fewer rows, or raise a HarnessError"),
        (
            broken.needs_a_record,
            "analysis",
            "few-records",
            "on a folder with nothing attacked yet: it raised",
        ),
        (broken.returns_a_frame, "analysis", "few-records", "returned DataFrame; return a harness.Analysis"),
        (broken.returns_rows, "analysis", "few-records", "its table is list; make it a DataFrame"),
        (broken.numbers_its_columns, "analysis", "table", "give each a name of its own"),
        (broken.holds_objects, "analysis", "table", "use plain columns, without an index"),
        (broken.counts_its_calls, "analysis", "repeatable", "a second call returns another table"),
        (broken.writes_beside, "analysis", "repeatable", "return what is to be written"),
        (broken.rounds, "converter", "answers", "without rounding or clipping"),
        (broken.clips, "converter", "answers", "without rounding or clipping"),
        (broken.drops_a_class, "converter", "answers", "one number per class"),
        (broken.reverses, "converter", "answers", "decides otherwise than the model on 8 of 8 images"),
        (broken.answers_with_words, "converter", "answers", "answers with list; answer with numbers"),
        (broken.fails, "converter", "answers", "raise a ModelError for models that it is not for"),
        (broken.shows_all, "converter", "access", "answer with a one-hot row"),
        (broken.leaves_eval_mode, "converter", "inputs", "restore them after each call"),
        (broken.trains, "converter", "inputs", "changes the model's weights or code"),
    ],
)
def test_a_broken_promise_is_found(function: Callable[..., Any], kind: str, check: str, line: str) -> None:
    (finding,) = findings(checked(function, kind))
    assert finding.check == check
    assert line in finding.line
    assert ";" in finding.line
    assert "\n" not in finding.line


def test_a_column_that_no_record_has_is_found() -> None:
    results = checked(broken.share, "metric", ("sample_id", "success", "linf", "linff"))
    (finding,) = findings(results)
    assert finding.check == "columns"
    assert 'has the column "linff"' in finding.line
    assert 'did you mean "linf"?' in finding.line
