"""These specs describe the standard ensemble and its members; they import none of the attacks' code."""

from __future__ import annotations

from harness.specs import AttackSpec
from harness_attacks import standard_costs as costs

_ENSEMBLE = "Croce and Hein 2020, Reliable Evaluation of Adversarial Robustness"

_MASKED = ("zero-gradients", "noise-as-strong", "unbounded-below-100", "not-rising-with-budget")
"""Flags of gradients that are masked or lead nowhere: a search that asks for scores alone needs none."""
_SUBSTITUTE = {"zero-gradients": "bpda = true", "randomised-model": "eot = 10"}
"""What an attack needs that is to follow gradients in spite of these flags."""

STANDARD_ATTACKS = (
    AttackSpec(
        name="apgd",
        summary="projected gradient descent that chooses its own steps, on one of four losses",
        source=f"{_ENSEMBLE}, section 3, algorithm 1",
        run="harness_attacks.apgd:apgd",
        norms=("linf", "l2"),
        passes=costs.passes_of_apgd,
        tells=_SUBSTITUTE,
    ),
    AttackSpec(
        name="square-attack",
        summary="a search by random squares, which asks for scores and counts its queries",
        source="Andriushchenko et al. 2020, Square Attack, algorithms 1 to 3",
        run="harness_attacks.square_attack:square_attack",
        access="scores",
        norms=("linf", "l2"),
        passes=costs.passes_of_square_attack,
        tells=dict.fromkeys(_MASKED, ""),
    ),
    AttackSpec(
        name="fab",
        summary="steps to the linearised boundary that stay near the original, in closed form inside the box",
        source="Croce and Hein 2020, Fast Adaptive Boundary Attack, algorithm 1",
        run="harness_attacks.fab:fab",
        norms=("linf", "l2"),
        budget="minimal",
        traits=frozenset({"unbounded"}),
        passes=costs.passes_of_fab,
    ),
    AttackSpec(
        name="standard",
        summary="an ensemble for every head: APGD on two losses, FAB, Square Attack (for classes AutoAttack)",
        source=f"{_ENSEMBLE}, section 5; docs/standard.md",
        run="harness_attacks.standard:standard",
        norms=("linf", "l2"),
        presets={"default": {}, "quick": {"steps": 20, "targets": 3, "queries": 200}},
        passes=costs.passes_of_standard,
        tells=dict.fromkeys((*_MASKED, "black-box-stronger"), ""),
    ),
)
"""The members of the standard ensemble, which are attacks of their own, and the ensemble."""

_TRANSFORMED = "Athalye et al. 2018, Synthesizing Robust Adversarial Examples; regions of Arvinte et al."
EXPECTED_PATCHES = (
    AttackSpec(
        name="eyeglasses-eot",
        summary="the patch of eyeglasses, found under small shifts, rotations and changes of brightness",
        source=_TRANSFORMED,
        run="harness_attacks.patch_eot:eyeglasses_eot",
        region="harness_attacks.masks:eyeglasses",
        norms=(),
        passes=costs.passes_of_patch_eot,
    ),
    AttackSpec(
        name="square-eot",
        summary="the patch of square, found under small shifts, rotations and changes of brightness",
        source=_TRANSFORMED,
        run="harness_attacks.patch_eot:square_eot",
        region="harness_attacks.masks:squares",
        norms=(),
        passes=costs.passes_of_square_eot,
    ),
)
"""Patches of no paper that this project implements: boards have them apart from those that are."""
