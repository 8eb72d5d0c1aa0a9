"""`harness plan` takes the largest numbers of forward and backward passes per case from here.

No torch is imported. The constants that limit an attack's tests are here too, and the attacks import them.
"""

from __future__ import annotations

from harness.specs import Parameters
from harness_attacks.places import starts

SPARE = 4
"""The number of tests by which interpolation may fall behind the binary search."""
STRETCHES = (1.0, 1.02, 1.05, 1.1, 1.2, 1.5, 2.0, 4.0, 8.0, 16.0)
"""The factors by which a perturbation is lengthened if it misses its goal after rounding or in float32. Small
perturbations need the large factors, because rounding to 8 bits removes most of them."""
ROUGH, FINE = 1, 4
"""The number of tests that narrow a line during a search, and at its end."""
BISECTIONS = 4
"""The number of tests that narrow a line whose end is near the boundary."""


def passes_of_ffa(parameters: Parameters) -> tuple[float, float]:
    """Count the forward and backward passes of FFA, by line search or step by step."""
    if parameters["search"] == "iterative":
        # a gradient, and a test of the rounded image, per step; a held target is computed once
        steps = float(parameters["max_iterations"])
        return 2 * steps + (parameters["target"] == "held"), steps
    tests = parameters["max_steps"] + parameters["max_bisections"]
    tests += SPARE * (parameters["root"] == "interpolate")
    # In reduced precision a test may be repeated in float32, and the last one always is.
    return 1.0 + 2 * tests + 1, 1.0


def passes_of_fgs(parameters: Parameters) -> tuple[float, float]:
    """Count the passes of FGS, by line search or step by step."""
    if parameters["search"] == "iterative":
        # in reduced precision a test for each gradient; in any case a last one
        return 2.0 * parameters["max_iterations"] + 1, float(parameters["max_iterations"])
    return 1.0 + 8 + 7, 1.0


def passes_of_pgd(parameters: Parameters) -> tuple[float, float]:
    """Count the passes of PGD with its restarts."""
    # if an image has reached its goal, but not after rounding, each step tests the rounded image as well
    steps, restarts = parameters["steps"], parameters["restarts"]
    return (2.0 * steps + 1) * restarts, float(steps * restarts)


def passes_of_noise(parameters: Parameters) -> tuple[float, float]:
    """Count the passes of noise, one test per sample."""
    return float(parameters["draws"]), 0.0


def _passes_of_polish(rounds: int) -> tuple[float, float]:
    """Count the passes of ``shrink.polished``: lines and normals."""
    # one pass at the start of all lines; then the first line, a line and a gradient per round, the last line
    lines = 1 + (1 + rounds) * (len(STRETCHES) + ROUGH) + rounds + len(STRETCHES) + FINE
    return float(lines if rounds else 0), float(rounds)


def passes_of_cw(parameters: Parameters) -> tuple[float, float]:
    """Count the passes of Carlini and Wagner's attack, its warm-up, its rescues and its polish."""
    steps = float(parameters["iterations"] * (parameters["searches"] + parameters["rescues"]))
    tests, rounds = _passes_of_polish(parameters["polish"])
    warm_up = float(parameters["warm_up"])
    warm_up += bool(warm_up) and parameters["initial_constant"] is None  # the slope that gives the constant
    return 1.0 + warm_up + steps + tests, warm_up + steps + rounds


def _passes_of_settling(rounds: int) -> tuple[float, float]:
    """Count the passes of ``grid.settled``: gradients, and the lines to its images."""
    gradients = rounds + 1 if rounds else 0
    lines = (2 + bool(rounds)) * (len(STRETCHES) + BISECTIONS)
    return float(gradients + 2 * lines), float(gradients)  # in reduced precision, tests may be repeated


def passes_of_balls(parameters: Parameters) -> tuple[float, float]:
    """Count the passes of DDN or FMN, along one loss or both, and of the end of its search on the grid."""
    steps = float(parameters["steps"] * (1 + (parameters["loss"] == "both")))
    tests, gradients = _passes_of_settling(parameters["polish"])
    others = parameters["neighbours"]
    gradients += others
    # of each neighbour a gradient and a test, which in reduced precision may be repeated; and one for all
    tests += 3 * others + bool(others)
    return 1 + steps + tests, steps + gradients


def passes_of_descent(parameters: Parameters) -> tuple[float, float]:
    """Count the passes of gradient descent, the line at its end and its polish."""
    # in reduced precision a test may have to be repeated in float32
    tests = 2.0 * parameters["iterations"] + 1 + len(STRETCHES) + parameters["tests"]
    lines, gradients = _passes_of_polish(parameters["polish"])
    iterations = float(parameters["iterations"])
    return 1.0 + iterations + tests + lines, iterations + gradients


def passes_of_components(parameters: Parameters) -> tuple[float, float]:
    """Count the passes of the component gradient: a descent for each candidate, and one polish."""
    forwards, backwards = passes_of_descent({**parameters, "polish": 0})
    lines, gradients = _passes_of_polish(parameters["polish"])
    walks = parameters["candidates"]
    return 1.0 + walks * forwards + lines, walks * backwards + gradients


def passes_of_patch(parameters: Parameters) -> tuple[float, float]:
    """Count the passes of a patch with its restarts."""
    forwards, backwards = _passes_of_climb(parameters["iterations"], parameters["mirror"])
    drawn = float(parameters.get("anchor") == "indirect")  # the model draws the person once
    return parameters["restarts"] * forwards + drawn, parameters["restarts"] * backwards


def passes_of_square(parameters: Parameters) -> tuple[float, float]:
    """Count the passes of a square: a short search at every place, and a patch at the best one."""
    places = len(starts(parameters["side"], parameters["stride"])) ** 2
    search = _passes_of_climb(parameters["search_iterations"], mirror=False)
    attack = passes_of_patch(parameters)
    return places * search[0] + attack[0], places * search[1] + attack[1]


def passes_of_universal_patch(parameters: Parameters) -> tuple[float, float]:
    """Count the passes of a universal patch for each image that it learns on."""
    # an image is in one mini-batch per pass through all images, which is every one if a single one holds all
    both = 1 + parameters["mirror"]
    passes = float(parameters["iterations"] * both)
    # the last patch is compared, too; before, comparisons are free, or fewer than the steps that they are for
    return passes + both * (parameters["report"] == "best"), passes


def passes_of_random_patch(parameters: Parameters) -> tuple[float, float]:
    """Count the passes of a random patch, one test per pattern."""
    return float(parameters["draws"]), 0.0


def passes_of_distal(parameters: Parameters) -> tuple[float, float]:
    """Count the passes of a test of the original, and of one ascent from noise."""
    forwards, backwards = _passes_of_climb(parameters["iterations"], parameters["mirror"])
    return 1 + forwards, backwards


def _passes_of_climb(iterations: int, mirror: bool) -> tuple[float, float]:
    """Count the gradients, the tests during the ascent, and the tests of the last and the best image."""
    gradients = float(iterations * (1 + mirror))
    return gradients + iterations.bit_length() + 2, gradients
