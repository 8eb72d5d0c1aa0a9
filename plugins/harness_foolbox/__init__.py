"""This plugin runs Foolbox's attacks in the harness, and shows the harness's models to Foolbox (optional)."""

from __future__ import annotations

from harness.hookspecs import hookimpl
from harness.specs import AttackSpec, ConverterSpec
from harness_foolbox.table import ATTACKS, Bridged


def _spec(row: Bridged) -> AttackSpec:
    return AttackSpec(
        name=row.name,
        summary=row.summary,
        source=f"{row.source}; as Foolbox computes it",
        run=f"harness_foolbox.attacks:{row.name}",
        access=row.access,
        norms=row.norms,
        budget=row.budget,
        passes=row.passes,
        library="foolbox",
    )


@hookimpl
def harness_attacks() -> list[AttackSpec]:
    """Return the attacks of Foolbox; without Foolbox, they are listed, and say how to install it."""
    return [_spec(row) for row in ATTACKS]


@hookimpl
def harness_converters() -> list[ConverterSpec]:
    """Return the converter behind ``harness.to_foolbox(model)``."""
    return [
        ConverterSpec(
            name="foolbox",
            summary="a model as a model of Foolbox",
            source="https://foolbox.readthedocs.io",
            run="harness_foolbox.models:to_foolbox",
        )
    ]
