"""Metrics are numbers of a table of records; this package is also the plugin "core", which registers them."""

from __future__ import annotations

from harness.hookspecs import hookimpl
from harness.metrics.core import (
    CORE,
    SPECS,
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
    "SPECS",
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


@hookimpl
def harness_metrics() -> list[MetricSpec]:
    """Return the metrics of every board."""
    return list(SPECS.values())


@hookimpl
def harness_analyses() -> list[AnalysisSpec]:
    """Return the analyses of the core, which any suite may ask for, whatever it attacks."""
    return [
        AnalysisSpec(
            name="success-versus-cost",
            summary="share of cases on which the attack succeeded after so many passes, by model and attack",
            run="harness.analysis.cost_curve:run",
        )
    ]
