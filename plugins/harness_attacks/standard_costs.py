"""`harness plan` takes the passes of the standard ensemble from here; no torch is imported."""

from __future__ import annotations

from harness.specs import Parameters
from harness_attacks.costs import STRETCHES
from harness_attacks.places import starts


def passes_of_apgd(parameters: Parameters) -> tuple[float, float]:
    """Count the passes of APGD with its restarts, for decisions with enough classes for all targets."""
    targeted = parameters["loss"] == "targeted-dlr"
    runs = parameters["restarts"] * (parameters["targets"] if targeted else 1)
    # an image that has reached its goal, but not after rounding, is tested again in each step
    gradients = parameters["steps"] * runs
    return 2.0 * (gradients + runs) + ("dlr" in parameters["loss"]), float(gradients)


def passes_of_square_attack(parameters: Parameters) -> tuple[float, float]:
    """Count the queries of Square Attack; in L2, the rounded image may need another one each time."""
    return 2.0 * parameters["queries"] * parameters["restarts"], 0.0


def passes_of_fab(parameters: Parameters) -> tuple[float, float]:
    """Count the passes of FAB, with enough classes for all targets, and of the line at its end."""
    # a gradient and a test per step; with early_stop, perhaps one of the rounded image
    steps = float(parameters["steps"] * parameters["restarts"] * parameters["targets"])
    tests = 3.0 + len(STRETCHES) + parameters["tests"]
    return (2 + parameters["early_stop"]) * steps + tests, steps


def passes_of_standard(parameters: Parameters) -> tuple[float, float]:
    """Count the passes of all members on a case that none of them breaks."""
    shared = {**parameters, "tests": 10, "early_stop": True}
    found = [
        passes_of_apgd({**shared, "loss": "cross-entropy"}),
        passes_of_apgd({**shared, "loss": "targeted-dlr"}),
        passes_of_fab(shared),
        passes_of_square_attack(shared),
    ]
    tests = 1.0 + len(found)  # of what each member returns, and one of the first image
    return sum(forwards for forwards, _ in found) + tests, sum(backwards for _, backwards in found)


def passes_of_patch_eot(parameters: Parameters) -> tuple[float, float]:
    """Count the passes of a patch under transformations: a gradient under each, and two last tests."""
    steps, views = parameters["iterations"], parameters["views"]
    runs = parameters["restarts"]
    return float(runs * (steps * views + 2 * (views + 1))), float(runs * steps * views)


def passes_of_square_eot(parameters: Parameters) -> tuple[float, float]:
    """Count the passes of a square under transformations, whose place is searched for without them."""
    places = len(starts(parameters["side"], parameters["stride"])) ** 2
    forwards, backwards = passes_of_patch_eot(parameters)
    steps, tests = parameters["search_iterations"], 2 + parameters["views"] + 1
    return forwards + places * (steps + 2) + tests, backwards + float(places * steps)
