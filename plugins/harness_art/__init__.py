"""This plugin runs the Adversarial Robustness Toolbox's attacks in the harness, and shows it our models."""

from __future__ import annotations

from harness.hookspecs import hookimpl
from harness.specs import AttackSpec, ConverterSpec
from harness_art.bridged import Bridged
from harness_art.table import ATTACKS


def _spec(row: Bridged) -> AttackSpec:
    return AttackSpec(
        name=row.name,
        summary=row.summary,
        source=f"{row.source}; as the Adversarial Robustness Toolbox computes it",
        run=f"harness_art.attacks:{row.name}",
        access=row.access,
        norms=row.norms,
        budget=row.budget,
        traits=frozenset({"universal"}) if row.universal else frozenset(),
        passes=row.passes,
        library="adversarial-robustness-toolbox",
    )


@hookimpl
def harness_attacks() -> list[AttackSpec]:
    """Return one spec per evasion attack of the Toolbox for image classifiers in torch."""
    return [_spec(row) for row in ATTACKS]


@hookimpl
def harness_converters() -> list[ConverterSpec]:
    """Return the converter behind ``harness.to_art(model)``."""
    return [
        ConverterSpec(
            name="art",
            summary="a model as an estimator of the Adversarial Robustness Toolbox",
            source="https://adversarial-robustness-toolbox.readthedocs.io",
            run="harness_art.estimator:to_art",
        )
    ]
