"""Attacks: FFA and FGS, PGD, CW-L2, gradient descent, patches, and the noise that any attack must beat."""

from __future__ import annotations

from harness.hookspecs import hookimpl
from harness.specs import AttackSpec, ModelSpec, Parameters
from harness_attacks.patch_specs import patch_attacks

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


def _passes_of_pgd(parameters: Parameters) -> tuple[float, float]:
    # where an image has reached its goal and its rounding has not, each step tests the rounding as well
    steps, restarts = parameters["steps"], parameters["restarts"]
    return (2.0 * steps + 1) * restarts, float(steps * restarts)


_STRETCHES, _ROUGH, _FINE = 10, 1, 4
"""Tests on a line: ``shrink.STRETCHES``, ``ROUGH`` and ``FINE``, importing no torch."""


def _passes_of_polish(rounds: int) -> tuple[float, float]:
    # where all lines begin; the first line, one more for each round and its gradient, and the last
    lines = 1 + (1 + rounds) * (_STRETCHES + _ROUGH) + rounds + _STRETCHES + _FINE
    return float(lines if rounds else 0), float(rounds)


def _passes_of_cw(parameters: Parameters) -> tuple[float, float]:
    steps = float(parameters["iterations"] * (parameters["searches"] + parameters["rescues"]))
    tests, rounds = _passes_of_polish(parameters["polish"])
    return 1.0 + steps + tests, steps + rounds


def _passes_of_descent(parameters: Parameters) -> tuple[float, float]:
    # in reduced precision a test may have to be repeated in float32
    tests = 2.0 * parameters["iterations"] + 1 + _STRETCHES + parameters["tests"]
    lines, slopes = _passes_of_polish(parameters["polish"])
    iterations = float(parameters["iterations"])
    return 1.0 + iterations + tests + lines, iterations + slopes


def _passes_of_components(parameters: Parameters) -> tuple[float, float]:
    forwards, backwards = _passes_of_descent({**parameters, "polish": 0})
    lines, slopes = _passes_of_polish(parameters["polish"])
    walks = parameters["candidates"]
    return 1.0 + walks * forwards + lines, walks * backwards + slopes


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
            passes=_passes_of_pgd,
        ),
        AttackSpec(
            name="cw-l2",
            summary="Carlini and Wagner's L2 attack: Adam in tanh space, a constant searched for each case",
            source="Carlini and Wagner 2017, section VI-A",
            run="harness_attacks.cw_l2:cw_l2",
            norms=("l2",),
            budget="minimal",
            traits=frozenset({"unbounded"}),
            presets={"default": {}, "paper": {"progress": 0.9999, "rescues": 0, "polish": 0}},
            passes=_passes_of_cw,
        ),
        AttackSpec(
            name="gradient-descent",
            summary="steps of a fixed size along the gradient until the goal is reached",
            source="Richardson and Weiss 2021, section 4",
            run="harness_attacks.gradient_descent:gradient_descent",
            norms=("l2", "linf"),
            budget="minimal",
            traits=frozenset({"unbounded"}),
            passes=_passes_of_descent,
        ),
        AttackSpec(
            name="component-gradient",
            summary="steps along the difference of two components of the classes, such as a mixture's",
            source="Richardson and Weiss 2021, appendix C.2",
            run="harness_attacks.component_gradient:component_gradient",
            heads=frozenset({"classes"}),
            norms=("l2", "linf"),
            budget="minimal",
            traits=frozenset({"unbounded"}),
            passes=_passes_of_components,
        ),
        *patch_attacks(),
        AttackSpec(
            name="noise",
            summary="random noise of the same budget: the floor that any attack must beat",
            source="this project",
            run="harness_attacks.noise:noise",
            access="decisions",
            norms=("linf", "l2"),
            traits=frozenset({"random"}),
            passes=lambda parameters: (float(parameters["draws"]), 0.0),
        ),
    ]
