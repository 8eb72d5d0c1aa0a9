"""A row of the board is computed here from the cases that it is of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from harness.leaderboard.worst_case import CLOSEST
from harness.metrics import CORE, SPECS, Estimate, rate
from harness.metrics.outcomes import OUTCOMES, Flags, Outcomes
from harness.specs import MetricSpec

Row = dict[str, Any]


def column_name(metric: str) -> str:
    """Return the board's column of a metric."""
    return metric.replace("-", "_").replace("/", "_")


def metric_columns(name: str, spec: MetricSpec) -> list[str]:
    """Return the board's columns of a metric: its number and, where it has an interval, the two ends."""
    column = column_name(name)
    return [column, f"{column}_low", f"{column}_high"] if spec.interval else [column]


def metric_cells(name: str, spec: MetricSpec, estimate: Estimate) -> Row:
    """Return what a row has in these columns."""
    return dict(zip(metric_columns(name, spec), (estimate.value, estimate.low, estimate.high), strict=False))


def attack_row(cases: Outcomes, planned: int) -> Row:
    """Return the numbers of one attack under one threat: all metrics of its cases."""
    row = _counts(cases, cases.covered, planned)
    for metric in CORE:
        row |= _core(metric, CORE[metric](cases))
    return row


def clean_row(cases: Outcomes, planned: int) -> Row:
    """Return the numbers of the model without attack: what it classifies correctly stays so.

    The row covers all cases of which an attack's record, errors included, says whether they were classified
    correctly.
    """
    clean = rate(cases.correct[cases.known], cases.images[cases.known])
    row = _counts(cases, cases.known, planned)
    return row | _core("clean-accuracy", clean) | _core("robust-accuracy", clean)


def worst_row(cases: Outcomes, planned: int) -> Row:
    """Return the numbers of the pointwise worst case over all attacks.

    It has the rates, and the metrics of the nearest adversarials alone; what the attacks cost has no worst
    case.
    """
    row = _counts(cases, cases.covered, planned)
    clean = rate(cases.correct[cases.known], cases.images[cases.known]).value
    row["clean_accuracy"] = clean if row["coverage"] else None
    for metric, estimate in _worst_rates(cases).items():
        row |= _core(metric, estimate)
    for metric, spec in SPECS.items():
        if _is_of_nearest(spec):
            row |= _core(metric, CORE[metric](cases))
    return row


def _worst_rates(cases: Outcomes) -> dict[str, Estimate]:
    """Return the rates of the worst case, whose intervals allow for the cases that are not covered.

    What is not covered here is no random sample: a success elsewhere would have covered it, so the covered
    cases look less robust than all are. Where coverage is incomplete the intervals therefore reach from what
    the rate would be without any of the cases that are not covered to what it would be with all of them.
    Cases without a record of any attack are not among these: nothing is known of them.
    """
    known, open_ = cases.known, cases.known & ~cases.covered
    estimates = {}
    for metric, among, hits, possible in (
        ("robust-accuracy", known, cases.correct & ~cases.success & ~open_, cases.correct & open_),
        ("success-rate", known & cases.correct, cases.success, open_),
        ("natural-rate", known & ~cases.correct, cases.success, open_),
    ):
        estimate = CORE[metric](cases)
        if open_.any() and estimate.n:
            images = cases.images[among]
            least, most = rate(hits[among], images), rate((hits | possible)[among], images)
            estimate = replace(estimate, low=least.low, high=most.high)
        estimates[metric] = estimate
    return estimates


def _is_of_nearest(spec: MetricSpec) -> bool:
    """Say whether a metric reads, beside outcomes, only what the worst case knows of its adversarials."""
    read = {*spec.columns} - {*OUTCOMES}
    return bool(read) and read <= {*CLOSEST}


def _core(metric: str, estimate: Estimate) -> Row:
    return metric_cells(metric, SPECS[metric], estimate)


def _counts(cases: Outcomes, covered: Flags, planned: int) -> Row:
    count = int(np.count_nonzero(covered))
    images = int(np.unique(cases.images).size)
    return {"n": planned, "images": images, "coverage": count / planned if planned else 0.0}
