"""Metrics: numbers of a table of records; this module is also the plugin "core", which registers them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np

from harness.estimates import GROUPS as GROUPS
from harness.estimates import NOTHING as NOTHING
from harness.estimates import Estimate as Estimate
from harness.estimates import effective_size as effective_size
from harness.estimates import mean as mean
from harness.estimates import rate as rate
from harness.estimates import wilson as wilson
from harness.hookspecs import hookimpl
from harness.outcomes import Outcomes, as_outcomes
from harness.specs import AnalysisSpec, MetricSpec

if TYPE_CHECKING:
    import pandas as pd

    Records = pd.DataFrame | Outcomes

Direction = Literal["higher is more robust", "lower is more robust", "neither"]


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

_OUTCOME = ("sample_id", "error", "clean_correct", "success")


@hookimpl
def harness_metrics() -> list[MetricSpec]:
    """The metrics of every board."""

    def spec(
        name: str, summary: str, *columns: str, unit: str = "", direction: Direction = "neither"
    ) -> MetricSpec:
        run = f"{__name__}:{name.replace('-', '_')}"
        return MetricSpec(
            name=name,
            summary=summary,
            run=run,
            columns=(*_OUTCOME, *columns),
            unit=unit,
            direction=direction,
        )

    higher: Direction = "higher is more robust"
    lower: Direction = "lower is more robust"
    return [
        spec("clean-accuracy", "share of cases that are right before the attack"),
        spec("robust-accuracy", "share of all cases that are right and stay so", direction=higher),
        spec("success-rate", "successes over the cases that were right before the attack", direction=lower),
        spec("natural-rate", "successes over the cases that were wrong before the attack"),
        spec(
            "transfer-rate",
            "of the adversarials that fooled the surrogate, the share that fools this model",
            "surrogate_success",
            direction=lower,
        ),
        spec("valid-rate", "share of images that keep to box, budget and region", "valid"),
        spec("mean-l2", "mean L2 distance of the adversarials", "l2", direction=higher),
        spec("mean-linf", "mean L-infinity distance of the adversarials", "linf", direction=higher),
        spec("mean-pass", "mean perceptual similarity of the adversarials", "pass", direction=lower),
        spec("mean-forwards", "mean forward passes per case", "forwards", unit="passes"),
        spec("mean-backwards", "mean backward passes per case", "backwards", unit="passes"),
        spec("mean-seconds", "mean time per case", "seconds", unit="s"),
        spec("forwards-per-success", "forward passes of all cases per success", "forwards", unit="passes"),
        spec("backwards-per-success", "backward passes of all cases per success", "backwards", unit="passes"),
        spec("seconds-per-success", "time of all cases per success", "seconds", unit="s"),
    ]


@hookimpl
def harness_analyses() -> list[AnalysisSpec]:
    """The analyses of the core: of any suite, whatever it attacks."""
    return [
        AnalysisSpec(
            name="success-versus-cost",
            summary="share of cases broken after so many passes, by model and attack",
            run="harness.cost_curve:run",
        )
    ]
