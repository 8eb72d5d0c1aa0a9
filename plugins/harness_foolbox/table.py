"""This table lists the attacks of Foolbox in the harness; it imports neither torch nor Foolbox."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any

from annotated_types import Ge, Gt, Lt

from harness.specs import Access, Budget, Parameters


@dataclass(frozen=True, kw_only=True)
class Bridged:
    """A Bridged is one attack of Foolbox as the harness offers it."""

    name: str
    """The name of Foolbox's class."""
    summary: str
    source: str
    norms: tuple[str, ...]
    access: Access = "gradients"
    budget: Budget = "fixed"
    alone: bool = False
    """Whether each case is attacked in a call of its own; otherwise, cases with one goal are one batch."""
    targets: bool = True
    """Whether it supports targeted goals; for other attacks, these become a problem of two classes."""
    given: tuple[str, ...] = ()
    """The parameters that the bridge itself sets, beside those of ``GIVEN``."""
    kinds: Mapping[str, Any] = field(default_factory=dict)
    """The types of parameters for which its signature is not exact."""
    passes: Callable[[Parameters], tuple[float, float]] | None = None
    note: str = ""


GIVEN = ("self", "init_attack", "tensorboard", "distance", "channel_axis", "update_stats_every_k")
"""The parameters of every attack that the bridge sets, or leaves at Foolbox's defaults."""

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
"""The types and bounds of Foolbox's parameters by name."""


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
    """Return the L-infinity and the L2 version of an attack that keeps to a budget."""
    return tuple(
        Bridged(
            name=f"{prefix}{ending}",
            summary=f"{summary}, in {name}",
            source=source,
            norms=(norm,),
            passes=passes,
            note=note,
            targets=targets,
        )
        for prefix, norm, name in (("Linf", "linf", "L-infinity"), ("L2", "l2", "L2"))
    )


_START_NOTE = "impersonates from the target's own image"
_RELATIVE = "`rel_stepsize` is relative to `eps`"

_minimum_l2 = partial(Bridged, norms=("l2",), budget="minimal")
_decisions = partial(Bridged, access="decisions", alone=True)
_decisions_l2 = partial(_decisions, norms=("l2",), budget="minimal")

ATTACKS: tuple[Bridged, ...] = (
    *_both("AdamPGD", "projected gradient descent with Adam's steps", "Madry et al. 2018", _steps, _RELATIVE),
    *_both("BasicIterativeAttack", "steps along the loss gradient", "Kurakin et al. 2017", _steps, _RELATIVE),
    _decisions_l2(
        name="BoundaryAttack",
        summary="a random walk along the decision boundary towards the original",
        source="Brendel et al. 2018",
        note=_START_NOTE,
    ),
    _minimum_l2(
        name="DDNAttack",
        summary="gradient steps that decouple the direction and the norm of the change",
        source="Rony et al. 2019",
    ),
    _minimum_l2(
        name="EADAttack",
        summary="Carlini and Wagner with an L1 term",
        source="Chen et al. 2018",
    ),
    *_both(
        "FastGradientAttack",
        "one step along the loss gradient",
        "Goodfellow et al. 2015",
        lambda parameters: (2.0, 1.0),
        targets=False,
    ),
    _decisions(
        name="HopSkipJumpAttack",
        summary="steps along the decision boundary, with its normal estimated from decisions",
        source="Chen et al. 2020",
        norms=("l2", "linf"),
        budget="minimal",
        given=("constraint",),
        note=_START_NOTE,
    ),
    _minimum_l2(
        name="L2CarliniWagnerAttack",
        summary="Adam on distance plus loss, with a search for the weight of the loss",
        source="Carlini and Wagner 2017",
    ),
    _minimum_l2(
        name="L2DeepFoolAttack",
        summary="steps to the nearest boundary of a linearised model, in L2",
        source="Moosavi-Dezfooli et al. 2016",
        targets=False,
    ),
    _minimum_l2(
        name="L2FMNAttack",
        summary="the fast minimum-norm attack, in L2",
        source="Pintor et al. 2021",
    ),
    _decisions(
        name="L2RepeatedAdditiveGaussianNoiseAttack",
        summary="Gaussian noise with the norm of the budget, repeated until it succeeds",
        source="Foolbox",
        norms=("l2",),
    ),
    Bridged(
        name="LInfFMNAttack",
        summary="the fast minimum-norm attack, in L-infinity",
        source="Pintor et al. 2021",
        norms=("linf",),
        budget="minimal",
    ),
    _decisions(
        name="LinearSearchBlendedUniformNoiseAttack",
        summary="uniform noise, blended in by the smallest share that succeeds",
        source="Foolbox",
        norms=("l2", "linf"),
        budget="minimal",
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
        "steps along the loss gradient with momentum",
        "Dong et al. 2018",
        _steps,
        _RELATIVE,
    ),
    _minimum_l2(
        name="NewtonFoolAttack",
        summary="gradient steps that lower the probability of the class",
        source="Jang et al. 2017",
        targets=False,
    ),
    *_both("PGD", "projected gradient descent on the loss", "Madry et al. 2018", _steps, _RELATIVE),
    _decisions_l2(
        name="SaltAndPepperNoiseAttack",
        summary="random pixels that become black or white, as few as succeed",
        source="Foolbox",
    ),
)
