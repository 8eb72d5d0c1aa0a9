"""Specs of the patch attacks: eyeglasses, a square with a search for its place, a universal patch."""

from __future__ import annotations

from typing import Any

from harness.specs import AttackSpec, Parameters
from harness_attacks.places import starts

_SOURCE = "Arvinte et al., Robust Face Verification via Disentangled Representations, section 3, appendix C"
_PAPER = {
    "iterations": 1000,
    "learning_rate": 0.01,
    "restarts": 5,
    "mirror": True,
    "loss": "squared-distance",
}


def patch_attacks() -> list[AttackSpec]:
    """The attacks that replace the pixels of a region; no norm bounds them."""
    common: dict[str, Any] = {"source": _SOURCE, "norms": ()}
    return [
        AttackSpec(
            name="eyeglasses",
            summary="a patch per image on the frame of a pair of glasses, by Adam in tanh space",
            run="harness_attacks.patch:patch",
            region="harness_attacks.masks:eyeglasses",
            presets={"quick": {}, "paper": _PAPER},
            passes=_passes_of_patch,
            **common,
        ),
        AttackSpec(
            name="square",
            summary="a square patch per image, at the most promising of 25 places on the face",
            run="harness_attacks.square:square",
            region="harness_attacks.masks:squares",
            presets={
                "quick": {},
                "paper": {**_PAPER, "search_iterations": 20, "search_learning_rate": 0.1},
            },
            passes=_passes_of_square,
            **common,
        ),
        AttackSpec(
            name="universal-patch",
            summary="one patch over the eyes of all images, learned on some and judged on the others",
            run="harness_attacks.universal_patch:universal_patch",
            region="harness_attacks.masks:eye_patch",
            traits=frozenset({"universal"}),
            presets={
                "quick": {},
                "paper": {
                    "iterations": 5000,
                    "learning_rate": 0.005,
                    "mini_batch": 100,
                    "mirror": True,
                    "loss": "squared-distance",
                },
            },
            passes=_passes_of_universal_patch,
            **common,
        ),
    ]


def _passes_of_patch(parameters: Parameters) -> tuple[float, float]:
    forwards, backwards = _passes_of_climb(parameters["iterations"], parameters["mirror"])
    return parameters["restarts"] * forwards, parameters["restarts"] * backwards


def _passes_of_square(parameters: Parameters) -> tuple[float, float]:
    places = len(starts(parameters["side"], parameters["stride"])) ** 2
    search = _passes_of_climb(parameters["search_iterations"], mirror=False)
    attack = _passes_of_patch(parameters)
    return places * search[0] + attack[0], places * search[1] + attack[1]


def _passes_of_universal_patch(parameters: Parameters) -> tuple[float, float]:
    # an image is in one mini-batch per pass through all of them: in each, where all fit into one
    passes = float(parameters["iterations"] * (1 + parameters["mirror"]))
    return passes, passes


def _passes_of_climb(iterations: int, mirror: bool) -> tuple[float, float]:
    """The gradients; images tested on the way, and at the end the last and the best."""
    gradients = float(iterations * (1 + mirror))
    return gradients + iterations.bit_length() + 2, gradients
