"""Attacks: FFA and FGS by line search and iteratively, PGD, and the noise that any attack must beat."""

from __future__ import annotations

from harness.hookspecs import hookimpl
from harness.specs import AttackSpec, ModelSpec, Parameters

_SPARE = 4
"""Tests of FFA's interpolation beyond those of a binary search: ``section.SPARE``, importing no torch."""


def _not_on_joint_losses(model: ModelSpec, parameters: Parameters) -> str | None:
    if "joint-loss" in model.traits:
        return "FGS increases one loss over all attributes and cannot flip a chosen one (Rozsa et al., 3.3)"
    return None


def _passes_of_ffa(parameters: Parameters) -> tuple[float, float]:
    if parameters["search"] == "iterative":
        # a gradient, and a test of the rounded image, per step
        return 2.0 * parameters["max_iterations"], float(parameters["max_iterations"])
    tests = parameters["max_steps"] + parameters["max_bisections"]
    tests += _SPARE * (parameters["root"] == "interpolate")
    # In reduced precision a test may have to be repeated in float32, and the last one is.
    return 1.0 + 2 * tests + 1, 1.0


def _passes_of_fgs(parameters: Parameters) -> tuple[float, float]:
    if parameters["search"] == "iterative":
        # in reduced precision a test beside each gradient; either way a last one
        return 2.0 * parameters["max_iterations"] + 1, float(parameters["max_iterations"])
    return 1.0 + 8 + 7, 1.0


@hookimpl
def harness_attacks() -> list[AttackSpec]:
    """The attacks of this plugin."""
    return [
        AttackSpec(
            name="ffa",
            summary="fast flipping attribute: along the score's gradient, by line search or step by step",
            source="Rozsa et al., Facial Attributes: Accuracy and Adversarial Robustness, eq. 8-9",
            run="harness_attacks.ffa:ffa",
            heads=frozenset({"attributes"}),
            norms=("linf",),
            budget="minimal",
            passes=_passes_of_ffa,
            revision=2,
        ),
        AttackSpec(
            name="fgs",
            summary="fast gradient sign: along the sign of the loss gradient, by line search or step by step",
            source="Goodfellow et al. 2015; line search as in Rozsa et al., section 3.1, eq. 7",
            run="harness_attacks.fgs:fgs",
            norms=("linf",),
            budget="minimal",
            refuses=_not_on_joint_losses,
            passes=_passes_of_fgs,
            revision=2,
        ),
        AttackSpec(
            name="pgd",
            summary="projected gradient descent on the margin, with restarts",
            source="Madry et al. 2018",
            run="harness_attacks.pgd:pgd",
            norms=("linf", "l2"),
            passes=lambda parameters: (
                (parameters["steps"] + 1.0) * parameters["restarts"],
                float(parameters["steps"] * parameters["restarts"]),
            ),
        ),
        AttackSpec(
            name="noise",
            summary="random noise of the same budget: the floor that any attack must beat",
            source="this project",
            run="harness_attacks.noise:noise",
            heads=frozenset({"attributes", "classes"}),
            access="decisions",
            norms=("linf", "l2"),
            passes=lambda parameters: (float(parameters["draws"]), 0.0),
        ),
    ]
