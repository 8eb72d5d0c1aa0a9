"""Attacks: FFA and FGS, PGD, CW-L2, gradient descent, patches, and the noise that any attack must beat."""

from __future__ import annotations

from harness.hookspecs import hookimpl
from harness.specs import AttackSpec
from harness_attacks.attack_specs import GRADIENT_ATTACKS, NOISE, PATCH_ATTACKS


@hookimpl
def harness_attacks() -> list[AttackSpec]:
    """The attacks of this plugin."""
    return [*GRADIENT_ATTACKS, *PATCH_ATTACKS, NOISE]
