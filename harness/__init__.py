"""face-robustness-harness: how robust is this face model, and how good is this attack?"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from harness.catalog import catalog
from harness.errors import HarnessError
from harness.run import run
from harness.specs import (
    AnalysisSpec,
    AttackSpec,
    ConverterSpec,
    DatasetSpec,
    MeasureSpec,
    MetricSpec,
    ModelSpec,
)

if TYPE_CHECKING:
    from harness import goals, threat as threats
    from harness.analysis.analysis import Analysis
    from harness.dataset import Dataset
    from harness.hookspecs import hookimpl
    from harness.judge.outcome import Outcome, attack
    from harness.model import Model, Preprocessing, wrap_model
    from harness.results import Results, read_results

__version__ = "0.1.0"

__all__ = [
    "Analysis",
    "AnalysisSpec",
    "AttackSpec",
    "ConverterSpec",
    "Dataset",
    "DatasetSpec",
    "HarnessError",
    "MeasureSpec",
    "MetricSpec",
    "Model",
    "ModelSpec",
    "Outcome",
    "Preprocessing",
    "Results",
    "attack",
    "catalog",
    "goals",
    "hookimpl",
    "read_results",
    "run",
    "threats",
    "wrap_model",
]

# Imported on first use: torch and pandas take seconds, and most commands need neither.
_LAZY = {
    "Analysis": "harness.analysis.analysis:Analysis",
    "Dataset": "harness.dataset:Dataset",
    "Model": "harness.model:Model",
    "Outcome": "harness.judge.outcome:Outcome",
    "Preprocessing": "harness.model:Preprocessing",
    "Results": "harness.results:Results",
    "attack": "harness.judge.outcome:attack",
    "goals": "harness.goals:",
    "hookimpl": "harness.hookspecs:hookimpl",
    "read_results": "harness.results:read_results",
    "threats": "harness.threat:",
    "wrap_model": "harness.model:wrap_model",
}


def __getattr__(name: str) -> Any:
    converter = name.removeprefix("to_")
    if name != converter and converter in catalog().converters:  # harness.to_art, and those of third parties
        entry = catalog().converters[converter]
        return entry.load(entry.spec.run)
    if name not in _LAZY:
        raise AttributeError(f"module harness has no attribute {name!r}")
    module_name, _, attribute = _LAZY[name].partition(":")
    module = importlib.import_module(module_name)
    return getattr(module, attribute) if attribute else module
