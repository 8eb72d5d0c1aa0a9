"""Metrics are numbers of a table of records; this package is also the plugin "core", which registers them."""

from __future__ import annotations

from typing import Literal

from harness.hookspecs import hookimpl
from harness.metrics.core import (
    CORE,
    backwards_per_success,
    clean_accuracy,
    forwards_per_success,
    mean_backwards,
    mean_forwards,
    mean_l2,
    mean_linf,
    mean_pass,
    mean_seconds,
    natural_rate,
    robust_accuracy,
    seconds_per_success,
    success_rate,
    transfer_rate,
    valid_rate,
)
from harness.metrics.estimates import GROUPS, NOTHING, Estimate, effective_size, mean, rate, wilson
from harness.specs import AnalysisSpec, MetricSpec

__all__ = [
    "CORE",
    "GROUPS",
    "NOTHING",
    "Estimate",
    "backwards_per_success",
    "clean_accuracy",
    "effective_size",
    "forwards_per_success",
    "harness_analyses",
    "harness_metrics",
    "mean",
    "mean_backwards",
    "mean_forwards",
    "mean_l2",
    "mean_linf",
    "mean_pass",
    "mean_seconds",
    "natural_rate",
    "rate",
    "robust_accuracy",
    "seconds_per_success",
    "success_rate",
    "transfer_rate",
    "valid_rate",
    "wilson",
]

Direction = Literal["higher is more robust", "lower is more robust", "neither"]

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
            run="harness.analysis.cost_curve:run",
        )
    ]
