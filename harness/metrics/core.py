"""The core metrics are the numbers that every board has."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from harness.metrics.estimates import NOTHING, Estimate, mean, rate
from harness.metrics.outcomes import Outcomes, as_outcomes

if TYPE_CHECKING:
    import pandas as pd

    Records = pd.DataFrame | Outcomes


def clean_accuracy(records: Records) -> Estimate:
    """The share of cases that the model answers rightly before the attack; errors left out."""
    cases = as_outcomes(records)
    return rate(cases.correct[cases.covered], cases.images[cases.covered])


def robust_accuracy(records: Records) -> Estimate:
    """The share of all cases that are right before the attack and that it does not succeed on.

    Errors are left out: they are neither robust nor broken.
    """
    cases = as_outcomes(records)
    return rate((cases.correct & ~cases.success)[cases.covered], cases.images[cases.covered])


def success_rate(records: Records) -> Estimate:
    """Successes over the cases that were right before the attack; errors left out."""
    cases = as_outcomes(records)
    among = cases.covered & cases.correct
    return rate(cases.success[among], cases.images[among])


def natural_rate(records: Records) -> Estimate:
    """Successes over the cases that were wrong before the attack (natural adversarials); errors left out."""
    cases = as_outcomes(records)
    among = cases.covered & ~cases.correct
    return rate(cases.success[among], cases.images[among])


def transfer_rate(records: Records) -> Estimate:
    """Of the adversarials that fooled the model they were made on, the share that fools this one too.

    Over cases that this model had right before; none where nothing was transferred. Errors left out.
    """
    cases = as_outcomes(records)
    made = cases.values["surrogate_success"]
    among = cases.covered & cases.correct & (np.nan_to_num(made) > 0)
    return rate(cases.success[among], cases.images[among])


def valid_rate(records: Records) -> Estimate:
    """The share of judged images that keep to the box, the budget and the region."""
    cases = as_outcomes(records)
    valid = cases.values["valid"]
    among = cases.covered & ~np.isnan(valid)
    return rate(valid[among] > 0, cases.images[among])


def mean_l2(records: Records) -> Estimate:
    """Mean L2 distance of the adversarials: of successful cases that were right before the attack."""
    return _of_adversarials(records, "l2")


def mean_linf(records: Records) -> Estimate:
    """Mean L-infinity distance, in [0, 1], of successful cases that were right before the attack."""
    return _of_adversarials(records, "linf")


def mean_pass(records: Records) -> Estimate:
    """Mean perceptual similarity PASS of successful cases that were right before the attack."""
    return _of_adversarials(records, "pass")


def mean_forwards(records: Records) -> Estimate:
    """Mean forward passes per case that the attack cost; without interval."""
    return _of_all(records, "forwards")


def mean_backwards(records: Records) -> Estimate:
    """Mean backward passes per case that the attack cost; without interval."""
    return _of_all(records, "backwards")


def mean_seconds(records: Records) -> Estimate:
    """Mean seconds per case that the attack took; without interval, since a batch shares its time."""
    return _of_all(records, "seconds")


def forwards_per_success(records: Records) -> Estimate:
    """Forward passes on all cases over the number of successes: what one success cost, failures included."""
    return _per_success(records, "forwards")


def backwards_per_success(records: Records) -> Estimate:
    """Backward passes on all cases over the number of successes."""
    return _per_success(records, "backwards")


def seconds_per_success(records: Records) -> Estimate:
    """Seconds spent on all cases over the number of successes."""
    return _per_success(records, "seconds")


def _of_adversarials(records: Records, column: str) -> Estimate:
    cases = as_outcomes(records)
    among = cases.covered & cases.correct & cases.success
    return mean(cases.values[column][among], cases.images[among])


def _of_all(records: Records, column: str) -> Estimate:
    cases = as_outcomes(records)
    values = cases.values[column][cases.covered]
    values = values[~np.isnan(values)]
    return Estimate(float(values.mean(dtype=np.float64)), None, None, values.size) if values.size else NOTHING


def _per_success(records: Records, column: str) -> Estimate:
    """The cost of all cases that have one, over the successes among them; null where there is no success."""
    cases = as_outcomes(records)
    among = cases.covered & ~np.isnan(cases.values[column])
    successes = int(np.count_nonzero(among & cases.success))
    if not successes:
        return NOTHING
    total = float(cases.values[column][among].sum(dtype=np.float64))
    return Estimate(total / successes, None, None, int(np.count_nonzero(among)))


CORE: dict[str, Callable[[Records], Estimate]] = {
    "clean-accuracy": clean_accuracy,
    "robust-accuracy": robust_accuracy,
    "success-rate": success_rate,
    "natural-rate": natural_rate,
    "transfer-rate": transfer_rate,
    "valid-rate": valid_rate,
    "mean-l2": mean_l2,
    "mean-linf": mean_linf,
    "mean-pass": mean_pass,
    "mean-forwards": mean_forwards,
    "mean-backwards": mean_backwards,
    "mean-seconds": mean_seconds,
    "forwards-per-success": forwards_per_success,
    "backwards-per-success": backwards_per_success,
    "seconds-per-success": seconds_per_success,
}
"""The metrics of every board; a board's column is the name with underscores."""
