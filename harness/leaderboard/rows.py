"""A row of the board is computed here from the cases that it is of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from harness.metrics import CORE, Estimate, rate
from harness.metrics.outcomes import Flags, Outcomes

Row = dict[str, Any]

WITH_INTERVAL = (
    "robust-accuracy",
    "success-rate",
    "natural-rate",
    "transfer-rate",
    "valid-rate",
    "mean-l2",
    "mean-linf",
    "mean-pass",
)
COSTS = ("forwards-per-success", "backwards-per-success", "seconds-per-success")
WITHOUT_INTERVAL = ("clean-accuracy", "mean-forwards", "mean-backwards", "mean-seconds", *COSTS)


def column_name(metric: str) -> str:
    """The board's column of a metric."""
    return metric.replace("-", "_").replace("/", "_")


def interval_columns(metric: str) -> list[str]:
    """The board's columns of a metric with its interval."""
    return [column_name(metric), f"{column_name(metric)}_low", f"{column_name(metric)}_high"]


def with_interval(metric: str, estimate: Estimate) -> Row:
    """A metric's columns of a row."""
    numbers = (estimate.value, estimate.low, estimate.high)
    return dict(zip(interval_columns(metric), numbers, strict=True))


def attack_row(cases: Outcomes, planned: int) -> Row:
    """The cases of one attack under one threat."""
    row = _counts(cases, cases.covered, planned)
    for metric in WITH_INTERVAL:
        row |= with_interval(metric, CORE[metric](cases))
    return row | {column_name(metric): CORE[metric](cases).value for metric in WITHOUT_INTERVAL}


def clean_row(cases: Outcomes, planned: int) -> Row:
    """The model left alone: what is right stays right. Covers all cases of which an attack's record, be it in
    error, says whether they were right."""
    row = _counts(cases, cases.known, planned)
    clean = rate(cases.correct[cases.known], cases.images[cases.known])
    return row | with_interval("robust-accuracy", clean) | {"clean_accuracy": clean.value}


def worst_row(cases: Outcomes, planned: int) -> Row:
    """The pointwise worst case over all attacks.

    What is not covered here is no random sample: a success elsewhere would have covered it, so the covered
    cases look more broken than all are. Where coverage is incomplete the intervals of the rates therefore
    reach to what they would be if all the cases that are not covered held, and if all fell. Cases without a
    record of any attack are not among these: nothing is known of them.
    """
    row = _counts(cases, cases.covered, planned)
    known, open_ = cases.known, cases.known & ~cases.covered
    row["clean_accuracy"] = rate(cases.correct[known], cases.images[known]).value if row["coverage"] else None
    for metric, among, hits, possible in (
        ("robust-accuracy", known, cases.correct & ~cases.success & ~open_, cases.correct & open_),
        ("success-rate", known & cases.correct, cases.success, open_),
        ("natural-rate", known & ~cases.correct, cases.success, open_),
    ):
        estimate = CORE[metric](cases)
        if open_.any() and estimate.n:
            images = cases.images[among]
            fallen, held = rate(hits[among], images), rate((hits | possible)[among], images)
            estimate = replace(estimate, low=fallen.low, high=held.high)
        row |= with_interval(metric, estimate)
    for metric in ("mean-l2", "mean-linf", "mean-pass"):
        row |= with_interval(metric, CORE[metric](cases))
    return row


def _counts(cases: Outcomes, covered: Flags, planned: int) -> Row:
    count = int(np.count_nonzero(covered))
    images = int(np.unique(cases.images).size)
    return {"n": planned, "images": images, "coverage": count / planned if planned else 0.0}
