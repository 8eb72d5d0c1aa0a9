"""These specs describe the standard ensemble and its members; they import none of the attacks' code."""

from __future__ import annotations

from harness.specs import AttackSpec
from harness_attacks import standard_costs as costs

_ENSEMBLE = "Croce and Hein 2020, Reliable Evaluation of Adversarial Robustness"

STANDARD_ATTACKS = (
    AttackSpec(
        name="apgd",
        summary="projected gradient descent that chooses its own steps, on one of four losses",
        source=f"{_ENSEMBLE}, section 3, algorithm 1",
        run="harness_attacks.apgd:apgd",
        norms=("linf", "l2"),
        passes=costs.passes_of_apgd,
    ),
)
"""The members of the standard ensemble, which are attacks of their own, and the ensemble."""
