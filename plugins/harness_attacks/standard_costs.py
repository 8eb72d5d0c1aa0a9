"""`harness plan` takes the passes of the standard ensemble from here; no torch is imported."""

from __future__ import annotations

from harness.specs import Parameters


def passes_of_apgd(parameters: Parameters) -> tuple[float, float]:
    """Count the passes of APGD with its restarts, for decisions with enough classes for all targets."""
    targeted = parameters["loss"] == "targeted-dlr"
    runs = parameters["restarts"] * (parameters["targets"] if targeted else 1)
    # an image that has reached its goal, but not after rounding, is tested again in each step
    forwards = 2.0 * (parameters["steps"] + 1) * runs + ("dlr" in parameters["loss"])
    return forwards, float(parameters["steps"] * runs)
