"""This table says how each evasion attack of the Toolbox is offered, or why not; it imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le

from harness.specs import Parameters
from harness_art.bridged import Above, Bridged, Count

_STEP: dict[str, Any] = {"eps_step": None}
_STEP_NOTE = "the default of `eps_step` is `eps / 3`, the Toolbox's own proportion"
_START_NOTE = "the bridge chooses its starting image; impersonates from the target's own image"
_NORMS = Literal["inf", "1", "2", "wasserstein"]
_INNER = Literal["deepfool", "carlini", "carlini_inf", "ead", "fgsm", "bim", "pgd"]


def _descent(parameters: Parameters) -> tuple[float, float]:
    starts = max(1, parameters["num_random_init"])
    # two passes at the start, and one to choose the best of several starts
    return 2.0 + starts * (parameters["max_iter"] + 1.0), float(starts * parameters["max_iter"])


def _iterated(parameters: Parameters) -> tuple[float, float]:
    return 3.0 + parameters["max_iter"], float(parameters["max_iter"])


def _one_step(parameters: Parameters) -> tuple[float, float]:
    starts, size = max(1, parameters["num_random_init"]), parameters["eps_step"]
    # eps is not a parameter; it is at most the whole range
    tests = (1 / size if size else 3.0) if parameters["minimal"] else 0.0
    return 3.0 + 2.0 * starts + tests, float(starts)


def _adaptive(parameters: Parameters) -> tuple[float, float]:
    starts, steps = max(1, parameters["nb_random_init"]), parameters["max_iter"]
    return 2.0 + starts * (2.0 * steps + 4.0), float(starts * steps)


def _squares(parameters: Parameters) -> tuple[float, float]:
    return 2.0 + parameters["nb_restarts"] * (3.0 * parameters["max_iter"] + 4.0), 0.0


_stepping = partial(Bridged, targets=True, masks=True, defaults=_STEP, note=_STEP_NOTE)
_projected = partial(_stepping, source="Madry et al. 2018", passes=_descent)
_adapting = partial(Bridged, targets=True, defaults=_STEP, passes=_adaptive, note=_STEP_NOTE)
_minimum_l2 = partial(Bridged, norms=("l2",), budget="minimal")
_from_decisions = partial(Bridged, access="decisions", budget="minimal", alone=True)
_on_probabilities = partial(Bridged, norms=(), access="scores", alone=True, answers="probabilities")

ATTACKS: tuple[Bridged, ...] = (
    Bridged(
        name="AutoAttack",
        summary="APGD on two losses, DeepFool and Square, each on the images that resisted the others",
        source="Croce and Hein 2020",
        given=("attacks", "estimator_orig", "parallel_pool_size"),
        defaults=_STEP,
        added={
            "attacks": (list[Literal["apgd-ce", "apgd-dlr", "deepfool", "square"]] | None, None),
            "every_target": (bool, False),
            "max_iter": (Count | None, None),
            "nb_restarts": (Annotated[int, Ge(1)], 5),
        },
        note="`attacks` are names; without `apgd-dlr` for two classes, where its loss is not defined; "
        "`every_target` is the Toolbox's `targeted`; `max_iter` and `nb_restarts` hold for each attack; "
        + _STEP_NOTE,
    ),
    _adapting(
        name="AutoConjugateGradient",
        summary="conjugate gradients with adaptive steps, and restarts",
        source="Yamamura et al. 2022",
    ),
    _adapting(
        name="AutoProjectedGradientDescent",
        summary="projected gradient descent with adaptive steps, and restarts (APGD)",
        source="Croce and Hein 2020",
    ),
    _stepping(
        name="BasicIterativeMethod",
        summary="steps along the sign of the loss gradient (BIM)",
        source="Kurakin et al. 2017",
        norms=("linf",),
        passes=_iterated,
    ),
    _from_decisions(
        name="BoundaryAttack",
        summary="a random walk along the decision boundary towards the original",
        source="Brendel et al. 2018",
        norms=("l2",),
        targets=True,
        note=_START_NOTE,
    ),
    Bridged(
        name="CarliniL0Method",
        summary="Carlini and Wagner, with fewer and fewer pixels (L0)",
        source="Carlini and Wagner 2017",
        norms=(),
        alone=True,
        targets=True,
        given=("mask",),
        note="small in L0, which is not a norm of a threat",
    ),
    _minimum_l2(
        name="CarliniL2Method",
        summary="Carlini and Wagner: Adam on distance plus loss, with a search for the constant",
        source="Carlini and Wagner 2017",
        targets=True,
    ),
    Bridged(
        name="CarliniLInfMethod",
        summary="Carlini and Wagner, in L-infinity",
        source="Carlini and Wagner 2017",
        norms=("linf",),
        budget="minimal",
        alone=True,
        targets=True,
    ),
    _minimum_l2(
        name="DeepFool",
        summary="steps to the nearest boundary of a linearised model",
        source="Moosavi-Dezfooli et al. 2016",
        labels="never",
        note="its images lie on the boundary: increase `epsilon` if rounding to 8 bits undoes them",
    ),
    _minimum_l2(
        name="ElasticNet",
        summary="Carlini and Wagner with an L1 term (EAD)",
        source="Chen et al. 2018",
        targets=True,
        kinds={"decision_rule": Literal["EN", "L1", "L2"]},
    ),
    Bridged(
        name="FastGradientMethod",
        summary="one step along the loss gradient (FGSM, FGM)",
        source="Goodfellow et al. 2015",
        targets=True,
        masks=True,
        defaults=_STEP,
        passes=_one_step,
        note="with `minimal`, the step grows by `eps_step` up to `eps`; " + _STEP_NOTE,
    ),
    _from_decisions(
        name="GeoDA",
        summary="steps to a decision boundary whose normal is estimated from decisions",
        source="Rahmati et al. 2020",
        norms=("l2", "linf"),
        kinds={"max_iter": Annotated[int, Ge(300)]},
        note="for square images; ends after `max_iter` images in a row that do not reach the goal",
    ),
    _from_decisions(
        name="HopSkipJump",
        summary="steps along the decision boundary, with its normal estimated from decisions",
        source="Chen et al. 2020",
        norms=("l2", "linf"),
        targets=True,
        masks=True,
        note=_START_NOTE,
    ),
    _stepping(
        name="MomentumIterativeMethod",
        summary="steps along the loss gradient with momentum (MI-FGSM)",
        source="Dong et al. 2018",
        passes=_iterated,
    ),
    _minimum_l2(
        name="NewtonFool",
        summary="gradient steps that lower the probability of the class",
        source="Jang et al. 2017",
        labels="never",
        answers="probabilities",
    ),
    _on_probabilities(
        name="PixelAttack",
        summary="a few pixels, found by differential evolution",
        source="Su et al. 2019",
        labels="never",
        kinds={"es": Literal[0, 1]},
        note="`th` pixels, by default the fewest possible; `es = 0` needs the package cma",
    ),
    _projected(
        name="ProjectedGradientDescent",
        summary="projected gradient descent on the loss (PGD)",
    ),
    _projected(
        name="ProjectedGradientDescentNumpy",
        summary="projected gradient descent on the loss, computed in numpy",
    ),
    _projected(
        name="ProjectedGradientDescentPyTorch",
        summary="projected gradient descent on the loss, computed in torch",
    ),
    _adapting(
        name="RescalingAutoConjugateGradient",
        summary="rescaled conjugate gradients with adaptive steps, and restarts",
        source="Yamamura et al. 2024",
    ),
    Bridged(
        name="SaliencyMapMethod",
        summary="changes of two components at a time, chosen by the Jacobian (JSMA)",
        source="Papernot et al. 2016",
        norms=(),
        labels="targets",
        note="small in L0, which is not a norm of a threat; towards a random class for untargeted goals",
    ),
    Bridged(
        name="ShadowAttack",
        summary="large, smooth changes that resemble shadows",
        source="Ghiasi et al. 2020",
        norms=(),
        alone=True,
        labels="targets",
        added={"copies": (Count, 400)},
        note="for one or three channels; `copies` is the Toolbox's `batch_size`, the noisy copies per step",
    ),
    _from_decisions(
        name="SignOPTAttack",
        summary="a search for the direction of the nearest boundary, from decisions",
        source="Cheng et al. 2020",
        norms=("l2",),
        classes=3,
        given=("eval_perform",),
        kinds={"epsilon": Above, "beta": Above},
        note="refuses two classes, so a third one is added that is never the decision; "
        "impersonates from the target's own image",
    ),
    _on_probabilities(
        name="SimBA",
        summary="random steps in pixels or cosines, kept if they help",
        source="Guo et al. 2019",
        targets=True,
        constants={"batch_size": 1},
        kinds={"attack": Literal["dct", "px"], "order": Literal["random", "diag"]},
        note='square images, unless `attack = "px"` in random order; `epsilon` is the length of a step',
    ),
    Bridged(
        name="SpatialTransformation",
        summary="the worst of a grid of translations and rotations",
        source="Engstrom et al. 2019",
        access="decisions",
        norms=(),
        alone=True,
        labels="never",
        note="changes nothing by default: give `max_translation` (%) or `max_rotation` (degrees)",
    ),
    Bridged(
        name="SquareAttack",
        summary="random squares, kept if they help",
        source="Andriushchenko et al. 2020",
        access="scores",
        given=("adv_criterion", "loss"),
        passes=_squares,
        note="in L2 for images of at least 10 pixels per side",
    ),
    Bridged(
        name="TargetedUniversalPerturbation",
        summary="one change towards a class for many images, from steps on each",
        source="Hirano and Takemoto 2020",
        labels="reached",
        universal=True,
        given=("attacker", "attacker_params"),
        kinds={"delta": Annotated[float, Ge(0), Le(1)]},
        note="uses FGSM steps as large as the budget",
    ),
    Bridged(
        name="ThresholdAttack",
        summary="changes up to a threshold, found by an evolutionary search",
        source="Kotyan and Vargas 2022",
        access="scores",
        norms=("linf",),
        budget="either",
        alone=True,
        labels="never",
        answers="probabilities",
        given=("th",),
        kinds={"es": Literal[0, 1]},
        defaults={"es": 1},
        note="needs as many passes per step as an image has components; `es = 0`, the Toolbox's default, "
        "needs the package cma",
    ),
    Bridged(
        name="UniversalPerturbation",
        summary="one change for many images, from minimum-norm changes of each",
        source="Moosavi-Dezfooli et al. 2017",
        universal=True,
        given=("attacker_params",),
        kinds={"attacker": _INNER, "delta": Annotated[float, Ge(0), Le(1)]},
        note="an `attacker` with a budget gets that of the threat",
    ),
    Bridged(
        name="VirtualAdversarialMethod",
        summary="the direction in which the outputs change most, by finite differences",
        source="Miyato et al. 2016",
        access="scores",
        norms=("l2",),
        labels="never",
        answers="probabilities",
        note="needs a pass for every component of the image at every step; `finite_diff` of 1e-6 is below "
        "the precision of float32",
    ),
    Bridged(
        name="Wasserstein",
        summary="changes in a Wasserstein ball, which move mass between neighbouring pixels",
        source="Wong et al. 2019",
        norms=(),
        targets=True,
        renamed={"norm": "step_norm", "eps": "radius"},
        kinds={"norm": _NORMS, "ball": _NORMS, "eps": Above, "eps_step": Above},
        note="`radius` and `step_norm` are the Toolbox's `eps` and `norm`, which have another meaning here",
    ),
    _minimum_l2(
        name="ZooAttack",
        summary="Carlini and Wagner with gradients estimated from scores",
        source="Chen et al. 2017",
        access="scores",
        alone=True,
        targets=True,
    ),
)

LEFT_OUT: Mapping[str, str] = {
    "AdversarialPatch": "makes a printed patch, not a change of one image",
    "AdversarialPatchNumpy": "makes a printed patch, not a change of one image",
    "AdversarialPatchPyTorch": "makes a printed patch, not a change of one image",
    "AdversarialPatchTensorFlowV2": "TensorFlow only",
    "AdversarialTexturePyTorch": "for object trackers in video",
    "BrendelBethgeAttack": "needs numba, which is not a dependency",
    "CarliniWagnerASR": "for speech",
    "CompositeAdversarialAttackPyTorch": "needs the package kornia",
    "DPatch": "for object detectors",
    "DecisionTreeAttack": "for decision trees",
    "FeatureAdversariesNumpy": "needs a guide image and a layer for each case",
    "FeatureAdversariesPyTorch": "needs a guide image and a layer for each case",
    "FeatureAdversariesTensorFlowV2": "TensorFlow only",
    "FrameSaliencyAttack": "for video",
    "GRAPHITEBlackbox": "makes a printed patch, for objects seen from many sides",
    "GRAPHITEWhiteboxPyTorch": "makes a printed patch, for objects seen from many sides",
    "HighConfidenceLowUncertainty": "for Gaussian processes",
    "ImperceptibleASR": "for speech",
    "ImperceptibleASRPyTorch": "for speech",
    "LaserAttack": "for a laser on an object; needs Python objects, which a manifest cannot give",
    "LowProFool": "for tables, not for images",
    "MalwareGDTensorFlow": "for malware",
    "OverTheAirFlickeringPyTorch": "for video",
    "OverloadPyTorch": "for object detectors",
    "ProjectedGradientDescentTensorFlowV2": "TensorFlow only",
    "RobustDPatch": "for object detectors",
    "SNAL": "for object detectors",
}
"""The Toolbox's other evasion attacks, and why they are not offered."""
