"""Attacks: FFA and FGS by line search, PGD, and the noise that any attack must beat."""

from __future__ import annotations

from harness.hookspecs import hookimpl
from harness.specs import AttackSpec, ModelSpec, Parameters


def _not_on_joint_losses(model: ModelSpec, parameters: Parameters) -> str | None:
    if "joint-loss" in model.traits:
        return "FGS increases one loss over all attributes and cannot flip a chosen one (Rozsa et al., 3.3)"
    return None


@hookimpl
def harness_attacks() -> list[AttackSpec]:
    """The attacks of this plugin."""
    return [
        AttackSpec(
            name="ffa",
            summary="fast flipping attribute: the smallest step along the score's gradient",
            source="Rozsa et al., Facial Attributes: Accuracy and Adversarial Robustness, eq. 8-9",
            run="harness_attacks.ffa:ffa",
            heads=frozenset({"attributes"}),
            norms=("linf",),
            budget="minimal",
            passes=lambda parameters: (1.0 + parameters["max_steps"] + parameters["max_bisections"], 1.0),
        ),
        AttackSpec(
            name="fgs",
            summary="fast gradient sign: the smallest step along the sign of the loss's gradient",
            source="Goodfellow et al. 2015; line search as in Rozsa et al., section 3.1, eq. 7",
            run="harness_attacks.fgs:fgs",
            norms=("linf",),
            budget="minimal",
            refuses=_not_on_joint_losses,
            passes=lambda parameters: (16.0, 1.0),
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
