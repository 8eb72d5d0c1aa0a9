"""Metrics are numbers of a table of records; this package is also the plugin "core", which registers them."""

from __future__ import annotations

from harness.hookspecs import hookimpl
from harness.metrics.core import (
    CORE as CORE,
    SPECS as SPECS,
    backwards_per_success as backwards_per_success,
    clean_accuracy as clean_accuracy,
    forwards_per_success as forwards_per_success,
    mean_backwards as mean_backwards,
    mean_forwards as mean_forwards,
    mean_l2 as mean_l2,
    mean_linf as mean_linf,
    mean_pass as mean_pass,
    mean_seconds as mean_seconds,
    natural_rate as natural_rate,
    robust_accuracy as robust_accuracy,
    seconds_per_success as seconds_per_success,
    success_rate as success_rate,
    transfer_rate as transfer_rate,
    valid_rate as valid_rate,
)
from harness.metrics.estimates import (
    GROUPS as GROUPS,
    NOTHING as NOTHING,
    Estimate as Estimate,
    effective_size as effective_size,
    mean as mean,
    rate as rate,
    wilson as wilson,
)
from harness.specs import AnalysisSpec, MetricSpec


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
