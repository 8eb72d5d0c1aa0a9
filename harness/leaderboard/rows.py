"""A row of the board is computed here from the cases that it is of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from harness.leaderboard.worst_case import CLOSEST
from harness.metrics import CORE, NOTHING, SPECS, Estimate, rate
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


def count_columns() -> list[str]:
    """Return the board's columns that say of how many cases a core metric with an interval is."""
    return [f"{column_name(name)}_n" for name, spec in SPECS.items() if spec.interval]


def metric_cells(name: str, spec: MetricSpec, estimate: Estimate) -> Row:
    """Return what a row has in these columns."""
    return dict(zip(metric_columns(name, spec), (estimate.value, estimate.low, estimate.high), strict=False))


def attack_row(cases: Outcomes, planned: int) -> Row:
    """Return the numbers of one attack under one threat: all metrics of its cases."""
    row = _counts(cases, cases.covered, planned)
    for metric in CORE:
        row |= _core(metric, CORE[metric](cases))
    for metric, estimate in _rates(cases):
        row |= _core(metric, estimate)
    return row


def clean_row(cases: Outcomes, planned: int) -> Row:
    """Return the numbers of the model without attack: what it classifies correctly stays so.

    The row covers all cases of which an attack's record, errors included, says whether they were classified
    correctly.
    """
    clean = _clean(cases) if cases.known.any() else NOTHING
    row = _counts(cases, cases.known, planned)
    return row | _core("clean-accuracy", clean) | _core("robust-accuracy", clean)


def worst_row(cases: Outcomes, planned: int) -> Row:
    """Return the numbers of a pointwise worst case over attacks.

    It has the rates, and the metrics of the nearest adversarials alone; what the attacks cost has no worst
    case.
    """
    row = _counts(cases, cases.covered, planned)
    for metric, estimate in _rates(cases):
        row |= _core(metric, estimate)
    if row["coverage"]:
        row |= _core("clean-accuracy", _clean(cases))
    for metric, spec in SPECS.items():
        if _is_of_nearest(spec):
            row |= _core(metric, CORE[metric](cases))
    return row


def _clean(cases: Outcomes) -> Estimate:
    """Return the clean accuracy where it is known; its interval allows for the other cases."""
    known, clusters = cases.known, cases.clusters
    found = rate(cases.correct[known], clusters[known])
    return found if known.all() else _between(found, cases.correct, ~known, cases)


def _rates(cases: Outcomes) -> Iterator[tuple[str, Estimate]]:
    """Give the rates of a row, whose intervals allow for the open cases: those without an outcome.

    What is open is no random sample: a success would have closed it in a worst case, and what makes an attack
    or a model crash has to do with the image. Where cases are open the intervals therefore reach from what
    the rate would be if they all went one way to what it would be if they all went the other. Cases without
    a record of any attack are not among these: nothing is known of them.
    """
    open_, unknown = cases.open, cases.open & ~cases.known
    robust, right = cases.correct & ~cases.success & ~open_, cases.correct | unknown
    wrong = (cases.known & ~cases.correct) | unknown
    for metric, among, hits, possible in (
        ("clean-accuracy", cases.known | unknown, cases.correct, unknown),
        ("robust-accuracy", cases.known | unknown, robust, right & open_),
        ("success-rate", right, cases.success, open_),
        ("natural-rate", wrong, cases.success, open_),
    ):
        found = CORE[metric](cases)
        yield metric, _between(found, hits, possible, cases, among) if possible.any() and found.n else found


def _between(
    found: Estimate, hits: Flags, possible: Flags, cases: Outcomes, among: Flags | slice = slice(None)
) -> Estimate:
    """Return an estimate whose interval reaches over what the possible hits could make of it."""
    clusters = cases.clusters[among]
    least, most = rate(hits[among], clusters), rate((hits | possible)[among], clusters)
    return replace(found, low=least.low, high=most.high)


def _is_of_nearest(spec: MetricSpec) -> bool:
    """Say whether a metric reads, beside outcomes, only what the worst case knows of its adversarials."""
    read = {*spec.columns} - {*OUTCOMES}
    return bool(read) and read <= {*CLOSEST}


def _core(metric: str, estimate: Estimate) -> Row:
    row = metric_cells(metric, SPECS[metric], estimate)
    if SPECS[metric].interval:
        row[f"{column_name(metric)}_n"] = estimate.n
    return row


def _counts(cases: Outcomes, covered: Flags, planned: int) -> Row:
    count = int(np.count_nonzero(covered))
    images, clusters = (int(np.count_nonzero(np.bincount(codes))) for codes in (cases.images, cases.clusters))
    coverage = count / planned if planned else 0.0
    return {"n": planned, "images": images, "clusters": clusters, "coverage": coverage}
