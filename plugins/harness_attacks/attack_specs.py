"""These specs describe the attacks of this plugin; they import none of the attacks' code."""

from __future__ import annotations

from functools import partial

from harness.specs import AttackSpec, ModelSpec, Parameters
from harness_attacks import costs

_ARVINTE = "Arvinte et al., Robust Face Verification via Disentangled Representations, section 3, appendix C"
_PAPER_LOSS = {"mirror": True, "loss": "squared-distance"}
_PAPER_PATCH = {
    **_PAPER_LOSS,
    "iterations": 1000,
    "learning_rate": 0.01,
    "restarts": 5,
    "early_stop": False,
}
_PAPER_EVASION = {**_PAPER_PATCH, "iterations": 2000, "learning_rate": 0.05}
_PAPER_SEARCH = {"search_iterations": 20, "search_learning_rate": 0.1}

_PAPER_SPHERE = {
    "radius": 1.0,
    "gamma": 0.05,
    "last_gamma": 0.05,
    "step_size": 1.0,
    "relative": False,
    "neighbours": 0,
    "polish": 0,
}
_PAPER_LOOP = {
    "warm_up": 0,
    "searches": 3,
    "iterations": 500,
    "initial_constant": 0.01,
    "progress": 0.9999,
    "checks": 10,
    "rescues": 0,
    "polish": 0,
}
"""The published loop, with the numbers of Richardson and Weiss."""


def _not_on_joint_losses(model: ModelSpec, parameters: Parameters) -> str | None:
    if "joint-loss" in model.traits:
        return "FGS increases one loss over all attributes and cannot flip a chosen one (Rozsa et al., 3.3)"
    return None


def _only_of_embeddings(model: ModelSpec, parameters: Parameters) -> str | None:
    if parameters["anchor"] != "indirect":
        return None
    if model.head != "embedding":
        return "only embeddings have anchors, direct or indirect (Arvinte et al., 4.4)"
    if "indirect-anchor" not in model.traits:
        return (
            'anchor = "indirect" approaches an image that the model itself draws of the person, and this one '
            "has no generator (Arvinte et al., 4.4)"
        )
    return None


def _paper_patch(search: Parameters) -> dict[str, Parameters]:
    """Return the presets of a patch per image, with the settings of a search for its place."""
    return {
        "quick": {},
        "paper": {**_PAPER_PATCH, **search},
        "paper-evasion": {**_PAPER_EVASION, **search},
        "paper-indirect": {**_PAPER_PATCH, **search, "anchor": "indirect"},
    }


GRADIENT_ATTACKS = (
    AttackSpec(
        name="ffa",
        summary="fast flipping attribute: along the gradient of the score, by line search or step by step",
        source="Rozsa et al., Facial Attributes: Accuracy and Adversarial Robustness, eq. 8-9",
        run="harness_attacks.ffa:ffa",
        heads=frozenset({"attributes"}),
        norms=("linf",),
        budget="minimal",
        passes=costs.passes_of_ffa,
        revision=2,
        later={"target": "recomputed"},
    ),
    AttackSpec(
        name="fgs",
        summary="fast gradient sign: along the sign of the loss gradient, by line search or step by step",
        source="Goodfellow et al. 2015; line search as in Rozsa et al., section 3.1, eq. 7",
        run="harness_attacks.fgs:fgs",
        norms=("linf",),
        budget="minimal",
        refuses=_not_on_joint_losses,
        passes=costs.passes_of_fgs,
        revision=2,
    ),
    AttackSpec(
        name="pgd",
        summary="projected gradient descent on the margin, with restarts",
        source="Madry et al. 2018",
        run="harness_attacks.pgd:pgd",
        norms=("linf", "l2"),
        passes=costs.passes_of_pgd,
    ),
    AttackSpec(
        name="cw-l2",
        summary="Carlini and Wagner's L2 attack: Adam in tanh space, here after a descent of DDN",
        source="Carlini and Wagner 2017, section VI-A",
        run="harness_attacks.cw_l2:cw_l2",
        norms=("l2",),
        budget="minimal",
        traits=frozenset({"unbounded"}),
        presets={"default": {}, "paper": _PAPER_LOOP},
        passes=costs.passes_of_cw,
        revision=2,
        revised=lambda parameters: parameters["confidence"] > 0,  # polished images did not keep it
        later={"checks": 20, "warm_up": 0},
    ),
    AttackSpec(
        name="ddn",
        summary="gradient steps on a sphere that shrinks and grows, then the nearest point on the 8-bit grid",
        source="Rony et al. 2019, Decoupling Direction and Norm, algorithm 1",
        run="harness_attacks.ddn:ddn",
        norms=("l2",),
        budget="minimal",
        traits=frozenset({"unbounded"}),
        presets={
            "default": {},
            "paper": _PAPER_SPHERE,
        },
        passes=costs.passes_of_balls,
    ),
    AttackSpec(
        name="fmn",
        summary="gradient steps inside a ball of changing radius, then the nearest point on the 8-bit grid",
        source="Pintor et al. 2021, Fast Minimum-norm Adversarial Attacks, algorithm 1",
        run="harness_attacks.fmn:fmn",
        norms=("linf", "l2"),
        budget="minimal",
        traits=frozenset({"unbounded"}),
        presets={"default": {}, "paper": {"steps": 1000, "relative": False, "neighbours": 0, "polish": 0}},
        passes=costs.passes_of_balls,
    ),
    AttackSpec(
        name="gradient-descent",
        summary="steps of a fixed size along the gradient until the goal is reached",
        source="Richardson and Weiss 2021, section 4",
        run="harness_attacks.gradient_descent:gradient_descent",
        norms=("l2", "linf"),
        budget="minimal",
        traits=frozenset({"unbounded"}),
        passes=costs.passes_of_descent,
    ),
    AttackSpec(
        name="component-gradient",
        summary="steps along the difference of two components of the classes, such as those of mixtures",
        source="Richardson and Weiss 2021, appendix C.2",
        run="harness_attacks.component_gradient:component_gradient",
        heads=frozenset({"classes"}),
        norms=("l2", "linf"),
        budget="minimal",
        traits=frozenset({"unbounded"}),
        passes=costs.passes_of_components,
    ),
)
"""These attacks follow a gradient and measure the change in a norm."""

