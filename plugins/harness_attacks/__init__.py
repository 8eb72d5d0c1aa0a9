"""This plugin has the attacks FFA, FGS, PGD, CW-L2, gradient descent, patches, and noise as a lower bound."""

from __future__ import annotations

from harness.hookspecs import hookimpl
from harness.specs import AttackSpec
from harness_attacks.attack_specs import GRADIENT_ATTACKS, NOISE, PATCH_ATTACKS
from harness_attacks.standard_specs import EXPECTED_PATCHES, STANDARD_ATTACKS


@hookimpl
def harness_attacks() -> list[AttackSpec]:
    """Return the attacks of this plugin."""
    standard = [*STANDARD_ATTACKS, *EXPECTED_PATCHES]
    return [*GRADIENT_ATTACKS, *PATCH_ATTACKS, NOISE, *standard]
