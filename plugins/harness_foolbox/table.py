"""Table of Foolbox's attacks that are offered, and how; imports neither torch nor Foolbox."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from annotated_types import Ge, Gt, Lt

from harness.specs import Access, Budget, Parameters


@dataclass(frozen=True, kw_only=True)
class Bridged:
    """One of Foolbox's attacks as the harness offers it."""

    name: str
    """Foolbox's own class."""
    summary: str
    source: str
    norms: tuple[str, ...]
    access: Access = "gradients"
    budget: Budget = "fixed"
    alone: bool = False
    """Each case in a call of its own; otherwise the cases that want the same go together, as one batch."""
    targets: bool = True
    """It can be sent to a class; others pursue one as a problem of two classes."""
    given: tuple[str, ...] = ()
    """Parameters that the bridge itself sets, beside those of ``GIVEN``."""
    kinds: Mapping[str, Any] = field(default_factory=dict)
    """Types of parameters that its signature does not tell exactly."""
    passes: Callable[[Parameters], tuple[float, float]] | None = None
    note: str = ""


GIVEN = ("self", "init_attack", "tensorboard", "distance", "channel_axis", "update_stats_every_k")
"""What the bridge sets of every attack's parameters, or leaves as Foolbox has it."""

_finite = Lt(math.inf)
Count = Annotated[int, Ge(1)]
Above = Annotated[float, Gt(0), _finite]
Least = Annotated[float, Ge(0), _finite]
Share = Annotated[float, Gt(0), Lt(1)]

_COUNTS = "steps binary_search_steps repeats directions initial_gradient_eval_steps max_gradient_eval_steps"
_ABOVE = """
    rel_stepsize initial_const stepsize init_epsilon max_stepsize spherical_step source_step adam_epsilon
    initial_stepsize
"""
_LEAST = "confidence overshoot momentum regularization source_step_convergance gamma"

KINDS: dict[str, Any] = {
    **dict.fromkeys(_COUNTS.split(), Count),
    **dict.fromkeys(_ABOVE.split(), Above),
    **dict.fromkeys(_LEAST.split(), Least),
    **dict.fromkeys(("adam_beta1", "adam_beta2"), Share),
    "abs_stepsize": Above | None,
    "min_stepsize": Above | None,
    "candidates": Annotated[int, Ge(2)] | None,
    "step_adaptation": Annotated[float, Gt(1), _finite],
}
"""Types and bounds of Foolbox's parameters by name."""


def _steps(parameters: Parameters) -> tuple[float, float]:
    return parameters["steps"] + 1.0, float(parameters["steps"])


def _both(
    ending: str,
    summary: str,
    source: str,
    passes: Callable[[Parameters], tuple[float, float]],
    note: str = "",
    targets: bool = True,
) -> tuple[Bridged, ...]:
    """The L-infinity and the L2 version of an attack that keeps to a budget."""
    return tuple(
        Bridged(
            name=f"{prefix}{ending}",
            summary=f"{summary}, in {spoken}",
            source=source,
            norms=(norm,),
            passes=passes,
            note=note,
            targets=targets,
        )
        for prefix, norm, spoken in (("Linf", "linf", "L-infinity"), ("L2", "l2", "L2"))
    )


_RELATIVE = "`rel_stepsize` is a share of `eps`"

ATTACKS: tuple[Bridged, ...] = (
    *_both("AdamPGD", "projected gradient descent with Adam's steps", "Madry et al. 2018", _steps, _RELATIVE),
    *_both("BasicIterativeAttack", "steps along the loss gradient", "Kurakin et al. 2017", _steps, _RELATIVE),
    Bridged(
        name="BoundaryAttack",
        summary="a walk along the decision boundary, towards the original",
        source="Brendel et al. 2018",
        access="decisions",
        norms=("l2",),
        budget="minimal",
        alone=True,
    ),
    Bridged(
        name="DDNAttack",
        summary="direction and length of the change by turns",
        source="Rony et al. 2019",
        norms=("l2",),
        budget="minimal",
    ),
    Bridged(
        name="EADAttack",
        summary="Carlini and Wagner with an L1 term",
        source="Chen et al. 2018",
        norms=("l2",),
        budget="minimal",
    ),
    *_both(
        "FastGradientAttack",
        "one step along the loss gradient",
        "Goodfellow et al. 2015",
        lambda parameters: (2.0, 1.0),
        targets=False,
    ),
    Bridged(
        name="HopSkipJumpAttack",
        summary="a walk along the decision boundary, its normal estimated from decisions",
        source="Chen et al. 2020",
        access="decisions",
        norms=("l2", "linf"),
        budget="minimal",
        alone=True,
        given=("constraint",),
    ),
    Bridged(
        name="L2CarliniWagnerAttack",
        summary="the smallest L2 that a search over its weight finds",
        source="Carlini and Wagner 2017",
        norms=("l2",),
        budget="minimal",
    ),
    Bridged(
        name="L2DeepFoolAttack",
        summary="steps to the nearest boundary of a linearised model, in L2",
        source="Moosavi-Dezfooli et al. 2016",
        norms=("l2",),
        budget="minimal",
        targets=False,
    ),
    Bridged(
        name="L2FMNAttack",
        summary="the fast minimum-norm attack, in L2",
        source="Pintor et al. 2021",
        norms=("l2",),
        budget="minimal",
    ),
    Bridged(
        name="L2RepeatedAdditiveGaussianNoiseAttack",
        summary="Gaussian noise of the length of the budget, drawn again until it works",
        source="Foolbox",
        access="decisions",
        norms=("l2",),
        alone=True,
    ),
    Bridged(
        name="LInfFMNAttack",
        summary="the fast minimum-norm attack, in L-infinity",
        source="Pintor et al. 2021",
        norms=("linf",),
        budget="minimal",
    ),
    Bridged(
        name="LinearSearchBlendedUniformNoiseAttack",
        summary="the least of a uniform noise that must be blended in",
        source="Foolbox",
        access="decisions",
        norms=("l2", "linf"),
        budget="minimal",
        alone=True,
    ),
    Bridged(
        name="LinfDeepFoolAttack",
        summary="steps to the nearest boundary of a linearised model, in L-infinity",
        source="Moosavi-Dezfooli et al. 2016",
        norms=("linf",),
        budget="minimal",
        targets=False,
    ),
    *_both(
        "MomentumIterativeFastGradientMethod",
        "steps along gradients gathered with momentum",
        "Dong et al. 2018",
        _steps,
        _RELATIVE,
    ),
    Bridged(
        name="NewtonFoolAttack",
        summary="gradient steps that lower the probability of the class",
        source="Jang et al. 2017",
        norms=("l2",),
        budget="minimal",
        targets=False,
    ),
    *_both("PGD", "projected gradient descent on the loss", "Madry et al. 2018", _steps, _RELATIVE),
    Bridged(
        name="SaltAndPepperNoiseAttack",
        summary="the fewest pixels, black or white, at random",
        source="Foolbox",
        access="decisions",
        norms=("l2",),
        budget="minimal",
        alone=True,
    ),
)
