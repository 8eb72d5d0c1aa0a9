"""A Bridged says how an attack of the Toolbox is offered, and which parameters a manifest can set."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt

from harness.specs import Access, Budget, Parameters

Labels = Literal["always", "targets", "never", "reached"]


@dataclass(frozen=True, kw_only=True)
class Bridged:
    """A Bridged is one attack of the Toolbox as the harness offers it."""

    name: str
    """The name of the Toolbox's class."""
    summary: str
    source: str
    access: Access = "gradients"
    norms: tuple[str, ...] = ("linf", "l2")
    budget: Budget = "fixed"
    alone: bool = False
    """Whether each case is attacked in a call of its own; otherwise, cases with one goal are one batch."""
    targets: bool = False
    """Whether its class has ``targeted``; for others, targeted goals become a problem of two classes."""
    labels: Labels = "always"
    """When it gets labels: always; only for a targeted goal; never (it leaves the current class); or
    "reached": always the class to reach, because it cannot leave classes."""
    answers: Literal["logits", "probabilities"] = "logits"
    masks: bool = False
    """Whether it can restrict its changes to a region."""
    classes: int = 2
    """The least number of classes that it needs; classes that are never the decision are added."""
    given: tuple[str, ...] = ()
    """The parameters that the bridge itself sets, beside those of ``GIVEN``."""
    constants: Mapping[str, Any] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    """The manifest's names of parameters whose names in the Toolbox have another meaning in the harness."""
    kinds: Mapping[str, Any] = field(default_factory=dict)
    """The types of parameters for which its signature is not exact."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    added: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    """The types and defaults of parameters that its signature does not have."""
    passes: Callable[[Parameters], tuple[float, float]] | None = None
    universal: bool = False
    note: str = ""


GIVEN = ("self", "estimator", "classifier", "targeted", "batch_size", "verbose", "summary_writer")
"""The parameters of every attack that the bridge sets."""

_finite = Lt(math.inf)
Count = Annotated[int, Ge(1)]
Maybe = Annotated[int, Ge(0)]
Above = Annotated[float, Gt(0), _finite]
Least = Annotated[float, Ge(0), _finite]
Share = Annotated[float, Gt(0), Lt(1)]
Factor = Annotated[float, Gt(1), _finite]
Real = Annotated[float, Gt(-math.inf), _finite]

_COUNTS = """
    max_iter binary_search_steps max_halving max_doubling nb_grads num_trial sample_size init_size max_eval
    init_eval sub_dim nb_steps k query_limit freq_dim stride num_translations num_rotations nb_restarts p
    kernel_size eps_iter conjugate_sinkhorn_max_iter projected_sinkhorn_max_iter nb_parallel
"""
_ABOVE = """
    learning_rate initial_const largest_const delta sigma alpha eta finite_diff regularization variable_h
    lambda_param
"""
_LEAST = "confidence beta epsilon min_epsilon lambda_tv lambda_c lambda_s"

KINDS: dict[str, Any] = {
    **dict.fromkeys(_COUNTS.split(), Count),
    **dict.fromkeys(_ABOVE.split(), Above),
    **dict.fromkeys(_LEAST.split(), Least),
    **dict.fromkeys(("num_random_init", "nb_random_init"), Maybe),
    **dict.fromkeys(("decrease_factor", "step_adapt", "p_init"), Share),
    **dict.fromkeys(("const_factor", "eps_factor"), Factor),
    "eps_step": Above | None,
    "decay": Least | None,
    "theta": Real,
    "gamma": Annotated[float, Gt(0), Le(1)],
    "max_translation": Annotated[float, Ge(0), Le(100)],
    "max_rotation": Annotated[float, Ge(0), Le(180)],
    "bin_search_tol": Annotated[float, Ge(1e-4), _finite],
    "th": Count | None,
    "loss_type": Literal["cross_entropy", "difference_logits_ratio"] | None,
}
"""The types and bounds of the Toolbox's parameters by name; it checks them only when an attack is made."""
