"""The plugin contract: one hook per kind of thing, each returning specs and importing none of their code."""

from __future__ import annotations

from collections.abc import Sequence

import pluggy

from harness.specs import (
    AnalysisSpec,
    AttackSpec,
    ConverterSpec,
    DatasetSpec,
    MeasureSpec,
    MetricSpec,
    ModelSpec,
)

hookspec = pluggy.HookspecMarker("harness")
hookimpl = pluggy.HookimplMarker("harness")


@hookspec
def harness_datasets() -> Sequence[DatasetSpec]:  # type: ignore[empty-body]
    """Return the data sets that this plugin provides."""


@hookspec
def harness_models() -> Sequence[ModelSpec]:  # type: ignore[empty-body]
    """Return the models that this plugin provides."""


@hookspec
def harness_attacks() -> Sequence[AttackSpec]:  # type: ignore[empty-body]
    """Return the attacks that this plugin provides."""


@hookspec
def harness_measures() -> Sequence[MeasureSpec]:  # type: ignore[empty-body]
    """Return the measures, numbers per image pair, that this plugin provides."""


@hookspec
def harness_metrics() -> Sequence[MetricSpec]:  # type: ignore[empty-body]
    """Return the metrics, numbers per board row, that this plugin provides."""


@hookspec
def harness_analyses() -> Sequence[AnalysisSpec]:  # type: ignore[empty-body]
    """Return the analyses, tables and figures per suite, that this plugin provides."""


@hookspec
def harness_converters() -> Sequence[ConverterSpec]:  # type: ignore[empty-body]
    """Return the converters, by which other libraries see the harness's models, that this plugin provides."""
