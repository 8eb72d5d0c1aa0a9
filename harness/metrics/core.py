"""The core metrics are the numbers that every board has.

To add one, write its function and describe it in ``_TABLE``: every board and every export then has it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.metrics.estimates import NOTHING, Estimate, mean, rate
from harness.metrics.outcomes import OUTCOMES, Outcomes, as_outcomes
from harness.specs import MetricSpec

if TYPE_CHECKING:
    import pandas as pd

    Records = pd.DataFrame | Outcomes
    Metric = Callable[[Records], Estimate]


def clean_accuracy(records: Records) -> Estimate:
    """Return the share of cases that are classified correctly before the attack; open cases are left out."""
    cases = as_outcomes(records)
    return rate(cases.correct[cases.covered], cases.clusters[cases.covered])


def robust_accuracy(records: Records) -> Estimate:
    """Return the share of all cases that are classified correctly and on which the attack does not succeed.

    Open cases, which have no outcome, are left out: they are neither robust nor fooled. Boards give the
    bounds between which the rate lies, whatever became of them.
    """
    cases = as_outcomes(records)
    return rate((cases.correct & ~cases.success)[cases.covered], cases.clusters[cases.covered])


def success_rate(records: Records) -> Estimate:
    """Return the successes over the cases that were classified correctly; open cases are left out."""
    cases = as_outcomes(records)
    among = cases.covered & cases.correct
    return rate(cases.success[among], cases.clusters[among])


def natural_rate(records: Records) -> Estimate:
    """Return the successes over the misclassified cases (natural adversarials); open cases are left out."""
    cases = as_outcomes(records)
    among = cases.covered & ~cases.correct
    return rate(cases.success[among], cases.clusters[among])


def transfer_rate(records: Records) -> Estimate:
    """Return how many of the adversarials that fooled the model they were made on fool this one, too.

    The rate is over cases that this model classified correctly before. Nothing transferred gives NOTHING.
    Open cases are left out.
    """
    cases = as_outcomes(records, "surrogate_success")
    among = cases.covered & cases.correct & (np.nan_to_num(cases.values["surrogate_success"]) > 0)
    return rate(cases.success[among], cases.clusters[among])


def valid_rate(records: Records) -> Estimate:
    """Return the share of judged images that keep to the valid pixel range, the budget and the region."""
    cases = as_outcomes(records, "valid")
    valid = cases.values["valid"]
    among = cases.covered & ~np.isnan(valid)
    return rate(valid[among] > 0, cases.clusters[among])


def mean_l2(records: Records) -> Estimate:
    """Return the mean L2 distance of successful cases that were classified correctly before the attack."""
    return _of_adversarials(records, "l2")


def mean_linf(records: Records) -> Estimate:
    """Return the mean L-infinity distance, in [0, 1], of the same cases as ``mean_l2``."""
    return _of_adversarials(records, "linf")


def mean_pass(records: Records) -> Estimate:
    """Return the mean perceptual similarity PASS of the same cases as ``mean_l2``."""
    return _of_adversarials(records, "pass")


def mean_forwards(records: Records) -> Estimate:
    """Return the mean number of forward passes that the attack spent on a case; without interval."""
    return _of_all(records, "forwards")


def mean_backwards(records: Records) -> Estimate:
    """Return the mean number of backward passes that the attack spent on a case; without interval."""
    return _of_all(records, "backwards")


def mean_seconds(records: Records) -> Estimate:
    """Return the mean time of a case; without interval, since the cases of a batch share its time."""
    return _of_all(records, "seconds")


def forwards_per_success(records: Records) -> Estimate:
    """Return the forward passes on all cases, failures included, over the number of successes."""
    return _per_success(records, "forwards")


def backwards_per_success(records: Records) -> Estimate:
    """Return the backward passes on all cases, failures included, over the number of successes."""
    return _per_success(records, "backwards")


def seconds_per_success(records: Records) -> Estimate:
    """Return the seconds spent on all cases, failures included, over the number of successes."""
    return _per_success(records, "seconds")


def _of_adversarials(records: Records, column: str) -> Estimate:
    cases = as_outcomes(records, column)
    among = cases.covered & cases.correct & cases.success
    return mean(cases.values[column][among], cases.clusters[among])


def _of_all(records: Records, column: str) -> Estimate:
    cases = as_outcomes(records, column)
    values = cases.values[column][cases.covered]
    values = values[~np.isnan(values)]
    return Estimate(float(values.mean(dtype=np.float64)), None, None, values.size) if values.size else NOTHING


def _per_success(records: Records, column: str) -> Estimate:
    """Return the cost of all cases that have one over the successes among them; NOTHING without success."""
    cases = as_outcomes(records, column)
    values = cases.values[column]
    among = cases.covered & ~np.isnan(values)
    successes = int(np.count_nonzero(among & cases.success))
    if not successes:
        return NOTHING
    total = float(values[among].sum(dtype=np.float64))
    return Estimate(total / successes, None, None, int(np.count_nonzero(among)))


def _described(metric: Metric, summary: str, *columns: str, **more: Any) -> tuple[Metric, MetricSpec]:
    """Pair a function with its spec; ``columns`` are the record columns that it reads beside the outcome."""
    name = metric.__name__
    spec = MetricSpec(
        name=name.replace("_", "-"),
        summary=summary,
        run=f"{__name__}:{name}",
        columns=("sample_id", "error", "clean_correct", "success", *columns),
        **more,
    )
    return metric, spec


def _rate(metric: Metric, summary: str, *columns: str, **more: Any) -> tuple[Metric, MetricSpec]:
    """Pair a rate with its spec: it is shown in percent, and explained by its summary."""
    shown = {"digits": 1, "scale": 100.0, "explanation": f"{summary}."}
    return _described(metric, summary, *columns, **shown | more)


_HIGHER, _LOWER = "higher is more robust", "lower is more robust"
_DISTANCE = {
    "term": "L2, L∞, PASS",
    "explanation": "means over the adversarials of cases that were classified correctly before the attack; "
    "L∞ in units of 1/255 (8-bit levels).",
}
_COST = {
    "interval": False,
    "term": "forwards, backwards, seconds",
    "explanation": "mean cost of a case in forward passes, backward passes and time; “/ success” is the cost "
    "of all cases over the number of successes.",
}
_PASSES = _COST | {"unit": "passes", "digits": 1}
_TIME = _COST | {"unit": "s"}

_TABLE: tuple[tuple[Metric, MetricSpec], ...] = (
    _rate(
        clean_accuracy,
        "share of cases that are classified correctly before the attack",
        heading="clean %",
        shown="always",
        importance=9,
    ),
    _rate(
        robust_accuracy,
        "share of all cases that are classified correctly before the attack and on which it does not succeed",
        heading="robust %",
        shown="always",
        importance=13,
        direction=_HIGHER,
    ),
    _rate(
        success_rate,
        "successes over the cases that were classified correctly before the attack",
        heading="success %",
        shown="always",
        importance=11,
        direction=_LOWER,
    ),
    _rate(
        natural_rate,
        "successes over the cases that were misclassified before the attack",
        heading="success on misclassified %",
        importance=6,
    ),
    _rate(
        transfer_rate,
        "of the adversarials that fooled the model they were made on, those that fool this one",
        "surrogate_success",
        heading="transfer %",
        importance=6,
        direction=_LOWER,
    ),
    _rate(
        valid_rate,
        "share of images that keep to the valid pixel range, the budget and the region",
        "valid",
        shown="never",
    ),
    _described(
        mean_l2,
        "mean L2 distance of the adversarials",
        "l2",
        heading="mean L2",
        importance=7,
        direction=_HIGHER,
        **_DISTANCE,
    ),
    _described(
        mean_linf,
        "mean L-infinity distance of the adversarials",
        "linf",
        heading="mean L∞ (k/255)",
        digits=2,
        scale=255.0,
        importance=8,
        direction=_HIGHER,
        **_DISTANCE,
    ),
    _described(
        mean_pass,
        "mean perceptual similarity of the adversarials",
        "pass",
        heading="PASS",
        importance=8,
        direction=_LOWER,
        **_DISTANCE,
    ),
    _described(
        mean_forwards, "mean forward passes per case", "forwards", heading="forwards", importance=5, **_PASSES
    ),
    _described(
        mean_backwards,
        "mean backward passes per case",
        "backwards",
        heading="backwards",
        importance=3,
        **_PASSES,
    ),
    _described(mean_seconds, "mean time per case", "seconds", heading="seconds", importance=4, **_TIME),
    _described(
        forwards_per_success,
        "forward passes of all cases per success",
        "forwards",
        heading="forwards / success",
        importance=2,
        **_PASSES,
    ),
    _described(
        backwards_per_success,
        "backward passes of all cases per success",
        "backwards",
        heading="backwards / success",
        **_PASSES,
    ),
    _described(
        seconds_per_success,
        "time of all cases per success",
        "seconds",
        heading="seconds / success",
        importance=1,
        **_TIME,
    ),
)

CORE: dict[str, Metric] = {spec.name: metric for metric, spec in _TABLE}
"""The metrics of every board, in the order of their columns."""
SPECS: dict[str, MetricSpec] = {spec.name: spec for _, spec in _TABLE}
"""What each is, and how boards show it."""
NUMBERS = tuple(dict.fromkeys(c for spec in SPECS.values() for c in spec.columns if c not in OUTCOMES))
"""The record columns that they read beside the outcome."""