_patch = partial(AttackSpec, source=_ARVINTE, norms=())
PATCH_ATTACKS = (
    _patch(
        name="eyeglasses",
        summary="a patch per image on the frame of a pair of glasses, by Adam in tanh space",
        run="harness_attacks.patch:patch",
        region="harness_attacks.masks:eyeglasses",
        presets=_paper_patch({}),
        refuses=_only_of_embeddings,
        passes=costs.passes_of_patch,
        later={"anchor": "direct"},
    ),
    _patch(
        name="random-eyeglasses",
        summary="noise on the frame of a pair of glasses, the best of many patterns; a lower bound",
        run="harness_attacks.random_patch:random_patch",
        region="harness_attacks.masks:eyeglasses",
        access="scores",
        traits=frozenset({"random"}),
        passes=costs.passes_of_random_patch,
    ),
    _patch(
        name="square",
        summary="a square patch per image, at the most promising of 25 places on the face",
        run="harness_attacks.square:square",
        region="harness_attacks.masks:squares",
        presets=_paper_patch(_PAPER_SEARCH),
        refuses=_only_of_embeddings,
        passes=costs.passes_of_square,
        later={"anchor": "direct"},
    ),
    _patch(
        name="universal-patch",
        summary="one patch over the eyes of all images, learned on some and judged on the others",
        run="harness_attacks.universal_patch:universal_patch",
        region="harness_attacks.masks:eye_patch",
        traits=frozenset({"universal"}),
        presets={
            "quick": {},
            "paper": {
                **_PAPER_LOSS,
                "iterations": 5000,
                "learning_rate": 0.005,
                "mini_batch": 100,
                "report": "best",
            },
        },
        passes=costs.passes_of_universal_patch,
        later={"report": "last"},
    ),
    _patch(
        name="distal",
        summary="whole images from noise, by Adam in tanh space: what a network takes for a person",
        run="harness_attacks.distal:distal",
        heads=frozenset({"embedding"}),
        goals=frozenset({"impersonate"}),
        presets={
            "quick": {},
            "paper": {**_PAPER_LOSS, "iterations": 2000, "learning_rate": 0.01, "early_stop": False},
        },
        passes=costs.passes_of_distal,
    ),
)
"""These attacks replace the pixels of a region, or all; no norm bounds the change."""

NOISE = AttackSpec(
    name="noise",
    summary="random noise of the same budget, a lower bound that every attack must exceed",
    source="this project",
    run="harness_attacks.noise:noise",
    access="decisions",
    norms=("linf", "l2"),
    traits=frozenset({"random"}),
    presets={"default": {}, "paper": {"draws": 1, "law": "uniform"}},
    passes=costs.passes_of_noise,
    later={"law": "corners"},
)
